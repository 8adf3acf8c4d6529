"""Pairs of different pictures that look alike, for edits mined from a collection: below a copy, above a coincidence.

Enters: EDGES with what is known of their images. Leaves: EDGES of those pairs whose cosine lies in a band, that list each other
among their nearest (NEIGHBOURS; without it every edge counts), that come from one group, are about of one size and shape, and
that nothing has recognised as copies. Z-Image takes frames of one video so (arXiv 2511.22699, section 2.5); the upper bound on
structural similarity, which keeps near-identical frames out, needs pixels and is `ssim`.
"""

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import schema

Rows = NDArray[np.int64]
Pixels = NDArray[np.uint8]

COPIES = ("copy", "contains", "contained")
"""Relations of VERDICTS whose pairs show the same picture."""

SIDE_PX = 256
"""Long side at which pictures are compared."""


def near_pairs(
    *,
    edges: pa.Table,
    images: pa.Table,
    keep: NDArray[np.bool_],
    neighbours: pa.Table | None = None,
    verdicts: pa.Table | None = None,
    min_similarity: float,
    max_similarity: float,
    max_size_ratio: float = 1.6,
    max_aspect_ratio: float = 1.1,
) -> pa.Table:
    """Return EDGES of the pairs that qualify, sorted by rows.

    images: all rows, with group, width and height. keep: rows that may be used. max_size_ratio: larger area over smaller.
    max_aspect_ratio: larger aspect over smaller. Raises ValueError when the band is empty.
    """
    if not min_similarity < max_similarity:
        raise ValueError(f"no cosine lies in [{min_similarity}, {max_similarity})")
    row_a, row_b = edges["row_a"].to_numpy(), edges["row_b"].to_numpy()
    cosine = edges["similarity"].to_numpy()
    chosen = (cosine >= min_similarity) & (cosine < max_similarity) & keep[row_a] & keep[row_b]
    group = np.asarray(pc.rank(images["group"], tiebreaker="dense").to_numpy())
    chosen &= group[row_a] == group[row_b]
    width, height = (images[side].fill_null(1).to_numpy().astype(np.float64) for side in ("width", "height"))
    chosen &= _within(width * height, row_a, row_b, max_size_ratio) & _within(width / height, row_a, row_b, max_aspect_ratio)
    found = edges.filter(pa.array(chosen))
    if neighbours is not None:
        found = found.filter(pa.array(_mutual(found, neighbours)))
    if verdicts is not None:
        found = found.filter(pa.array(~_listed(found, verdicts.filter(pc.is_in(verdicts["relation"], pa.array(COPIES))))))
    return schema.conform(found.sort_by([("row_a", "ascending"), ("row_b", "ascending")]), schema.EDGES)


def ssim(one: Pixels, other: Pixels) -> float:
    """Return the mean structural similarity of two RGB pictures in grey, both in the first's shape at a long side of SIDE_PX.

    Gaussian window of sigma 1.5, k1 = .01, k2 = .03: Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861
    """
    height, width = one.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = max(8, round(width * scale)), max(8, round(height * scale))
    x, y = (
        cv2.resize(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA).astype(
            np.float64
        )
        for picture in (one, other)
    )
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x, var_y, covariance = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2, _smooth(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return float(value[5:-5, 5:-5].mean()) if min(size) > 16 else float(value.mean())


def _smooth(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(plane, (11, 11), 1.5))


def _within(measure: NDArray[np.float64], row_a: Rows, row_b: Rows, ratio: float) -> NDArray[np.bool_]:
    a, b = measure[row_a], measure[row_b]
    return np.asarray(np.maximum(a, b) <= ratio * np.minimum(a, b) + 1e-9)


def _mutual(edges: pa.Table, neighbours: pa.Table) -> NDArray[np.bool_]:
    """Say of each edge whether both images list the other."""
    lists = neighbours["rows"].combine_chunks()
    offsets, members = lists.offsets.to_numpy(), lists.flatten().to_numpy()
    pairs = zip(edges["row_a"].to_pylist(), edges["row_b"].to_pylist(), strict=True)
    return np.array(
        [b in members[offsets[a] : offsets[a + 1]] and a in members[offsets[b] : offsets[b + 1]] for a, b in pairs], np.bool_
    )


def _listed(edges: pa.Table, others: pa.Table) -> NDArray[np.bool_]:
    """Say of each edge whether `others` has it."""
    known = set(zip(others["row_a"].to_pylist(), others["row_b"].to_pylist(), strict=True))
    return np.array(
        [pair in known for pair in zip(edges["row_a"].to_pylist(), edges["row_b"].to_pylist(), strict=True)], np.bool_
    )
