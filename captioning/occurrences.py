"""How often a name occurs in running text without being a link: what link probability is measured against.

Texts are cut into tokens and every n-gram's 64-bit hash is looked up among those of the forms, all with array operations. Case
counts, as it does in names. A form of more than MAX_TOKENS tokens is taken to occur only as a link.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captioning.prose import LINK_MARK
from captioning.surface import Hashes, extended, hashed, tokens

MAX_TOKENS = 10
BATCH_CHARACTERS = 2_000_000
SIEVE_BITS = 24
"""Hashes are first looked up by their upper bits in a table of one byte each, which spares most of the searches."""


def form_hashes(texts: list[str]) -> Hashes:
    """Return the hash of every form's tokens; 0 for one without any, or with too many."""
    found = tokens(texts)
    size = np.bincount(found.text, minlength=len(texts)).astype(np.int64)
    first = np.searchsorted(found.text, np.arange(len(texts)))
    return hashed(found.exact, first, np.where(size > MAX_TOKENS, 0, size))


def sieve(lexicon: Hashes) -> NDArray[np.bool_]:
    """Return which upper bits occur among the sorted hashes."""
    found = np.zeros(1 << SIEVE_BITS, bool)
    found[(lexicon >> np.uint64(64 - SIEVE_BITS)).astype(np.int64)] = True
    return found


def count_unlinked(
    texts: pa.ChunkedArray, lexicon: Hashes, upper: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the forms that occur in the running texts, ascending, and how often; lexicon: sorted hashes."""
    counts: dict[int, int] = {}
    batch: list[str] = []
    size = 0
    for text in texts.to_pylist():
        pieces = [piece for line in (text or "").split("\n") for piece in line.split(LINK_MARK) if piece]
        batch += pieces
        size += sum(map(len, pieces))
        if size > BATCH_CHARACTERS:
            _add(counts, batch, lexicon, upper)
            batch, size = [], 0
    _add(counts, batch, lexicon, upper)
    forms = np.array(sorted(counts), np.int64)
    return forms, np.array([counts[form] for form in forms.tolist()], np.int64)


def _add(counts: dict[int, int], pieces: list[str], lexicon: Hashes, upper: NDArray[np.bool_]) -> None:
    if not pieces or not len(lexicon):
        return
    found = tokens(pieces)
    prefix = np.zeros(len(found.exact), np.uint64)
    begins = np.arange(len(found.exact))
    for length in range(1, MAX_TOKENS + 1):
        begins = begins[found.left[begins] >= length]
        if not len(begins):
            return
        prefix[begins] = extended(prefix[begins], found.exact[begins + length - 1])
        hashes = prefix[begins]
        hashes = hashes[upper[(hashes >> np.uint64(64 - SIEVE_BITS)).astype(np.int64)]]
        position = np.minimum(np.searchsorted(lexicon, hashes), len(lexicon) - 1)
        forms, times = np.unique(position[lexicon[position] == hashes], return_counts=True)
        for form, count in zip(forms.tolist(), times.tolist(), strict=True):
            counts[form] = counts.get(form, 0) + count
