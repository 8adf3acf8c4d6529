"""Embeddings as unit float32 vectors, and which of them are equal bit for bit.

Enters: EMBEDDINGS or stored float16 rows. Leaves: float32 rows of length one. EMBEDDINGS are stored in float16 and computed in
float32: a CPU has no float16 matrix product worth the name. A row that is null, not finite or zero has no direction; it is
named by `usable` and takes part in nothing.
"""

import functools

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

LOOKED_UP_ROWS = 128
"""Rows computed at a time, few enough to stay in the cache."""

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Rows = NDArray[np.int64]


def embedding_matrix(embeddings: pa.Table) -> Floats:
    """Return EMBEDDINGS.embedding as float32 (N, d), with NaN in the rows that failed."""
    stored, present = stored_vectors(embeddings)
    vectors = np.full((len(present), stored.shape[1]), np.nan, np.float32)
    vectors[present] = to_float32(stored)
    return vectors


def stored_vectors(embeddings: pa.Table) -> tuple[Halves, NDArray[np.bool_]]:
    """Return the vectors that are not null as they are stored, (M, d), and which of the N rows they are."""
    column = embeddings.column("embedding")
    column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies a single chunk too
    present = np.asarray(column.is_valid())
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size), present


def to_float32(stored: NDArray[np.floating]) -> Floats:
    """Return the same numbers in float32; float16 by looking them up, three times as fast as numpy converts them."""
    if stored.dtype != np.float16:
        return np.asarray(stored, np.float32)
    bits, numbers = np.ascontiguousarray(stored).view(np.uint16), np.empty(stored.shape, np.float32)
    for at in range(0, len(bits), LOOKED_UP_ROWS):
        some = slice(at, at + LOOKED_UP_ROWS)
        np.take(_every_half(), bits[some], out=numbers[some], mode="clip")  # widens its indices: few at a time stay cached
    return numbers


@functools.cache
def _every_half() -> Floats:
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def usable(vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say which rows are finite and not zero, (N,)."""
    if vectors.dtype == np.float16:  # numpy computes on float16 by converting every number; its bits tell as much
        largest = (np.ascontiguousarray(vectors).view(np.uint16) & np.uint16(0x7FFF)).max(1, initial=0)
        return np.asarray((largest > 0) & (largest < 0x7C00))
    return np.asarray(np.isfinite(vectors).all(1) & vectors.any(1))


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Return float32 rows of length one; zero rows stay zero. Every row is computed by itself, in one order."""
    rows = np.empty(vectors.shape, np.float32)
    for at in range(0, len(rows), LOOKED_UP_ROWS):
        some = rows[at : at + LOOKED_UP_ROWS]
        some[:] = to_float32(vectors[at : at + LOOKED_UP_ROWS])
        norms = np.sqrt(np.vecdot(some, some))
        some /= np.where(norms > 0, norms, 1)[:, None]
    return rows


def keys(vectors: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of every row's bytes, (N,); rows of equal keys are equal bit for bit, or a chance of 2^-63 a pair.

    Multilinear hashing of the row's words after each is mixed (splitmix64, Steele, Lea & Flood 2014,
    https://doi.org/10.1145/2660193.2660195), so that a difference in a word's high bits alone counts as much as any other.
    """
    rows = np.ascontiguousarray(vectors).view(np.uint8)
    if rows.shape[1] % 8:
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8)))
    words = rows.view(np.uint64)
    multipliers = np.random.default_rng(0).integers(0, 1 << 64, words.shape[1], np.uint64) | np.uint64(1)
    hashed = np.empty(len(words), np.uint64)
    for at in range(0, len(words), LOOKED_UP_ROWS):
        mixed = words[at : at + LOOKED_UP_ROWS] + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(27)
        hashed[at : at + LOOKED_UP_ROWS] = mixed @ multipliers
    return hashed
