"""Verdicts from hashes and embeddings alone: for collections where keypoints are too dear.

Enters: EDGES with their cosines, and METRICS. Leaves: VERDICTS. A pair is a copy when its perceptual hashes agree in some
orientation and its embeddings are not far apart. Between neighbours 64 of 256 bits tell photographs apart, since unlike pictures
differ in 128 +- 8; pages, windows and posters of one layout share their coarse structure, so flat graphics need nearly equal
hashes. Crops, borders and tilted copies change half the bits and are missed: this is what hashes can say, at the price of a table
look-up. Containment is never seen.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.hashing import ORIENTATIONS
from graph import hashes as hash_room
from graph.verdicts import positions, verdict_table


def verify_fast(
    *,
    pairs: pa.Table,
    metrics: pa.Table,
    rows: NDArray[np.int64] | None = None,
    max_distance: int = 67,
    max_distance_flat: int = 20,
    min_flatness: float = 0.5,
    min_similarity: float = 0.47,
    min_quality: int = 30,
) -> pa.Table:
    """Return VERDICTS, one row per row of `pairs`, same order.

    pairs: EDGES rows. metrics: METRICS of every image they name; rows: the global row of each of its rows, ascending (row i is
    image i when absent). max_distance: differing bits of 256, in the best of eight orientations, up to which a pair is a copy
    if its cosine is at least min_similarity; max_distance_flat: the same for a pair of which both are flat graphics, those
    with METRICS.flatness of at least min_flatness. min_quality: a picture with less structure by PDQ's measure has no reliable
    hash and is a copy of nothing.
    Raises KeyError when a pair names a row that `metrics` lacks.
    """
    hashes = hash_room.unpack(metrics)
    left, right = (positions(pairs[name].to_numpy(), rows, count=len(metrics), table="metrics") for name in ("row_a", "row_b"))
    bits, orientation = hash_room.distances(hashes, left, right)
    similarity = pairs["similarity"].to_numpy()
    reliable = np.minimum(hashes.quality[left], hashes.quality[right]) >= min_quality
    flatness = metrics["flatness"].to_numpy()
    flat = np.minimum(flatness[left], flatness[right]) >= min_flatness
    same = reliable & (bits <= np.where(flat, max_distance_flat, max_distance)) & (similarity >= min_similarity)
    evidence: list[dict[str, str | float | int | bool]] = [
        {
            "method": "hash",
            "hash_distance": int(d),
            "orientation": ORIENTATIONS[int(o)],
            "reliable": bool(r),
            "flat": bool(f),
        }
        for d, o, r, f in zip(bits, orientation, reliable, flat, strict=True)
    ]
    confidence = np.where(same, 1 - bits / 256, bits / 256).astype(np.float32)
    return verdict_table(
        pairs=pairs, relation=np.where(same, "copy", "different").tolist(), confidence=confidence, evidence=evidence
    )
