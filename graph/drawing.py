"""The evidence of a pair as a picture: both images side by side, with lines between the keypoints that agree on one map.

Enters: two pictures with the descriptions that the second look used. Leaves: pixels. Matches are found again by the code of
`graph.alignment`, so what is drawn is what was measured; nothing of it is stored. A mirrored copy is drawn as it is, and its
lines cross. Of a pair that was not merged, places where the aligned pictures do not correlate are tinted: they are the reason.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from graph.agreement import TEXTURED_VARIANCE, WINDOW_PX
from graph.alignment import RANSAC_PX, Map, consensus, fit, homogeneous, match, mirror
from graph.keypoints import Description, Pixels

Lines = NDArray[np.float64]
"""(n, 4): x and y in the left picture, x and y in the right one, as shares of that picture's width and height."""

INK = ((255, 176, 59), (94, 205, 255), (170, 235, 120), (255, 138, 170), (205, 170, 255))
"""Colours of lines in turn; each is drawn over a dark edge, so it is seen on light pictures and dark ones."""


TINT = (230, 40, 40)
"""Colour of places that differ."""


@dataclass(frozen=True)
class Matched:
    """What relates two pictures: lines between points that agree on one map, and where the right one differs under it."""

    lines: Lines
    differs: NDArray[np.bool_]  # (h, w) of the right analysed picture


def matched(a: Description, b: Description, *, max_lines: int = 24) -> Matched:
    """Return the matches that fit the best map of a onto b or b mirrored, and where b differs from the mapped a.

    No lines and no difference without a map. max_lines: more are thinned evenly over the left picture, from top to bottom.
    """
    best = Matched(np.empty((0, 4)), np.zeros(b.picture.shape, bool))
    for mirrored in (False, True):
        other = mirror(b) if mirrored else b
        lines, matrix = _inliers(a, other)
        if matrix is not None and len(lines) > len(best.lines):
            differs = _differing(a.picture, other.picture, matrix)
            lines[:, 2] = 1 - lines[:, 2] if mirrored else lines[:, 2]
            best = Matched(lines, differs[:, ::-1] if mirrored else differs)
    ordered = best.lines[np.lexsort((best.lines[:, 0], best.lines[:, 1]))]
    spread = np.linspace(0, len(ordered) - 1, min(len(ordered), max_lines)).round().astype(int)
    return Matched(ordered[np.unique(spread)], best.differs)


def _inliers(a: Description, b: Description) -> tuple[Lines, Map | None]:
    matches = consensus(a, b, match(a, b))
    fitted = fit(a, b, matches) if len(matches) >= 4 else None
    if fitted is None:
        return np.empty((0, 4)), None
    matrix = homogeneous(fitted.matrix)
    left, right = a.points[matches[:, 0], :2], b.points[matches[:, 1], :2]
    away = np.linalg.norm(left @ matrix[:2, :2].T + matrix[:2, 2] - right, axis=1)
    near = away <= RANSAC_PX * max(b.shape)
    size_a, size_b = (np.array(picture.shape[1::-1], float) for picture in (a.picture, b.picture))
    return np.concatenate([left[near] / size_a, right[near] / size_b], axis=1), matrix


def _differing(a: Pixels, b: Pixels, matrix: Map, *, min_correlation: float = 0.6) -> NDArray[np.bool_]:
    """Return where b has texture, or the mapped a has, and the windows around the place do not correlate."""
    size, window = b.shape[::-1], (WINDOW_PX, WINDOW_PX)
    seen = cv2.warpPerspective(np.full(a.shape, 255, np.uint8), matrix, size) == 255
    mapped = cv2.warpPerspective(a, matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    one, two = (cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.0) for picture in (mapped, b))
    mean_one, mean_two = cv2.blur(one, window), cv2.blur(two, window)
    variance_one = cv2.blur(one * one, window) - mean_one**2
    variance_two = cv2.blur(two * two, window) - mean_two**2
    together = cv2.blur(one * two, window) - mean_one * mean_two
    correlation = together / np.sqrt(np.maximum(variance_one, 1) * np.maximum(variance_two, 1))
    textured = (variance_one > TEXTURED_VARIANCE) | (variance_two > TEXTURED_VARIANCE)
    return np.asarray(seen & textured & (correlation <= min_correlation))


def side_by_side(
    left: Pixels, right: Pixels, lines: Lines, *, differs: NDArray[np.bool_] | None = None, height_px: int = 216, gap_px: int = 24
) -> Pixels:
    """Return (height_px, W, 3): two (H, W, 3) pictures scaled to one height, a gap between them, and `lines` over both.

    differs: (h, w) of any size, where the right picture is tinted.
    """
    right = right if differs is None else _tinted(right, differs)
    pictures = [_scaled(picture, height_px) for picture in (left, right)]
    gap = np.full((height_px, gap_px, 3), 160, np.uint8)
    page = np.ascontiguousarray(np.concatenate([pictures[0], gap, pictures[1]], axis=1))
    widths = pictures[0].shape[1], pictures[1].shape[1]
    for number, (xa, ya, xb, yb) in enumerate(lines.tolist()):
        start = round(xa * widths[0]), round(ya * height_px)
        end = round(xb * widths[1]) + widths[0] + gap_px, round(yb * height_px)
        for colour, width in (((24, 24, 24), 3), (INK[number % len(INK)], 1)):
            cv2.line(page, start, end, colour, width, cv2.LINE_AA)
        for point in (start, end):
            cv2.circle(page, point, 4, (24, 24, 24), -1, cv2.LINE_AA)
            cv2.circle(page, point, 3, INK[number % len(INK)], -1, cv2.LINE_AA)
    return page


def _tinted(picture: Pixels, where: NDArray[np.bool_]) -> Pixels:
    share = cv2.resize(where.astype(np.float32), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    return np.asarray(np.rint(picture * (1 - 0.55 * share) + np.array(TINT) * 0.55 * share), np.uint8)


def _scaled(picture: Pixels, height_px: int, max_aspect: float = 2.5) -> Pixels:
    scale = height_px / picture.shape[0]
    width = max(1, min(round(picture.shape[1] * scale), round(max_aspect * height_px)))
    shrinks = scale < 1
    return np.asarray(
        cv2.resize(picture, (width, height_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8
    )
