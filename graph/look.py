"""The second look at one pair: aligned as wholes or by keypoints, then compared window by window.

Enters: two views. Leaves: a verdict with what was measured. Policy: graph/verify.py.
"""

import numpy as np

from graph import thumbnails
from graph.agreement import Agreement, Overlay, agreement, overlaid
from graph.alignment import (
    Fit,
    Frame,
    Map,
    consensus,
    corners,
    coverage,
    fit,
    homogeneous,
    in_place,
    inverse,
    match,
    project,
    snapped,
    whole,
)
from graph.exchanged import exchanged
from graph.keypoints import Description
from graph.redrawn import drawn_alike, drawn_alike_under, has_few_details, unless_recoloured
from graph.verdicts import Evidence, Limits, Verdict
from graph.views import View

MIN_FITTING = 0.62
"""Share of the matches of one turn and scale that one map must explain: of true copies all but a third do. Letters of one font
and repeated patterns match here and there, and a map through a dozen of them lays one text on another."""
SURE_INLIERS = 60
"""Keypoints on one map that need no such share: a lens bends the rest away."""


def as_wholes(a: View, b: View, state: int, needed: float, limits: Limits, measured: Evidence) -> Verdict | None:
    """Compare whole pictures in one orientation; None when that does not show a copy."""
    drawn = min(max(view.content.smooth, view.content.plain) for view in (a, b))
    over = _on_wholes(a, b, state)
    found = agreement(over)
    if found.textured < 0.02 or not _agrees(found, drawn, needed, 0, float(measured["thumbnail_correlation"]), limits):
        return None
    evidence = measured | _reported(found) | {"method": "whole", "mirrored": state >= 4, "drawn": round(drawn, 4)}
    verdict = drawn_alike(a, b, state, limits, Verdict("copy", found.share, evidence))
    if verdict.relation != "copy":
        return None
    return _unless_exchanged(verdict, exchange_of_wholes(a, b, state, limits, over))


def exchange_of_wholes(a: View, b: View, state: int, limits: Limits, over: Overlay | None = None) -> float:
    """Return how strongly a mark was exchanged between whole pictures in one orientation; 0 when none was.

    over: both pictures on one raster, when it is known.
    """

    def colours() -> Overlay | None:
        turned = thumbnails.turn(a.colours, state)
        return overlaid(turned, b.colours, whole(turned, b.colours))

    return exchanged(over or _on_wholes(a, b, state), colours=colours, min_strength=limits.min_exchanged)


def _on_wholes(a: View, b: View, state: int) -> Overlay | None:
    turned = thumbnails.turn(a.row.picture, state)
    return overlaid(turned, b.row.picture, whole(turned, b.row.picture))


def _unless_exchanged(found: Verdict, strength: float) -> Verdict:
    if not strength:
        return found
    return Verdict("different", found.confidence, found.evidence | {"exchanged": round(strength, 2)})


def by_keypoints(a: View, b: View, limits: Limits, measured: Evidence) -> Verdict:
    """Fit a map from matched keypoints in both mirror states and judge the aligned pictures."""
    best = Verdict("different", 1.0, measured | {"method": "keypoints", "matches": 0, "inliers": 0})
    for mirrored, other in ((False, b.row), (True, b.mirrored)):
        matches = consensus(a.row, other, match(a.row, other))
        fitted = fit(a.row, other, matches) if len(matches) >= limits.min_inliers else None
        if fitted is None or fitted.inliers < limits.min_inliers:
            continue
        frame = _mirrored(b.frame, b) if mirrored else b.frame
        verdict = _aligned(a, b, other, frame, fitted, limits, measured | {"mirrored": mirrored})
        if verdict.relation == "different" and fitted.inliers >= limits.min_inliers_perspective:
            tilted = project(a.row, other, matches)
            if tilted is not None and tilted.inliers >= limits.min_inliers_perspective:
                again = _aligned(a, b, other, frame, tilted, limits, measured | {"mirrored": mirrored, "perspective": True})
                verdict = again if again.relation != "different" else verdict
        if verdict.relation != "different":
            return verdict
        if fitted.inliers > int(best.evidence["inliers"]):
            best = verdict
    return best


