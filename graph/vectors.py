"""Embeddings as unit float32 vectors, and which of them are equal bit for bit.

Enters: EMBEDDINGS or stored float16 rows. Leaves: float32 rows of length one. EMBEDDINGS are stored in float16 and computed in
float32: a CPU has no float16 matrix product worth the name. A row that is null, not finite or zero has no direction; it is
named by `usable` and takes part in nothing.
"""

import functools
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

LOOKED_UP_ROWS = 128

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
    column = embeddings.column("embedding").combine_chunks()
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
    rows = to_float32(vectors) if vectors.dtype == np.float16 else np.array(vectors, np.float32)
    norms = np.sqrt(np.vecdot(rows, rows))
    rows /= np.where(norms > 0, norms, 1)[:, None]
    return rows


def keys(vectors: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of every row's bytes, (N,): rows of equal keys are equal bit for bit."""
    rows = np.ascontiguousarray(vectors)
    return np.array([int.from_bytes(blake2b(row, digest_size=8).digest(), "little") for row in rows], np.uint64)
