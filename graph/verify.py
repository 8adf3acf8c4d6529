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
all else is *different*. Flat graphics must agree nearly everywhere, since posters of one layout differ only in their text, and
in colour, since charts, flags and icons may differ in nothing else (graph/redrawn.py). Whatever they are, no numeral, word or
mark may have been exchanged for another of its style (graph/exchanged.py).
"""

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema
from curation.hashing import ORIENTATIONS
from graph import thumbnails
from graph.band import Band, band
from graph.look import as_wholes, by_keypoints, exchange_of_wholes
from graph.redrawn import drawn_alike, graphic, unless_recoloured
from graph.verdicts import Evidence, Limits, Verdict, positions, verdict_table
from graph.views import Views, near_order

Rows = NDArray[np.int64]

MIN_FLAT_THUMBNAIL = 0.25
"""Share of flat pixels of two thumbnails from which hashes alone do not decide: both may be drawn."""


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
    min_inliers_overlaid: int = 60,
    min_agreement_overlaid: float = 0.5,
    max_recoloured: float = 0.25,
    min_filled: float = 0.4,
    max_deviation: float = 18.0,
    min_keypoints_graphic: int = 60,
    min_exchanged: float = 2.0,
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
    min_inliers_overlaid, min_agreement_overlaid: what a photograph needs that lies on itself corner on corner, under whatever was
    laid over it. max_recoloured: share of colours that may be of another hue. min_filled: share that a few flat colours
    fill, from which a pair is drawn; of drawings, aligned colours may differ by max_deviation, and with fewer than
    min_keypoints_graphic keypoints they must lie as they are. min_exchanged: grey levels by
    which a window must differ both ways, from which a mark counts as exchanged for another (graph/exchanged.py). Raises KeyError
    when a pair names a row that `keypoints` lacks.
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
        min_inliers_overlaid,
        min_agreement_overlaid,
        max_recoloured,
        min_filled,
        max_deviation,
        min_keypoints_graphic,
        min_exchanged,
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
    found = {i: _verdict(views, int(left[i]), int(right[i]), seen, sure, i, limits) for i in near_order(left, right).tolist()}
    verdicts = [found[i] for i in range(len(pairs))]
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
    if sure is not None and min(counts) >= limits.min_inliers:
        if sure.strangers[i] or (sure.copies[i] and not _doubted(views, a, b, seen, i, limits)):
            return _sure(sure, i)
    measured: Evidence = {
        "orientation": int(seen.state[i]),
        "thumbnail_correlation": round(float(seen.grey[i]), 4),
    }
    plain = min(counts) < limits.min_inliers  # keypoints cannot confirm it, so the whole must fit closely
    if max(counts) > 0 and seen.grey[i] >= (0.95 if plain else limits.min_whole_correlation):
        found = as_wholes(views[a], views[b], int(seen.state[i]), 0.9 if plain else limits.min_agreement + 0.08, limits, measured)
        if found is not None:
            detailed = min(counts) >= limits.min_keypoints_graphic
            return unless_recoloured(found, float(seen.recoloured[i]), float(seen.one_turn[i]), detailed, limits)
    if not plain:
        return by_keypoints(views[a], views[b], limits, measured)
    found = _small(seen, i, limits, measured)
    return found if found.relation == "different" else drawn_alike(views[a], views[b], int(seen.state[i]), limits, found)


def _doubted(views: Views, a: int, b: int, seen: thumbnails.Comparison, i: int, limits: Limits) -> bool:
    """Say whether a pair of near hashes needs a look: they know nothing of colours and little of drawings and numerals."""
    if seen.recoloured[i] > limits.max_recoloured:
        return True
    if seen.flat[i] >= MIN_FLAT_THUMBNAIL and graphic(views[a], views[b], limits):
        return True
    return exchange_of_wholes(views[a], views[b], int(seen.state[i]), limits) > 0


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
