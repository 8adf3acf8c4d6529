"""What disambiguation knows of entities: who links to them, and the words that describe them, as files mapped into memory.

ENTITIES and LINKS enter. Relatedness follows Milne and Witten (2008, https://aaai.org/papers/0005-WS08-15-005): two entities are
related when the same pages link to both. Pages that link to an entity are kept as a bottom-k sketch, the SKETCH smallest hashes
of their numbers (Cohen and Kaplan 2007, https://doi.org/10.1145/1281100.1281133): exact up to SKETCH of them, an estimate beyond,
and never more than 400 bytes for an entity, however famous. An entity counts among the pages that link to it, so that a direct
link relates as well.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from captioning.surface import Integers, extended, tokens

SKETCH = 100
MAX_WORDS = 40
"""Distinct words of an entity that are kept."""
KINDS = ("article", "disambiguation", "list", "date", "outside")
ARRAYS = (
    "kind",
    "person",
    "links_in",
    "pages_first",
    "pages",
    "degree",
    "words_first",
    "words",
    "vocabulary",
    "rarity",
    "num_pages",
)
PERSON = re.compile(
    r"\b(births|deaths|living people|people from|alumni|actors|actresses|singers|musicians|writers|poets|painters|politicians|"
    r"footballers|players|philosophers|scientists|emperors|monarchs|presidents)\b",
    re.IGNORECASE,
)
PERSON_BOX = re.compile(
    r"\b(person|people|biography|officeholder|politician|president|prime minister|royalty|monarch|saint|pope|scientist|"
    r"philosopher|writer|poet|artist|actor|actress|comedian|model|singer|musical artist|sportsperson|cyclist|swimmer|boxer|"
    r"wrestler|player|biography|military person|criminal|astronaut|economist|academic|architect|engineer|journalist)\b",
    re.IGNORECASE,
)
Floats = NDArray[np.float64]
Words = NDArray[np.uint32]
Pairs = tuple[Integers, Words]


class Profiles:
    """What `build` wrote into a folder."""

    def __init__(self, folder: Path) -> None:
        self._arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        self.num_pages = int(self._arrays["num_pages"][0])

    def __len__(self) -> int:
        return len(self._arrays["kind"])

    def kind(self, entities: Integers) -> NDArray[np.uint8]:
        """Return each entity's place in KINDS."""
        return np.asarray(self._arrays["kind"][entities])

    def is_person(self, entities: Integers) -> NDArray[np.bool_]:
        """Say of each entity whether its article is about a person, as far as its infobox and categories tell."""
        return np.asarray(self._arrays["person"][entities])

    def links_in(self, entities: Integers) -> Floats:
        """Return how many links lead to each entity."""
        return np.asarray(self._arrays["links_in"][entities], np.float64)

    def related(self, entities: Integers, sample: Integers) -> tuple[Integers, Integers, Floats]:
        """Return the pairs of rows of one sample that are related, each both ways: row, other row, relatedness in (0, 1].

        entities: one per row; sample: which sample the row is of. Rows of the same entity are related by 1.
        """
        incidence, cut = self._incidence("pages", entities, sample)
        shared = (incidence @ incidence.T).tocoo()
        apart = shared.row != shared.col
        row, other, common = shared.row[apart], shared.col[apart], shared.data[apart]
        # Common members of two bottom-k sketches are those of the intersection below both cuts.
        common = common / np.minimum(cut[row], cut[other])
        degree = self._arrays["degree"][entities].astype(np.float64)
        large, small = np.maximum(degree[row], degree[other]), np.minimum(degree[row], degree[other])
        with np.errstate(divide="ignore"):
            distance = np.log(large / np.minimum(common, small)) / np.log(self.num_pages / small)
        related = np.where(entities[row] == entities[other], 1.0, np.clip(1 - distance, 0, 1))
        positive = related > 0
        return row[positive], other[positive], related[positive]

    def similar(self, entities: Integers, sample: Integers, heard: Pairs, own: Pairs) -> Floats:
        """Return for each row the rarity of the words that its entity shares with its sample, over the root of its own rarity.

        entities, sample: of each row. heard: the samples and words (32-bit hashes) of which each consists. own: the rows and
        words of each row's own name, which every candidate would share.
        """
        words, row = self._ragged("words", entities)
        rarity = self._rarity(words)
        shared = np.isin(_paired(sample[row], words), _paired(*heard)) & ~np.isin(_paired(row, words), _paired(*own))
        told = np.bincount(row, weights=rarity * shared, minlength=len(entities))
        return np.asarray(told / np.sqrt(np.bincount(row, weights=rarity, minlength=len(entities)) + 1.0))

    def _incidence(self, name: str, entities: Integers, sample: Integers) -> tuple[sparse.csr_array, Floats]:
        """Return rows by (sample, number) as a 0/1 matrix, and the share of all hashes that each row's sketch covers."""
        numbers, places = self._ragged(name, entities)
        columns, column = np.unique(_paired(sample[places], numbers), return_inverse=True)
        matrix = sparse.csr_array((np.ones(len(places)), (places, column)), shape=(len(entities), max(1, len(columns))))
        cut = np.ones(len(entities))
        full = np.bincount(places, minlength=len(entities)) >= SKETCH
        last = np.zeros(len(entities))
        np.maximum.at(last, places, numbers.astype(np.float64))
        cut[full] = (last[full] + 1) / 2.0**32
        return matrix, cut

    def _ragged(self, name: str, entities: Integers) -> tuple[NDArray[np.uint32], Integers]:
        """Return the lists of the entities end to end, and which row each element is of."""
        first = self._arrays[f"{name}_first"]
        begin = np.asarray(first[entities], np.int64)
        count = np.asarray(first[entities + 1], np.int64) - begin
        places = np.repeat(np.arange(len(entities)), count)
        return self._arrays[name][np.arange(len(places)) + np.repeat(begin - np.cumsum(count) + count, count)], places

    def _rarity(self, words: NDArray[np.uint32]) -> Floats:
        vocabulary = self._arrays["vocabulary"]
        if not len(vocabulary):
            return np.zeros(len(words))
        at = np.minimum(np.searchsorted(vocabulary, words), len(vocabulary) - 1)
        return np.where(vocabulary[at] == words, self._arrays["rarity"][at], 0.0)


