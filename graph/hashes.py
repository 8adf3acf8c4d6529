"""Perceptual hashes of pairs in the eight orientations, and pairs that only hashes propose.

Enters: METRICS (pdq_dihedral, pdq_quality). Leaves: Hamming distances, or candidate pairs. A network that knows the world upright
may place a picture and its quarter turn far apart; their hashes differ in nothing but the order of bits, which METRICS holds
ready. One transform per picture, 256 bits per orientation, nothing is decoded.

Meta 2019, PDQ, https://github.com/facebook/ThreatExchange/blob/main/hashing/hashing.pdf: 31 differing bits or less are a match.
"""

from dataclasses import dataclass

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.hashing import ORIENTATIONS

Rows = NDArray[np.int64]
Bits = NDArray[np.uint8]

NUM_BYTES = 32
NPROBE = 8
"""Lists of similar hashes that are visited."""
EXACT_ROWS = 50_000
"""Above this many pictures the search visits lists of similar hashes instead of all of them."""


@dataclass(frozen=True)
class Hashes:
    """PDQ hashes of N pictures."""

    bits: Bits  # (N, 8, 32): packed bits in each of ORIENTATIONS
    quality: NDArray[np.int32]  # (N,) PDQ's 0 to 100; -1 where there is no hash


def unpack(metrics: pa.Table) -> Hashes:
    """Return the hashes of METRICS; a failed image has zeros and quality -1."""
    rows = len(metrics)
    lists = metrics["pdq_dihedral"].combine_chunks()
    present = np.asarray(lists.is_valid())
    text = "".join(lists.drop_null().flatten().to_pylist())
    bits = np.zeros((rows, len(ORIENTATIONS), NUM_BYTES), np.uint8)
    bits[present] = np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, len(ORIENTATIONS), NUM_BYTES)
    quality = np.asarray(metrics["pdq_quality"].fill_null(-1).to_numpy(), np.int32)
    return Hashes(bits, np.where(present, quality, -1).astype(np.int32))


def distances(hashes: Hashes, left: Rows, right: Rows, *, block_pairs: int = 65536) -> tuple[Rows, Rows]:
    """Return, for every pair, the fewest differing bits over the orientations of the left picture, and which that is."""
    bits, orientation = np.empty(len(left), np.int64), np.empty(len(left), np.int64)
    for begin in range(0, len(left), block_pairs):
        block = slice(begin, begin + block_pairs)
        differing = np.bitwise_count(hashes.bits[left[block]] ^ hashes.bits[right[block], :1]).sum(2, dtype=np.int64)
        orientation[block] = differing.argmin(1)
        bits[block] = differing.min(1)
    return bits, orientation


class HashIndex:
    """A searchable block of upright hashes."""

    def __init__(self, hashes: Hashes, *, min_quality: int = 50) -> None:
        """hashes: of the pictures that answer. min_quality: a picture with less structure has no reliable hash."""
        self.min_quality = min_quality
        self._usable = np.flatnonzero(hashes.quality >= min_quality)
        self._index = _index(np.ascontiguousarray(hashes.bits[self._usable, 0])) if len(self._usable) else None

    def pairs(self, asking: Hashes, *, max_distance: int = 31, k: int = 8) -> tuple[Rows, Rows]:
        """Return (asking, answering) positions whose hashes differ in at most `max_distance` bits in some orientation.

        k: nearest hashes looked at per picture and orientation, so that a thousand copies do not propose a million pairs. A
        pair may come several times, and a picture that is in the block finds itself.
        """
        asked = np.flatnonzero(asking.quality >= self.min_quality)
        found = [np.empty((0, 2), np.int64)]
        index = self._index
        for orientation in range(len(ORIENTATIONS) if len(asked) and index is not None else 0):
            assert index is not None
            away, place = index.search(np.ascontiguousarray(asking.bits[asked, orientation]), min(k, len(self._usable)))
            query, column = np.nonzero((away <= max_distance) & (place >= 0))
            found.append(np.stack([asked[query], self._usable[place[query, column]]], 1))
        pairs = np.concatenate(found)
        return pairs[:, 0], pairs[:, 1]


def hash_pairs(hashes: Hashes, *, max_distance: int = 31, min_quality: int = 50, k: int = 8) -> tuple[Rows, Rows]:
    """Return pairs (row_a < row_b) of one block of pictures that `HashIndex` proposes, sorted, each once."""
    left, right = HashIndex(hashes, min_quality=min_quality).pairs(hashes, max_distance=max_distance, k=k)
    pairs = np.unique(np.sort(np.stack([left, right], 1)[left != right], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _index(upright: Bits) -> faiss.IndexBinary:
    """Return a searchable index: all hashes up to EXACT_ROWS, lists of similar ones beyond."""
    kind = "BFlat" if len(upright) <= EXACT_ROWS else f"BIVF{int(np.sqrt(len(upright)))}"
    index = faiss.index_binary_factory(8 * NUM_BYTES, kind)
    index.train(upright[:: max(1, len(upright) // 200_000)])
    if isinstance(index, faiss.IndexBinaryIVF):
        index.nprobe = NPROBE
    index.add(upright)
    return index
