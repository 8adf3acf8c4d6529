"""The names of a knowledge base's entities as one sorted index in a few files, shared by every process of a machine.

ANCHORS enter; files leave that are mapped into memory, so that loading takes no time and ten million names are held once, however
many workers read them. A name is known by the 64-bit hash of its folded tokens (captioning/surface.py) and looked up by binary
search; its text is not kept. Two of ten million names share a hash with probability 3e-6, and of N n-grams looked up
N * 1e7 / 2**64 are expected to be taken for a name they are not: one in a billion captions of 60 words.

A bit for every beginning of a name tells which n-grams can still become one; most stop at two or three tokens.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captioning.surface import Hashes, Integers, Tokens, extended, hashed, tokens

MAX_TOKENS = 12
"""Names of more tokens are left out."""
MAX_POSTINGS = 64
"""Entities and spellings of one name that are looked at, those with most links first."""
BITS_PER_PREFIX = 12
WELL_KNOWN = 20
"""Occurrences from which a spelling's own rate of being a link is trusted without a look at its entities."""
_FORM = np.uint64(0xFFFFFFFF)
ORIGINS = ("title", "redirect", "langlink", "anchor")
ARRAYS = ("keys", "first", "entity", "links", "occurrences", "form", "loose", "origin", "prefixes", "spellings", "rates")


class Names(NamedTuple):
    """ANCHORS as arrays, one row per spelling of a name and entity."""

    key: Hashes
    form: NDArray[np.uint32]
    loose: NDArray[np.uint32]
    entity: NDArray[np.int32]
    links: NDArray[np.uint32]
    occurrences: NDArray[np.uint32]
    origin: NDArray[np.uint8]


class Matches(NamedTuple):
    """Spans of tokens that are a name: the first token, how many, and the name's row in the dictionary."""

    first: Integers
    size: Integers
    key: Integers


class Postings(NamedTuple):
    """What the dictionary knows of spans: one row per span, entity and spelling."""

    span: Integers
    entity: Integers
    links: NDArray[np.float64]
    occurrences: NDArray[np.float64]  # of the spelling; 0 on all but one of its rows, so that sums count it once
    level: NDArray[np.int8]  # 0: spelled as in the text; 1: the first letter's case differs; 2: more does
    origin: NDArray[np.uint8]  # place in ORIGINS


class Dictionary:
    """The names in a folder that `build` wrote."""

    def __init__(self, folder: Path) -> None:
        self._arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        self._keys = self._arrays["keys"]
        self._prefixes = self._arrays["prefixes"]

    def __len__(self) -> int:
        return len(self._keys)

    def matches(self, found: Tokens, *, min_rate: float = 0.0) -> Matches:
        """Return every span of tokens that is a name, overlapping ones too, ordered by size and then by place.

        min_rate: spellings that are known from WELL_KNOWN occurrences and more rarely a link are left out.
        """
        none = np.zeros(0, np.int64)
        parts = [(none, none, none)]
        at = np.arange(len(found.folded))
        prefix = np.zeros(len(at), np.uint64)
        for size in range(1, MAX_TOKENS + 1):
            here = found.left[at] >= size
            at, prefix = at[here], prefix[here]
            if not len(at) or not len(self):
                break
            prefix = extended(prefix, found.folded[at + size - 1])
            row = np.minimum(np.searchsorted(self._keys, prefix), len(self) - 1)
            hit = np.flatnonzero(self._keys[row] == prefix)
            parts.append((at[hit], np.full(len(hit), size), row[hit]))
            alive = _bits(self._prefixes, prefix)
            at, prefix = at[alive], prefix[alive]
        spans = Matches._make(np.concatenate(columns) for columns in zip(*parts, strict=True))

        return self._told(found, spans, min_rate)

    def _told(self, found: Tokens, spans: Matches, min_rate: float) -> Matches:
        """Return the spans without those whose very spelling is well known and hardly ever a link, such as "the"."""
        if not len(spans.first) or min_rate <= 0:
            return spans
        form = hashed(found.exact, spans.first, spans.size) & _FORM
        spelling = extended(self._keys[spans.key], form)
        spellings = self._arrays["spellings"]
        if not len(spellings):
            return spans
        row = np.minimum(np.searchsorted(spellings, spelling), len(spellings) - 1)
        dull = (spellings[row] == spelling) & (self._arrays["rates"][row] < min_rate)
        return Matches._make(column[~dull] for column in spans)

    def postings(self, found: Tokens, spans: Matches) -> Postings:
        """Return what is known of every span, in the order of the spans."""
        first = self._arrays["first"]
        begin = np.asarray(first[spans.key], np.int64)
        count = np.minimum(np.asarray(first[spans.key + 1], np.int64) - begin, MAX_POSTINGS)
        span = np.repeat(np.arange(len(begin)), count)
        row = np.arange(len(span)) + np.repeat(begin - np.cumsum(count) + count, count)
        form = hashed(found.exact, spans.first, spans.size).astype(np.uint32)
        loose = hashed(found.exact, spans.first, spans.size, opening=found.loose).astype(np.uint32)
        level = np.where(self._arrays["loose"][row] == loose[span], 1, 2)
        level[self._arrays["form"][row] == form[span]] = 0
        return Postings(
            span,
            self._arrays["entity"][row].astype(np.int64),
            self._arrays["links"][row].astype(np.float64),
            self._arrays["occurrences"][row].astype(np.float64),
            level.astype(np.int8),
            self._arrays["origin"][row],
        )


