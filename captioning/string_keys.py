"""64-bit keys of strings, so that ten million titles are joined and grouped as integers, in arrays that lie on disk.

Simple tabulation hashing: every pair of a byte and its position has a random number, a string's key is their sum modulo 2^64
(Zobrist 1970; Patrascu and Thorup 2012, https://doi.org/10.1145/2220357.2220361). It is computed over Arrow's buffers without a
Python loop. Among 30 million strings two share a key with a probability of 2.4e-5.
"""

import functools

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

POSITIONS = 256
"""Positions with numbers of their own, one more than a title has bytes; behind them they repeat."""
BLOCK_BYTES = 1 << 22


def string_keys(strings: pa.Array | pa.ChunkedArray) -> Keys:
    """Return the key of every string; null counts as the empty string, whose key is 0."""
    if isinstance(strings, pa.ChunkedArray):
        return np.concatenate([string_keys(chunk) for chunk in strings.chunks] or [np.zeros(0, np.uint64)])
    strings = strings.cast(pa.large_string())
    if not len(strings):
        return np.zeros(0, np.uint64)
    _, offset_buffer, data = strings.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64, len(strings) + 1, strings.offset * 8)
    content = np.frombuffer(data or b"", np.uint8)
    keys = np.empty(len(strings), np.uint64)
    first = 0
    while first < len(strings):
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + BLOCK_BYTES, side="right")) - 1)
        keys[first:last] = _keys(content, offsets[first : last + 1])
        first = last
    return keys


def _keys(content: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Keys:
    lengths = np.diff(offsets)
    begins = np.repeat(offsets[:-1], lengths)
    position = (np.arange(offsets[0], offsets[-1]) - begins) % POSITIONS
    numbers = _table()[position * 256 + content[offsets[0] : offsets[-1]]]
    sums = np.zeros(len(numbers) + 1, np.uint64)
    np.cumsum(numbers, out=sums[1:])  # wraps around, and so does the difference
    return np.asarray(sums[offsets[1:] - offsets[0]] - sums[offsets[:-1] - offsets[0]], np.uint64)


@functools.cache
def _table() -> Keys:
    return np.random.Generator(np.random.PCG64(20210223)).integers(0, 1 << 64, POSITIONS * 256, np.uint64)


def find(sorted_keys: Keys, wanted: Keys) -> NDArray[np.int64]:
    """Return the position of every wanted key among the sorted ones, -1 where it is not."""
    if not len(sorted_keys):
        return np.full(len(wanted), -1, np.int64)
    position = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[position] == wanted, position, -1).astype(np.int64)
