"""What is an entity a kind of? Candidate parents among the other entities, by categories, by description, or by links.

A category names a parent when an entity bears its name in the singular: "Dog breeds from France" leads to "Dog breed". So does
the description: "breed of dog" leads to "Dog", "small domestic cat" to the longest ending that is a title. Where a graph has
neither (an edge list), the entity that a page links to often and few others do is taken among those of higher PageRank, as
term frequency and inverse document frequency pick the telling word of a text.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.bags import fold

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

CLASS, HEAD, DESCRIBED, TOPIC, LINKED = 4.0, 3.0, 2.0, 1.5, 1.0
"""Strength of a parent named by a category in the plural, by such a category's head, by the description, by a category in the
singular, and by links."""

KINDS_OF = frozenset("kind type sort class form style variety breed species genus family group member piece work part".split())
"""Heads of a description that say less than what follows their "of"."""

_HEAD_ENDS = re.compile(r"\b(?:in|of|from|by|at|for|with|that|which|on|who|where|used|born|named|named after|set)\b|[,;(]")
_DEPICTED = re.compile(r"\bin (?:\w+ )?(?:art|fiction|film|literature|culture|media|mythology)$")
_ARTICLE = re.compile(r"^(?:an?|the)\s+")
_MOST_WORDS = 4


class Titles:
    """Finds entities by folded title, through sorted hashes: 16 bytes an entity."""

    def __init__(self, parts: Iterable[tuple[Rows, Sequence[str]]], importance: Floats) -> None:
        """parts: rows and titles of the entities to be found; of those that fold alike the most important is."""
        found = [(rows, np.array([_key(fold(title)) for title in titles], np.uint64)) for rows, titles in parts]
        rows = np.concatenate([np.empty(0, np.int64), *(part for part, _ in found)])
        keys = np.concatenate([np.empty(0, np.uint64), *(part for _, part in found)])
        order = np.lexsort((rows, -importance[rows], keys))
        self._keys, first = np.unique(keys[order], return_index=True)
        self._rows = rows[order[first]]

    def find(self, names: Sequence[str]) -> Rows:
        """Return the row of every folded name, -1 where there is none."""
        keys = np.array([_key(name) for name in names], np.uint64)
        at = np.minimum(np.searchsorted(self._keys, keys), max(0, len(self._keys) - 1))
        if not len(self._keys):
            return np.full(len(names), -1, np.int64)
        return np.where((self._keys[at] == keys) & (keys != _NOTHING), self._rows[at], -1)


def named_parents(entities: pa.Table, first_row: int, titles: Titles) -> tuple[Rows, Rows, Floats]:
    """Return the candidates (child, parent, strength) that categories and descriptions of a part of ENTITIES name.

    first_row: row of the part's first entity.
    """
    child: list[int] = []
    names: list[str] = []
    strength: list[float] = []
    columns = entities.select(["categories", "description"]).to_pydict()
    for place, (categories, description) in enumerate(zip(columns["categories"], columns["description"], strict=True)):
        for name, weight in [*_category_names(categories or ()), *_described_names(description or "")]:
            child.append(first_row + place)
            names.append(name)
            strength.append(weight)
    parent = titles.find(names)
    found = parent >= 0
    return np.array(child, np.int64)[found], parent[found], np.array(strength, np.float64)[found]


def linked_parents(parts: Iterable[pa.Table], importance: Floats, orphan: NDArray[np.bool_]) -> tuple[Rows, Rows, Floats]:
    """Return for every orphan the most telling entity that it links to among those of higher importance.

    parts: LINKS; a link counts `count` times the rarity -ln importance of its target.
    """
    best = np.zeros(len(importance))
    parent = np.full(len(importance), -1, np.int64)
    for part in parts:
        source, target, count = (part.column(name).to_numpy() for name in ("source", "target", "count"))
        up = orphan[source] & (importance[target] > importance[source])
        source, target = source[up], target[up]
        telling = count[up] * -np.log(importance[target])
        order = np.lexsort((target, -telling, source))
        order = order[np.unique(source[order], return_index=True)[1]]
        better = telling[order] > best[source[order]]
        order = order[better]
        best[source[order]], parent[source[order]] = telling[order], target[order]
    child = np.flatnonzero(parent >= 0)
    return child, parent[child], np.full(len(child), LINKED)


def class_names(categories: Sequence[str] | None, description: str | None) -> tuple[str, ...]:
    """Return what an entity is said to be, the most particular first: classes by categories, and the head of its description.

    Topics, which say what it has to do with and not what it is, are left out.
    """
    found = [(name, strength) for name, strength in _category_names(categories or ()) if strength > TOPIC]
    found += list(_described_names(description or ""))
    return tuple(dict.fromkeys(name for name, _ in found if name))


def _category_names(categories: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield the names of a category's members: "Dog breeds" holds dog breeds, "Arctic Ocean" all that has to do with it.

    Telling classes from topics by the plural: Ponzetto & Strube 2007; Suchanek et al. 2007, https://doi.org/10.1145/1242572.1242667
    """
    for category in categories:
        whole = fold(category)
        head = _head(whole)
        if singular(head) == head:
            yield whole, TOPIC
        elif not _DEPICTED.search(whole):
            yield (singular(whole), CLASS) if head == whole else (singular(head), HEAD)


def _described_names(description: str) -> Iterator[tuple[str, float]]:
    text = _ARTICLE.sub("", fold(description))
    head = _head(text)
    if head.split(" ")[-1] in KINDS_OF and " of " in text:
        head = _head(_ARTICLE.sub("", text.split(" of ", 1)[1]))
    found = head.split(" ")
    for start in range(max(0, len(found) - _MOST_WORDS), len(found)):
        rest = " ".join(found[start:])
        yield singular(rest), DESCRIBED - 0.1 * (start + 1 - max(0, len(found) - _MOST_WORDS))


def _head(text: str) -> str:
    return _HEAD_ENDS.split(text, maxsplit=1)[0].strip() or text


def singular(phrase: str) -> str:
    """Return an English phrase with its last word in the likely singular; other phrases as they are."""
    if phrase.endswith("ies") and len(phrase) > 4:
        return phrase[:-3] + "y"
    if phrase.endswith(("ches", "shes", "sses", "xes")):
        return phrase[:-2]
    return phrase[:-1] if phrase.endswith("s") and not phrase.endswith(("ss", "us", "is")) and len(phrase) > 3 else phrase


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "little")


_NOTHING = np.uint64(_key(""))
