"""Candidate parents, of which some form cycles, to one forest of bounded depth.

Wikipedia's categories lead in circles, and a thing has several parents. Cycles are cut at their most important node: where a
strongly connected component has no parent outside, that node becomes a root. Breadth-first search from the roots gives every
node a depth; nodes ordered by depth, then importance, then number cannot form a cycle as long as every parent comes before its
child. Of the candidates that do, the strongest is taken, then the deepest, since it says most. What lies below `max_depth` is
hung up at that depth under its own ancestor. Nothing depends on the order of the candidates.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

NONE = -1
"""The parent of a root."""


def forest(*, child: Rows, parent: Rows, strength: Floats, importance: Floats, max_depth: int) -> tuple[Rows, Rows]:
    """Return the parent of every node, -1 for a root, and its distance from the root; both (nodes,).

    child, parent: candidates, any number per child; a node that would be its own parent is ignored. strength: the higher the
    better, (candidates,). importance: (nodes,), e.g. PageRank. max_depth: largest distance from a root, 0 gives roots alone.
    """
    num = len(importance)
    child, parent, strength = _distinct(child, parent, strength, num)
    depth = _depths(child, parent, importance)
    position = np.empty(num, np.int64)
    position[np.lexsort((np.arange(num), -importance, depth))] = np.arange(num)
    before = (position[parent] < position[child]) & (depth[child] > 0)
    child, parent, strength = child[before], parent[before], strength[before]
    order = np.lexsort((position[parent], -importance[parent], -depth[parent], -strength, child))
    first = order[np.unique(child[order], return_index=True)[1]]
    chosen = np.full(num, NONE, np.int64)
    chosen[child[first]] = parent[first]
    return _hung_up(chosen, max_depth)


def _distinct(child: Rows, parent: Rows, strength: Floats, num: int) -> tuple[Rows, Rows, Floats]:
    """Return every pair once, with its greatest strength, without nodes that are their own parents."""
    apart = child != parent
    child, parent, strength = child[apart], parent[apart], strength[apart]
    order = np.lexsort((-strength, parent, child))
    first = np.unique(child[order] * num + parent[order], return_index=True)[1]
    kept = order[first]
    return child[kept], parent[kept], strength[kept]


def _depths(child: Rows, parent: Rows, importance: Floats) -> Rows:
    """Return the least number of steps from a root to every node."""
    num = len(importance)
    children = csr_array((np.ones(len(child), np.int8), (parent, child)), shape=(num, num))
    depth = np.full(num, NONE, np.int64)
    frontier = _roots(child, parent, importance, children)
    step = 0
    while len(frontier):
        depth[frontier] = step
        step += 1
        below = np.unique(_neighbours(children, frontier))
        frontier = below[depth[below] == NONE]
    return depth


def _roots(child: Rows, parent: Rows, importance: Floats, children: csr_array) -> Rows:
    """Return the most important node of every strongly connected component that has no parent outside."""
    if not len(importance):
        return np.empty(0, np.int64)
    _, component = connected_components(children, directed=True, connection="strong")
    crossing = component[child] != component[parent]
    order = np.lexsort((np.arange(len(importance)), -importance, component))
    first = order[np.unique(component[order], return_index=True)[1]]  # by component
    return cast(Rows, np.sort(np.delete(first, np.unique(component[child[crossing]]))))


def _neighbours(children: csr_array, nodes: Rows) -> Rows:
    starts, ends = children.indptr[nodes].astype(np.int64), children.indptr[nodes + 1].astype(np.int64)
    counts = ends - starts
    at = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
    return np.asarray(children.indices[at], np.int64)


def _hung_up(parent: Rows, max_depth: int) -> tuple[Rows, Rows]:
    """Return the parents with what lies too deep under its ancestor above `max_depth`, and the depths."""
    depth = levels(parent)
    if not max_depth:
        return np.full_like(parent, NONE), np.zeros_like(depth)
    parent = parent.copy()
    while len(deep := np.flatnonzero((parent != NONE) & (depth[parent] >= max_depth))):
        parent[deep] = parent[parent[deep]]
    return parent, np.minimum(depth, max_depth)


def levels(parent: Rows) -> Rows:
    """Return the distance of every node from its root; raises ValueError when the parents form a cycle."""
    depth, ancestor = np.zeros(len(parent), np.int64), parent.copy()
    for _ in range(len(parent) + 1):
        below = ancestor != NONE
        if not below.any():
            return depth
        depth[below] += 1
        ancestor[below] = parent[ancestor[below]]
    raise ValueError("the parents form a cycle")
