"""Drawings that fit and yet are other pictures: in other colours, with another line, turned, mirrored or moved.

Enters: a pair that geometry and local correlation found alike. Leaves: the same verdict, or `different` with what was measured.
Every photograph passes: a corner, a turn or a filter leaves a thousand details that no second photograph shares. Two drawings of
one outline share all they have, so they must agree in colour and in every place, and simple ones must lie as they are or be cut
out of each other pixel by pixel.
"""

from dataclasses import replace

import numpy as np

from graph.agreement import agree
from graph.alignment import Frame, Map, boxed, coverage, in_place, inverse, whole
from graph.graphics import deviation
from graph.verdicts import Limits, Verdict
from graph.views import View

MIN_SMOOTH_GRAPHIC = 0.45
"""Share of smooth pixels below which a picture is not asked for its colours: it is no graphic."""
MIN_CUT_COVERAGE = 0.9
"""Share of the smaller of two pictures that lies inside the other when it was cut out of it, or both out of a third."""
MIN_ONE_TURN = 0.8
"""Share of the colours that one turn of all hues explains, from which a filter turned them."""
MIN_TURN = 0.94
"""Cosine of 20 degrees: a map that turns further does not leave a picture as it was."""
MAX_SYMMETRY = 0.5
"""Share of a turned drawing that agrees with it unturned, above which the turn shows nothing: dials fit in many ways."""
MIN_OTHER_FILLED = 0.4
"""Share of `min_filled` that the less clear of two pictures needs: a copy may be shrunk or noisy, a photograph widely framed."""


def graphic(a: View, b: View, limits: Limits) -> bool:
    """Say whether few flat colours fill the pictures of a pair that fits; of one it must be clear, and of the other not amiss."""
    if min(max(view.content.smooth, view.content.plain) for view in (a, b)) < MIN_SMOOTH_GRAPHIC:
        return False
    known = [share for share in (a.filled, b.filled) if share == share]  # NaN is not equal to itself
    return bool(known) and max(known) >= limits.min_filled and min(known) >= MIN_OTHER_FILLED * limits.min_filled


def drawn_alike(a: View, b: View, state: int, limits: Limits, found: Verdict) -> Verdict:
    """Return `found`, of whole pictures that fit in orientation `state`, unless they are graphics and differ as they are.

    A square that fits best when turned, by the noise of compression, fits as it is too; an arrow does not.
    """
    if not graphic(a, b, limits):
        return found
    away = deviation(a.colours, b.colours, whole(a.colours, b.colours), rich=not has_few_details(a, b, limits))
    verdict = _if_redrawn(away, limits, found)
    moved = state and verdict.relation != found.relation
    return replace(verdict, evidence=found.evidence | {"placed": False}) if moved else verdict


def _cut_out(a: View, b: View, matrix: Map, *, max_change: float = 0.03) -> bool:
    """Say whether one picture is cut out of the other as it is, pixel by pixel, or put on a wider ground.

    Pixels of the files count, not of the pictures compared: a small circle and a large one are no crops of each other, and of
    two files of one size neither is cut out of the other: a circle further to the left.
    """
    if np.abs(matrix[:2, :2] * (a.scale / b.scale) - np.eye(2)).max() > max_change:
        return False
    sizes = [np.array(view.row.picture.shape) / view.scale for view in (a, b)]
    frames = [(0, 0, view.row.picture.shape[1], view.row.picture.shape[0]) for view in (a, b)]
    cut = np.abs(sizes[0] / sizes[1] - 1).max() > max_change
    return bool(cut) and max(coverage(frames[0], frames[1], matrix)) >= MIN_CUT_COVERAGE


def has_few_details(a: View, b: View, limits: Limits) -> bool:
    """Say whether a drawing has too few details to be known again when it is altered."""
    return min(len(view.row.points) for view in (a, b)) < limits.min_keypoints_graphic


def _fits_unturned(a: View, b: View, frame: Frame, mirrored: bool, matrix: Map) -> bool:
    """Say whether pictures that fit mirrored or turned fit about the same centre as they are: three o'clock and nine o'clock."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    if not mirrored and matrix[0, 0] + matrix[1, 1] >= 2 * MIN_TURN * scale:
        return False
    (left, top, right, bottom), _ = boxed(a.frame, frame, matrix)
    width = b.row.shape[1]
    place = np.array([(left + right) / 2, (top + bottom) / 2, 1.0])
    middle = inverse(matrix) @ place
    upright = np.diag([scale, scale, 1.0])
    there = np.array([width - 1 - place[0] if mirrored else place[0], place[1]])
    upright[:2, 2] = there - scale * middle[:2] / middle[2]
    return agree(a.row.picture, b.row.picture, upright).share >= MAX_SYMMETRY


def _if_redrawn(away: float, limits: Limits, found: Verdict) -> Verdict:
    evidence = found.evidence | {"deviation": round(away, 2)}
    return Verdict("different" if away > limits.max_deviation else found.relation, found.confidence, evidence)


def drawn_alike_under(a: View, b: View, frame: Frame, mirrored: bool, matrix: Map, limits: Limits, found: Verdict) -> Verdict:
    """Return `found`, under a fitted map, unless both are graphics in other colours or lines, or too simple to be turned."""
    if found.relation == "different" or not graphic(a, b, limits):
        return found
    simple = has_few_details(a, b, limits)
    moved = mirrored or not (in_place(matrix, a.row.picture, b.row.picture) or _cut_out(a, b, matrix))
    if moved and (simple or _fits_unturned(a, b, frame, mirrored, matrix)):
        return Verdict("different", found.confidence, found.evidence | {"placed": False})
    other = np.ascontiguousarray(b.colours[:, ::-1]) if mirrored else b.colours
    away = deviation(a.colours, other, matrix, frame_a=a.frame, frame_b=frame, rich=not simple)
    return _if_redrawn(away, limits, found)


def unless_recoloured(found: Verdict, share: float, one_turn: float, detailed: bool, limits: Limits) -> Verdict:
    """Return a copy as it is unless its colours are others: no light or white balance turns red into blue.

    share, one_turn: of thumbnails.Comparison, for the pair. detailed: both have keypoints enough to be known again. Such a
    photograph is a copy too when one turn of all hues, its ground's as well, explains its colours: a filter was laid over it.
    """
    photograph = detailed and float(found.evidence.get("drawn", 1.0)) < limits.min_drawn
    if share <= limits.max_recoloured or (photograph and one_turn >= MIN_ONE_TURN):
        return found
    return Verdict("different", found.confidence, found.evidence | {"recoloured": round(share, 4)})