def _aligned(a: View, b: View, other: Description, frame: Frame, fitted: Fit, limits: Limits, measured: Evidence) -> Verdict:
    """Judge a under a fitted map against `other`, which is b or b mirrored, whose content lies in `frame`."""
    supported: Evidence = {"method": "keypoints", "matches": fitted.matches, "inliers": fitted.inliers}
    if fitted.inliers < min(SURE_INLIERS, MIN_FITTING * fitted.matches):
        return Verdict("different", 1 - fitted.inliers / fitted.matches, measured | supported | {"scattered": True})
    matrix = snapped(homogeneous(fitted.matrix), b.scale / a.scale, a.frame, frame)
    over = overlaid(a.row.picture, other.picture, matrix, frame_a=a.frame, frame_b=frame)
    found = agreement(over)
    seen_a = a.content.inside(corners(frame, inverse(matrix)))
    seen_b = b.content.inside(corners(a.frame, matrix), mirrored=other is b.mirrored)
    drawn = min(max(seen_a.smooth, a.content.plain), max(seen_b.smooth, b.content.plain))
    cover = coverage(a.frame, frame, matrix)
    evidence = (
        measured
        | _reported(found)
        | supported
        | {
            "coverage_a": round(cover[0], 4),
            "coverage_b": round(cover[1], 4),
            "structure_a": round(seen_a.structure, 4),
            "structure_b": round(seen_b.structure, 4),
            "drawn": round(drawn, 4),
        }
    )
    cover = max(cover[0], seen_a.structure), max(cover[1], seen_b.structure)
    placed = in_place(matrix, a.row.picture, other.picture)
    verdict = _judge(drawn, fitted.inliers, found, cover, placed, evidence, limits)
    mirrored = other is b.mirrored
    verdict = drawn_alike_under(a, b, frame, mirrored, matrix, limits, verdict)
    if verdict.relation != "copy":
        return verdict

    def colours() -> Overlay | None:
        there = np.ascontiguousarray(b.colours[:, ::-1]) if mirrored else b.colours
        return overlaid(a.colours, there, matrix, frame_a=a.frame, frame_b=frame)

    strength = exchanged(over, colours=colours, min_strength=limits.min_exchanged)
    verdict = _unless_exchanged(verdict, strength)
    if verdict.relation != "copy":
        return verdict
    return unless_recoloured(verdict, *_hues(a, b, other, matrix), not has_few_details(a, b, limits), limits)


def _hues(a: View, b: View, other: Description, matrix: Map) -> tuple[float, float]:
    """Return which share of colours turned between thumbnails under a map of the pictures, and which one turn explains."""
    thumbnail = np.ascontiguousarray(b.thumbnail[:, ::-1]) if other is b.mirrored else b.thumbnail
    up, down = (whole(v.thumbnail, v.row.picture) for v in (a, b))
    return thumbnails.hues_under(a.thumbnail, thumbnail, inverse(down) @ matrix @ up)


def _judge(
    drawn: float, inliers: int, found: Agreement, cover: tuple[float, float], placed: bool, evidence: Evidence, limits: Limits
) -> Verdict:
    needed = limits.min_agreement + (0.06 if inliers < 15 else 0.0)
    alike = float(evidence["thumbnail_correlation"])
    agreed = _agrees(found, drawn, needed, inliers, alike, limits) or (placed and _overlaid(found, drawn, inliers, alike, limits))
    if found.seen_px**0.5 < limits.min_seen_side_px or not agreed:
        return Verdict("different", max(0.0, 1 - found.share), evidence)
    strength = max(found.share, found.share_a, found.share_b)
    inside = max(cover) >= limits.min_contained_coverage
    if min(cover) >= (limits.min_copy_coverage if inside else limits.min_overlap_coverage):
        return Verdict("copy", strength, evidence)
    if inside:
        return Verdict("contains" if cover[1] > cover[0] else "contained", strength, evidence)
    return Verdict("different", max(0.0, 1 - max(cover)), evidence | {"overlap": True})


def _agrees(found: Agreement, drawn: float, needed: float, inliers: int, alike: float, limits: Limits) -> bool:
    """Say whether the aligned pictures show the same: nearly everywhere, or one all of the other plus an overlay.

    alike: correlation of the whole thumbnails. It tells a photograph that something was pasted over from the tiles of one
    texture, which agree in places and as wholes do not.
    """
    best = max(found.share_a, found.share_b)
    if drawn < limits.min_drawn:
        added = inliers >= 20 and best >= 0.8 and found.share >= 0.45
        covered = inliers >= 40 and alike >= 0.6 and found.good_cells >= 0.65 and found.share >= 0.55
        return found.share >= needed or added or covered
    everywhere = found.share >= limits.min_agreement_flat and found.worst_cell >= limits.min_worst_cell_flat
    worst = found.worst_cell_a if found.share_a >= found.share_b else found.worst_cell_b
    added = inliers >= 16 and best >= 0.97 and worst >= limits.min_worst_cell_flat and found.share >= 0.5
    return everywhere or added


def _overlaid(found: Agreement, drawn: float, inliers: int, alike: float, limits: Limits) -> bool:
    """Say whether a photograph lies on itself, corner on corner, under something that hides much of it.

    Many keypoints in the very same places are no coincidence; fewer count where the thumbnails say the same.
    """
    if drawn >= limits.min_drawn or found.share < limits.min_agreement_overlaid:
        return False
    return inliers >= limits.min_inliers_overlaid or (3 * inliers >= limits.min_inliers_overlaid and alike >= 0.8)


def _mirrored(frame: Frame, view: View) -> Frame:
    width = view.row.picture.shape[1]
    return width - frame[2], frame[1], width - frame[0], frame[3]


def _reported(found: Agreement) -> Evidence:
    names = ("share", "share_a", "share_b", "worst_cell", "good_cells", "textured")
    return {name.replace("share", "agreement"): round(float(getattr(found, name)), 4) for name in names}