def build(anchors: Iterable[pa.Table], folder: Path) -> None:
    """Write the files of a Dictionary into `folder`: anchors are parts of ANCHORS, in any order, repetitions allowed."""
    parts, prefixes = [], []
    for part in anchors:
        for batch in part.to_batches(max_chunksize=1 << 18):
            names, beginnings = _names(batch)
            parts.append(names)
            prefixes.append(np.unique(beginnings))
    names = _merged(parts)
    keys, first = np.unique(names.key, return_index=True)
    spellings, rates = _rates(names)
    columns = names._asdict() | {
        "keys": keys,
        "first": np.append(first, len(names.key)),
        "spellings": spellings,
        "rates": rates,
        "prefixes": _bitmap(np.unique(np.concatenate(prefixes)) if prefixes else np.zeros(0, np.uint64)),
    }
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", columns[name])


def _names(batch: pa.RecordBatch) -> tuple[Names, Hashes]:
    """Return the names of a batch of ANCHORS, and the hashes of their beginnings."""
    texts = batch.column("text").to_pylist()
    found = tokens(texts)
    size = np.bincount(found.text, minlength=len(texts)).astype(np.int64)
    first = np.cumsum(size) - size
    used = np.flatnonzero((size > 0) & (size <= MAX_TOKENS))
    first, size = first[used], size[used]
    beginnings = [hashed(found.folded, first[size > num], np.full((size > num).sum(), num)) for num in range(1, MAX_TOKENS)]
    column = {name: np.asarray(batch.column(name).to_numpy(zero_copy_only=False))[used] for name in ("links", "occurrences")}
    origins = np.array([ORIGINS.index(origin) for origin in batch.column("origin").to_pylist()], np.uint8)
    names = Names(
        hashed(found.folded, first, size),
        hashed(found.exact, first, size).astype(np.uint32),
        hashed(found.exact, first, size, opening=found.loose).astype(np.uint32),
        np.asarray(batch.column("entity").to_numpy(zero_copy_only=False), np.int32)[used],
        np.clip(column["links"], 0, 0xFFFFFFFF).astype(np.uint32),
        np.clip(column["occurrences"], 0, 0xFFFFFFFF).astype(np.uint32),
        origins[used],
    )
    return names, np.concatenate(beginnings)


def _merged(parts: list[Names]) -> Names:
    """Return the rows of all parts, one per name, spelling and entity, by name and then most links first.

    Links of rows that become one are added, as their texts differ; occurrences are those of the commonest of the texts.
    """
    if not parts:
        none: NDArray[Any] = np.zeros(0, np.uint64)
        return Names(*[none] * len(Names._fields))
    every = Names._make(np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((every.entity, every.form, every.key))
    every = Names._make(column[order] for column in every)
    spelling = changes(every.key, every.form)
    begin = np.flatnonzero(spelling | changes(every.entity))
    if len(begin):
        occurrences = np.maximum.reduceat(every.occurrences, np.flatnonzero(spelling))
        links = np.minimum(np.add.reduceat(every.links.astype(np.int64), begin), 0xFFFFFFFF).astype(np.uint32)
        origin = np.minimum.reduceat(every.origin, begin)
        every = Names._make(column[begin] for column in every)._replace(links=links, origin=origin)
        spelling = spelling[begin]
        every = every._replace(occurrences=np.where(spelling, occurrences[np.cumsum(spelling) - 1], 0).astype(np.uint32))
    order = np.lexsort((every.entity, every.origin, -every.links.astype(np.int64), every.key))
    return _first_of_spelling(Names._make(column[order] for column in every))


def _first_of_spelling(names: Names) -> Names:
    """Return the rows with each spelling's occurrences moved to its row of most links, which a cut to MAX_POSTINGS keeps."""
    order = np.lexsort((np.arange(len(names.key)), names.form, names.key))
    begin = changes(names.key[order], names.form[order])
    occurrences = np.zeros(len(names.key), np.uint32)
    if len(begin):
        totals = np.add.reduceat(names.occurrences[order].astype(np.int64), np.flatnonzero(begin))
        occurrences[order[begin]] = totals
    return names._replace(occurrences=occurrences)


def _rates(names: Names) -> tuple[Hashes, NDArray[np.float32]]:
    """Return the spellings met WELL_KNOWN times or more, as sorted hashes, and how often each is a link where it occurs."""
    spelling = extended(names.key, names.form.astype(np.uint64))
    order = np.argsort(spelling, kind="stable")
    begin = np.flatnonzero(changes(spelling[order]))
    if not len(begin):
        return spelling, np.zeros(0, np.float32)
    links = np.add.reduceat(names.links[order].astype(np.int64), begin)
    occurrences = np.add.reduceat(names.occurrences[order].astype(np.int64), begin)
    known = occurrences >= WELL_KNOWN
    return spelling[order[begin[known]]], (links[known] / occurrences[known]).astype(np.float32)


def changes(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where any of the columns differs from the row before; true for the first row."""
    changed = np.zeros(len(columns[0]), np.bool_)
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    changed[:1] = True
    return changed


def _bitmap(hashes: Hashes) -> NDArray[np.uint8]:
    """Return a power of two of bits, those that a hash falls on set."""
    size = 1 << max(10, int(len(hashes) * BITS_PER_PREFIX).bit_length())
    bits = np.zeros(size, np.bool_)
    bits[(hashes & np.uint64(size - 1)).astype(np.int64)] = True
    return np.packbits(bits, bitorder="little")


def _bits(bitmap: NDArray[np.uint8], hashes: Hashes) -> NDArray[np.bool_]:
    place = (hashes & np.uint64(len(bitmap) * 8 - 1)).astype(np.int64)
    return np.asarray((bitmap[place >> 3] >> (place & 7).astype(np.uint8)) & 1, np.bool_)
