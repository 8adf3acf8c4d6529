"""A second look at candidate pairs: is one picture a copy of the other, does it show all of it, or do they only look alike?

Enters: EDGES rows and the KEYPOINTS of the images they name. Leaves: VERDICTS, one row per pair, each with what was measured.
From cheap to dear, and a pair goes on only while undecided:
    1. same bytes, or same size and colours: a copy.
    2. thumbnails in eight orientations, all pairs at once. Pictures too small or too plain for keypoints are decided here: only
       near identity counts, because two handwritten threes agree in almost everything else.
    3. whole pictures of similar thumbnails, aligned at full size, compared window by window.
    4. keypoints, a geometric map in both mirror states, then the aligned pictures window by window.
Policy: a *copy* shows the same content, at least `min_copy_coverage` of either picture in the other (a crop, a border, an
overlay), by area or by structure, whichever is more, because a blurred border adds area and nothing to see. Where one picture
shows all of another but much more besides (tile, heavy crop, collage, screenshot) it *contains* it, and that never joins groups;
all else is *different*. Flat graphics must agree nearly everywhere, since posters of one layout differ only in their text.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema
from curation.hashing import ORIENTATIONS
from graph import thumbnails
from graph.agreement import Agreement, agree
from graph.alignment import Fit, Frame, consensus, corners, coverage, fit, homogeneous, inverse, match, project, whole
from graph.band import Band, band
from graph.keypoints import Description
from graph.verdicts import positions, verdict_table
from graph.views import View, Views

Evidence = dict[str, str | float | int | bool]


@dataclass(frozen=True)
class Verdict:
    """The relation of a pair and why."""

    relation: str
    confidence: float
    evidence: Evidence


@dataclass(frozen=True)
class Limits:
    """Thresholds of `verify`, as its keyword arguments name them."""

    min_whole_correlation: float
    min_identity: float
    min_colour_identity: float
    max_identity_difference: float
    min_inliers: int
    min_agreement: float
    min_agreement_flat: float
    min_worst_cell_flat: float
    min_drawn: float
    min_copy_coverage: float
    min_overlap_coverage: float
    min_contained_coverage: float
    min_seen_side_px: int
    min_inliers_perspective: int


def verify(
    *,
    pairs: pa.Table,
    keypoints: pa.Table,
    metrics: pa.Table | None = None,
    rows: NDArray[np.int64] | None = None,
    min_similarity: float = 0.3,
    max_sure_distance: int = 24,
    min_sure_similarity: float = 0.7,
    min_whole_correlation: float = 0.85,
    min_identity: float = 0.997,
    min_colour_identity: float = 0.992,
    max_identity_difference: float = 12.0,
    min_inliers: int = 8,
    min_agreement: float = 0.75,
    min_agreement_flat: float = 0.9,
    min_worst_cell_flat: float = 0.85,
    min_drawn: float = 0.57,
    min_copy_coverage: float = 0.4,
    min_overlap_coverage: float = 0.5,
    min_contained_coverage: float = 0.8,
    min_seen_side_px: int = 40,
    min_inliers_perspective: int = 20,
    max_views: int = 512,
) -> pa.Table:
    """Return VERDICTS, one row per row of `pairs`, same order.

    pairs: EDGES rows. keypoints: KEYPOINTS of every image they name; rows: the global row of each of its rows, ascending
    (row i is image i when absent). metrics: METRICS of the same images; without it every pair is compared. min_similarity,
    max_sure_distance, min_sure_similarity: what `band` takes for certain. min_whole_correlation: thumbnails that correlate so
    are compared whole before keypoints. min_identity, min_colour_identity, max_identity_difference: what pictures too small or
    plain for keypoints need to be copies: correlation of grey thumbnails, of coloured ones, mean absolute difference (0-255).
    min_agreement (min_agreement_flat, min_worst_cell_flat for drawn graphics): share of textured pixels whose surroundings
    correlate, over all and in the worst cell of an 8 x 8 grid. min_drawn: share of smooth pixels, or of the two fullest of 32
    grey bins, from which a picture counts as drawn; both of a pair must. min_inliers, min_inliers_perspective: keypoints that
    must agree on a map. min_copy_coverage: share of either picture's area, or of its structure, that a copy shows;
    min_overlap_coverage: the same where neither lies inside the other. min_contained_coverage: share of the smaller that a
    container shows. min_seen_side_px: side of the square of the area seen in both. max_views: pictures kept decoded at a time.
    Raises KeyError when a pair names a row that `keypoints` lacks.
    """
    if not len(pairs):
        return schema.VERDICTS.empty_table()
    cv2.setNumThreads(1)
    limits = Limits(
        min_whole_correlation,
        min_identity,
        min_colour_identity,
        max_identity_difference,
        min_inliers,
        min_agreement,
        min_agreement_flat,
        min_worst_cell_flat,
        min_drawn,
        min_copy_coverage,
        min_overlap_coverage,
        min_contained_coverage,
        min_seen_side_px,
        min_inliers_perspective,
    )
    left, right = (
        positions(pairs[name].to_numpy(), rows, count=len(keypoints), table="keypoints") for name in ("row_a", "row_b")
    )
    sure = None
    if metrics is not None:
        sure = band(
            metrics=metrics,
            left=left,
            right=right,
            similarity=pairs["similarity"].to_numpy(),
            min_similarity=min_similarity,
            max_distance=max_sure_distance,
            min_sure_similarity=min_sure_similarity,
        )
    seen = thumbnails.compare(thumbnails.unpack(keypoints["thumbnail"]), left, right)
    views = Views(keypoints, max_views)
    verdicts = [_verdict(views, int(a), int(b), seen, sure, i, limits) for i, (a, b) in enumerate(zip(left, right, strict=True))]
    return verdict_table(
        pairs=pairs,
        relation=[verdict.relation for verdict in verdicts],
        confidence=np.array([verdict.confidence for verdict in verdicts], np.float32),
        evidence=[verdict.evidence for verdict in verdicts],
    )


def _verdict(views: Views, a: int, b: int, seen: thumbnails.Comparison, sure: Band | None, i: int, limits: Limits) -> Verdict:
    if views.ids[a] == views.ids[b]:
        return Verdict("copy", 1.0, {"method": "same_bytes"})
    if views.counts[a] is None or views.counts[b] is None:
        return Verdict("different", 0.0, {"method": "unreadable"})
    if views.hashes[a] == views.hashes[b]:
        return Verdict("copy", 1.0, {"method": "same_pixels"})
    counts = views.counts[a] or 0, views.counts[b] or 0
    if sure is not None and (sure.strangers[i] or sure.copies[i]) and min(counts) >= limits.min_inliers:
        return _sure(sure, i)
    measured: Evidence = {
        "orientation": int(seen.state[i]),
        "thumbnail_correlation": round(float(seen.grey[i]), 4),
    }
    if max(counts) == 0:
        return _small(seen, i, limits, measured)
    plain = min(counts) < limits.min_inliers  # keypoints cannot confirm it, so the whole must fit closely
    if seen.grey[i] >= (0.95 if plain else limits.min_whole_correlation):
        needed = 0.9 if plain else limits.min_agreement + 0.08
        found = _whole(views[a], views[b], int(seen.state[i]), needed, limits, measured)
        if found is not None:
            return found
    return _small(seen, i, limits, measured) if plain else _keypoints(views[a], views[b], limits, measured)


def _sure(sure: Band, i: int) -> Verdict:
    """Return what hashes and embedding say where no comparison is needed."""
    evidence: Evidence = {
        "method": "hash" if sure.copies[i] else "embedding",
        "hash_distance": int(sure.distance[i]),
        "orientation": ORIENTATIONS[int(sure.orientation[i])],
    }
    return Verdict(
        "copy" if sure.copies[i] else "different", 1 - float(sure.distance[i]) / 256 if sure.copies[i] else 1.0, evidence
    )


def _small(seen: thumbnails.Comparison, i: int, limits: Limits, measured: Evidence) -> Verdict:
    """Decide from thumbnails alone: near identity or nothing."""
    identity, difference = float(seen.colour[i]), float(seen.difference[i])
    evidence = measured | {
        "method": "identity",
        "colour_correlation": round(identity, 4),
        "mean_difference": round(difference, 2),
    }
    grey = float(seen.grey[i])
    alike = grey >= limits.min_identity and identity >= limits.min_colour_identity
    same = alike and difference <= limits.max_identity_difference
    return Verdict("copy" if same else "different", identity if same else max(0.0, 1 - min(grey, identity)), evidence)


def _whole(a: View, b: View, state: int, needed: float, limits: Limits, measured: Evidence) -> Verdict | None:
    """Compare whole pictures in one orientation; None when that does not show a copy."""
    turned = thumbnails.turn(a.row.picture, state)
    drawn = min(max(view.content.smooth, view.content.plain) for view in (a, b))
    found = agree(turned, b.row.picture, whole(turned, b.row.picture))
    if found.textured < 0.02 or not _agrees(found, drawn, needed, 0, float(measured["thumbnail_correlation"]), limits):
        return None
    return Verdict(
        "copy", found.share, measured | _reported(found) | {"method": "whole", "mirrored": state >= 4, "drawn": round(drawn, 4)}
    )


def _keypoints(a: View, b: View, limits: Limits, measured: Evidence) -> Verdict:
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
    matrix = homogeneous(fitted.matrix)
    found = agree(a.row.picture, other.picture, matrix, frame_a=a.frame, frame_b=frame)
    seen_a = a.content.inside(corners(frame, inverse(matrix)))
    seen_b = b.content.inside(corners(a.frame, matrix), mirrored=other is b.mirrored)
    drawn = min(max(seen_a.smooth, a.content.plain), max(seen_b.smooth, b.content.plain))
    cover = coverage(a.frame, frame, matrix)
    evidence = (
        measured
        | _reported(found)
        | {
            "method": "keypoints",
            "matches": fitted.matches,
            "inliers": fitted.inliers,
            "coverage_a": round(cover[0], 4),
            "coverage_b": round(cover[1], 4),
            "structure_a": round(seen_a.structure, 4),
            "structure_b": round(seen_b.structure, 4),
            "drawn": round(drawn, 4),
        }
    )
    cover = max(cover[0], seen_a.structure), max(cover[1], seen_b.structure)
    return _judge(drawn, fitted.inliers, found, cover, evidence, limits)


def _judge(
    drawn: float, inliers: int, found: Agreement, cover: tuple[float, float], evidence: Evidence, limits: Limits
) -> Verdict:
    needed = limits.min_agreement + (0.06 if inliers < 15 else 0.0)
    if found.seen_px**0.5 < limits.min_seen_side_px or not _agrees(
        found, drawn, needed, inliers, float(evidence["thumbnail_correlation"]), limits
    ):
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


def _mirrored(frame: Frame, view: View) -> Frame:
    width = view.row.picture.shape[1]
    return width - frame[2], frame[1], width - frame[0], frame[3]


def _reported(found: Agreement) -> Evidence:
    names = ("share", "share_a", "share_b", "worst_cell", "good_cells", "textured")
    return {name.replace("share", "agreement"): round(float(getattr(found, name)), 4) for name in names}
