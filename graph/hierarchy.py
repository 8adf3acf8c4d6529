"""Semantic levels: what the collection shows, in communities from coarse to fine, for balancing and for finding gaps.

Enters: NEIGHBOURS, whatever the similarity. Leaves: HIERARCHY. Unlike copies, topics have no threshold, so this is Leiden on the
whole k-NN graph under modularity, whose resolution parameter sets the grain: the finest level first, then its communities as
the nodes of the next, so the levels are nested. A collection too large for that has one node per list of vectors
(`ListGraph`). Equal images hang together: a copy has the levels of its representative. Z-Image (arXiv 2511.22699, section 2.1)
balances by the levels of such a hierarchy.

Traag, Waltman & van Eck 2019, https://doi.org/10.1038/s41598-019-41695-z; resolution: Reichardt & Bornholdt 2006,
https://doi.org/10.1103/PhysRevE.74.016110
"""

import random
from collections.abc import Sequence

import igraph
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema

Rows = NDArray[np.int64]
Weights = NDArray[np.float64]

LEVELS = 3
HELD_PAIRS = 1 << 22
"""Pairs of lists that wait to be counted together."""
MOST_LINKS = 64
"""Other lists that a list is linked to at most, the nearest: a list of some thousand images touches hundreds."""
HELD_LINKS = 4 * MOST_LINKS
"""The same while the graph is gathered."""
GRID = 1024
"""Weights are rounded to 1 / GRID, as in graph/leiden.py."""


def hierarchy(
    *, neighbours: pa.Table, representative: Rows | None = None, resolutions: Sequence[float] = (1.0, 4.0, 16.0), seed: int = 0
) -> pa.Table:
    """Return HIERARCHY, row-aligned with `neighbours`; every level names a community by its smallest row.

    neighbours: NEIGHBOURS; lists that are empty leave an image alone, unless its representative has one. representative:
    EXACT.representative. resolutions: of level_0, the coarsest, to level_2, the finest; increasing. Nodes are numbered by id,
    so a permutation of the rows permutes the table.
    Raises ValueError when `resolutions` are not three increasing positive numbers.
    """
    if len(resolutions) != LEVELS or min(resolutions) <= 0 or sorted(set(resolutions)) != list(resolutions):
        raise ValueError(f"resolutions = {list(resolutions)} must be {LEVELS} increasing positive numbers, coarsest first")
    ids = np.array(neighbours["id"].to_pylist(), np.str_)
    rows = np.arange(len(ids), dtype=np.int64)
    order = np.lexsort((rows, ids))
    number = np.empty(len(ids), np.int64)
    number[order] = rows
    a, b, weight = _edges(neighbours)
    a, b, weight = _merged(number[a], number[b], weight)
    levels = [
        node[number] if representative is None else node[number][representative]
        for node in _levels(len(rows), a, b, weight, resolutions, seed)
    ]
    names = {f"level_{i}": _smallest(level) for i, level in enumerate(levels)}
    return schema.conform(pa.table({"id": neighbours["id"], **names}), schema.HIERARCHY)


class ListGraph:
    """The k-NN graph of a large collection with one node per list of its quantiser, gathered part by part.

    What is held are pairs of lists, not of images: their number depends on the lists alone.
    """

    def __init__(self, home: NDArray[np.int32], num_lists: int) -> None:
        """home: (N,) the list of every image, -1 for none; it may lie on disk."""
        self._home, self._num_lists = home, num_lists
        none = np.empty(0, np.int64)
        self._found: list[tuple[Rows, Rows, Weights]] = [(none, none, np.empty(0))]

    def add(self, neighbours: pa.Table, *, first_row: int) -> None:
        """Count the NEIGHBOURS of the images from `first_row` on."""
        row, other, weight = _edges(neighbours)
        a, b = (self._home[at].astype(np.int64) for at in (row + first_row, other))
        use = (a >= 0) & (b >= 0)
        self._found.append(_merged(a[use], b[use], weight[use]))
        if sum(len(weight) for *_, weight in self._found[1:]) > max(HELD_PAIRS, len(self._found[0][0])):
            a, b, weight = self._total()
            few = _heaviest(a, b, weight, self._num_lists, most=HELD_LINKS)
            self._found = [(a[few], b[few], weight[few])]

    def levels(self, *, resolutions: Sequence[float], seed: int = 0) -> list[Rows]:
        """Return the community of every list at every level, coarsest first, named by its first list."""
        a, b, weight = self._total()
        few = _heaviest(a, b, weight, self._num_lists)
        found = _levels(self._num_lists, a[few], b[few], weight[few], resolutions, seed)
        return [_smallest(level) for level in found]

    def _total(self) -> tuple[Rows, Rows, Weights]:
        a, b, weight = (np.concatenate(column) for column in zip(*self._found, strict=True))
        return _merged(a, b, weight)


def _heaviest(a: Rows, b: Rows, weight: Weights, count: int, *, most: int = MOST_LINKS) -> NDArray[np.bool_]:
    """Return which pairs are loops, or among the `most` heaviest of either end."""
    keep = a == b
    for end in (a, b):
        order = np.lexsort((-weight, end))
        rank = np.arange(len(order)) - np.searchsorted(end[order], np.arange(count))[end[order]]
        keep[order[rank < most]] = True
    return np.asarray(keep)


def _levels(count: int, a: Rows, b: Rows, weight: Weights, resolutions: Sequence[float], seed: int) -> list[Rows]:
    """Return the community of every node at every level, coarsest first."""
    node = np.arange(count, dtype=np.int64)
    levels: list[Rows] = []
    for resolution in reversed(resolutions):
        label = _modularity(int(node.max(initial=-1)) + 1, a, b, weight, resolution, seed)
        node = label[node]
        a, b, weight = _merged(label[a], label[b], weight)
        levels.append(node)
    return levels[::-1]


def _edges(neighbours: pa.Table) -> tuple[Rows, Rows, Weights]:
    """Return the pairs of NEIGHBOURS in both roles, weighted by cosine; what points away counts as hardly similar."""
    lists = neighbours["rows"].combine_chunks()
    cosine = neighbours["similarities"].combine_chunks().flatten().to_numpy().astype(np.float64)
    row_a = np.repeat(np.arange(len(lists), dtype=np.int64), np.diff(lists.offsets.to_numpy()))
    return row_a, lists.flatten().to_numpy(), np.maximum(np.rint(cosine * GRID), 1) / GRID


def _merged(a: Rows, b: Rows, weight: Weights) -> tuple[Rows, Rows, Weights]:
    """Return every pair once, a <= b and sorted, with the sum of its weights; loops are the weight inside a community."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    key = low * (int(high.max(initial=0)) + 1) + high
    pairs, place = np.unique(key, return_inverse=True)
    base = int(high.max(initial=0)) + 1
    return pairs // base, pairs % base, np.asarray(np.bincount(place, weight, minlength=len(pairs)), np.float64)


def _modularity(count: int, a: Rows, b: Rows, weight: Weights, resolution: float, seed: int) -> Rows:
    if not len(a):
        return np.arange(count, dtype=np.int64)
    graph = igraph.Graph(n=count, edges=np.stack([a, b], 1))
    random.seed(seed)  # igraph draws from Python's global generator (igraph/python-igraph#846)
    found = graph.community_leiden("modularity", weights=weight.tolist(), resolution=resolution, n_iterations=4)
    return np.array(found.membership, np.int64)


def _smallest(level: Rows) -> Rows:
    """Return every label replaced by the smallest row that bears it."""
    _, first, place = np.unique(level, return_index=True, return_inverse=True)
    return np.asarray(first[place], np.int64)
