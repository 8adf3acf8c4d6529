"""Pairs that need no second look: hashes and embeddings agree beyond doubt, or the embeddings are too far apart.

Enters: EDGES and METRICS. Leaves, per pair: the relation that is certain already, or nothing. Aligning a pair costs milliseconds
and these two readings nothing, so what is left for the dear comparison is the uncertain band between them.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph import hashes

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Band:
    """What is certain of P pairs."""

    copies: NDArray[np.bool_]  # (P,)
    strangers: NDArray[np.bool_]  # (P,) different
    distance: Rows  # (P,) bits in which the hashes differ, in the best orientation of the left picture
    orientation: Rows  # (P,) that orientation, an index of hashing.ORIENTATIONS


def band(
    *,
    metrics: pa.Table,
    left: Rows,
    right: Rows,
    similarity: NDArray[np.float32],
    min_similarity: float,
    max_distance: int,
    min_sure_similarity: float,
    max_flatness: float = 0.5,
    min_quality: int = 50,
) -> Band:
    """Return what is certain of the pairs (left[i], right[i]) of rows of METRICS, whose cosines are `similarity`.

    A copy: at most max_distance bits of two reliable hashes differ, the cosine reaches min_sure_similarity, and neither picture
    is a flat graphic, because the hashes of two pages or posters of one layout are alike. A stranger: the cosine is below
    min_similarity and the hashes do not agree either.
    """
    known = hashes.unpack(metrics)
    distance, orientation = hashes.distances(known, left, right)
    reliable = np.minimum(known.quality[left], known.quality[right]) >= min_quality
    flatness = np.nan_to_num(metrics["flatness"].to_numpy(), nan=1.0)
    near = reliable & (distance <= max_distance)
    copies = near & (similarity >= min_sure_similarity) & (np.maximum(flatness[left], flatness[right]) < max_flatness)
    return Band(copies, (similarity < min_similarity) & ~near, distance, orientation)
