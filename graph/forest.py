"""Connected components of more edges than memory holds: a forest for every part of them, then one union-find over the forests.

A part of edges, however large, says no more about connection than fewer links than it has nodes: every row with the smallest
row it is joined to. Parts are reduced by themselves, anywhere; the union-find streams their links into one int64 array of
parents, in memory or mapped from disk. A root is always the smallest row of its tree, so components bear the same names in
whatever order parts and links arrive.

Tarjan 1975, https://doi.org/10.1145/321879.321884 (union-find)
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Rows = NDArray[np.int64]


def forest(row_a: Rows, row_b: Rows) -> tuple[Rows, Rows]:
    """Return (rows, roots): every row that the edges join to a smaller one, sorted, with the smallest row it is joined to."""
    nodes, place = np.unique(np.concatenate([row_a, row_b]), return_inverse=True)
    smallest = nodes[_smallest(place[: len(row_a)], place[len(row_a) :], len(nodes))]
    above = smallest != nodes
    return nodes[above].astype(np.int64), smallest[above].astype(np.int64)


def singletons(count: int, path: Path | None = None) -> Rows:
    """Return parents (count,) of rows that nothing joins yet; mapped from a new file at `path` when one is given."""
    if path is None:
        return np.arange(count, dtype=np.int64)
    parent: Rows = np.memmap(path, np.int64, "w+", shape=(count,))
    for begin in range(0, count, 1 << 20):
        parent[begin : begin + (1 << 20)] = np.arange(begin, min(begin + (1 << 20), count))
    return parent


def roots(parent: Rows, rows: Rows) -> Rows:
    """Return the smallest row of the component of each of `rows`; their paths are shortened in place."""
    root = parent[rows]
    while True:
        above = parent[root]
        if np.array_equal(above, root):
            break
        root = above
    parent[rows] = root
    return np.asarray(root)


def unite(parent: Rows, row_a: Rows, row_b: Rows) -> None:
    """Join each of row_a with its row_b in the union-find `parent`, in place."""
    root_a, root_b = roots(parent, row_a), roots(parent, row_b)
    apart = root_a != root_b
    nodes, place = np.unique(np.concatenate([root_a[apart], root_b[apart]]), return_inverse=True)
    middle = int(apart.sum())
    parent[nodes] = nodes[_smallest(place[:middle], place[middle:], len(nodes))]


def components(count: int, row_a: Rows, row_b: Rows) -> Rows:
    """Return the smallest row of the component of every row, (count,)."""
    parent = singletons(count)
    unite(parent, row_a, row_b)
    return roots(parent, np.arange(count, dtype=np.int64))


def _smallest(a: Rows, b: Rows, count: int) -> Rows:
    """Return the smallest node that each of `count` nodes is joined to."""
    _, label = connected_components(coo_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count)), directed=False)
    first = np.full(int(label.max(initial=-1)) + 1, count, np.int64)
    np.minimum.at(first, label, np.arange(count))
    return np.asarray(first[label])