def _paired(numbers: Integers, words: Words) -> NDArray[np.uint64]:
    """Return each number below 2**32 and word as one key."""
    return (numbers.astype(np.uint64) << np.uint64(32)) | words.astype(np.uint64)


def words_of(texts: Sequence[str]) -> list[Words]:
    """Return the distinct folded words of every text as 32-bit hashes, ascending."""
    found = tokens(texts)
    words = found.folded.astype(np.uint32)
    bounds = np.searchsorted(found.text, np.arange(len(texts) + 1))
    return [np.unique(words[bounds[n] : bounds[n + 1]]) for n in range(len(texts))]


def build(entities: Iterable[pa.Table], links: Iterable[pa.Table], folder: Path) -> None:
    """Write the files of Profiles into `folder` from the parts of ENTITIES and LINKS, both in order."""
    columns: dict[str, list[NDArray[np.generic]]] = {name: [] for name in ("kind", "person", "links_in", "words", "counts")}
    for part in entities:
        for batch in part.to_batches(max_chunksize=1 << 16):
            described = words_of(_descriptions(batch))
            columns["words"] += [words[:MAX_WORDS] for words in described]
            columns["counts"].append(np.array([min(len(words), MAX_WORDS) for words in described], np.int64))
            columns["kind"].append(np.array([KINDS.index(kind) for kind in batch.column("kind").to_pylist()], np.uint8))
            columns["person"].append(np.array(_persons(batch), np.bool_))
            columns["links_in"].append(np.asarray(batch.column("links_in").to_numpy(zero_copy_only=False), np.int32))
    joined = {name: np.concatenate(parts) if parts else np.zeros(0, np.int32) for name, parts in columns.items()}
    words: Words = np.asarray(joined["words"], np.uint32)
    vocabulary, frequency = np.unique(words, return_counts=True)
    described_entities = max(1, int(np.count_nonzero(joined["counts"])))
    num_described = int(np.count_nonzero(joined["kind"] != KINDS.index("outside")))
    degree, first, pages = _sketches(links, len(joined["kind"]))
    arrays = {
        "kind": joined["kind"].astype(np.uint8),
        "person": joined["person"].astype(np.bool_),
        "links_in": joined["links_in"].astype(np.int32),
        "words": words,
        "words_first": np.cumsum(np.concatenate([np.zeros(1, np.int64), np.asarray(joined["counts"], np.int64)])),
        "vocabulary": vocabulary,
        "rarity": np.log((described_entities + 1) / frequency).astype(np.float32),
        "degree": degree,
        "pages_first": first,
        "pages": pages,
        "num_pages": np.array([max(2, num_described, int(degree.max(initial=1)) + 1)]),
    }
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", arrays[name])


def _descriptions(batch: pa.RecordBatch) -> list[str]:
    names = ("title", "title_zh", "description", "lead")
    texts = zip(*(batch.column(name).to_pylist() for name in names), strict=True)
    categories = batch.column("categories").to_pylist()
    return [" ".join(filter(None, (*row, *(named or ())))) for row, named in zip(texts, categories, strict=True)]


def _persons(batch: pa.RecordBatch) -> list[bool]:
    boxes, categories = batch.column("infobox").to_pylist(), batch.column("categories").to_pylist()
    return [
        bool(PERSON_BOX.search(box or "")) or any(PERSON.search(name) for name in named or ())
        for box, named in zip(boxes, categories, strict=True)
    ]


def _sketches(links: Iterable[pa.Table], num_entities: int) -> tuple[NDArray[np.int32], Integers, NDArray[np.uint32]]:
    """Return how many pages link to each entity, itself included, and the smallest hashes of their numbers, entity by entity."""
    itself = np.arange(num_entities, dtype=np.int64)
    degree = np.ones(num_entities, np.int64)
    kept = (itself.astype(np.uint64) << np.uint64(32)) | _page_hash(itself)
    for part in links:
        source, target = (np.asarray(part[name].combine_chunks().to_numpy(), np.int64) for name in ("source", "target"))
        apart = source != target
        degree += np.bincount(target[apart], minlength=num_entities)
        keys = (target[apart].astype(np.uint64) << np.uint64(32)) | _page_hash(source[apart])
        kept = _smallest(np.concatenate([kept, keys]))
    first = np.searchsorted(kept, np.arange(num_entities + 1, dtype=np.uint64) << np.uint64(32)).astype(np.int64)
    return degree.astype(np.int32), first, kept.astype(np.uint32)


def _smallest(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the keys, sorted, without all but the first SKETCH of each upper half."""
    keys = np.unique(keys)
    target = keys >> np.uint64(32)
    begin = np.searchsorted(target, target)
    return keys[np.arange(len(keys)) - begin < SKETCH]


def _page_hash(numbers: Integers) -> NDArray[np.uint64]:
    return extended(np.zeros(len(numbers), np.uint64), numbers.astype(np.uint64)) >> np.uint64(32)
