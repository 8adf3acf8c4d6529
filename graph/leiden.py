"""Communities inside one component: Leiden under CPM, by igraph.

CPM (the constant Potts model) merges two groups when the mean weight over all pairs between them, absent edges counting 0,
exceeds the resolution. So the resolution is in units of the weight and means the same in a corpus of any size, and the optimum
never spans components: each is solved by itself. Modularity has a resolution limit and would give the components back.

Traag, Waltman & van Eck 2019, https://doi.org/10.1038/s41598-019-41695-z
Traag, Van Dooren & Nesterov 2011 (CPM), https://doi.org/10.1103/PhysRevE.84.016114
"""

import hashlib
import random
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import igraph

Rows = NDArray[np.int64]
Weights = NDArray[np.floating]
Method = Literal["igraph", "leidenalg", "components"]

GRID = 1024
"""Weights are rounded to 1 / GRID, so that the last bits of a matrix product on another machine change no community."""
FAINT = 0.05
"""Similarities up to here count as none in a dense component: random pairs, which no resolution of use would join."""


def cpm(
    count: int, a: Rows, b: Rows, weight: Weights, *, resolution: float, seed: int, method: Method = "igraph", iterations: int = 2
) -> Rows:
    """Return the community of each of `count` members of a component, numbered in order of first member.

    a, b, weight: every edge once, a < b. The members' order and the seed decide between partitions of equal quality: number
    them by sorted id, and take the seed from an id.
    """
    grid = np.rint(np.asarray(weight, np.float64) * GRID) / GRID
    whole = len(a) == count * (count - 1) // 2 and (not len(a) or grid.min() > resolution)
    if count < 2 or whole or method == "components":
        return np.zeros(count, np.int64)  # a clique above the resolution is one community under CPM
    import igraph  # it loads matplotlib: 30 MB and most of a second, for processes that only plan as well

    graph = igraph.Graph(n=count, edges=np.stack([a, b], 1))
    membership = (_leidenalg if method == "leidenalg" else _igraph)(graph, grid, resolution, seed, iterations)
    _, first, place = np.unique(membership, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[place], np.int64)


def cpm_dense(similarity: Weights, *, resolution: float, seed: int, method: Method = "igraph", iterations: int = 2) -> Rows:
    """Return the community of every member of a component whose similarities (m, m) are all known."""
    a, b = np.triu_indices(len(similarity), 1)
    weight = similarity[a, b]
    keep = weight > FAINT
    return cpm(
        len(similarity), a[keep], b[keep], weight[keep], resolution=resolution, seed=seed, method=method, iterations=iterations
    )


def seed_of(name: str) -> int:
    """Return the random seed of the component whose smallest id is `name`."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) >> 1


def quality(labels: Rows, a: Rows, b: Rows, weight: Weights, *, resolution: float) -> float:
    """Return CPM's objective: sum over communities of the weight inside less resolution times the number of pairs inside."""
    size = np.bincount(labels).astype(np.float64)
    return float(np.asarray(weight)[labels[a] == labels[b]].sum() - resolution * (size * (size - 1) / 2).sum())


def _igraph(graph: "igraph.Graph", weight: Weights, resolution: float, seed: int, iterations: int) -> list[int]:
    random.seed(seed)  # igraph draws from Python's global generator (igraph/python-igraph#846)
    found = graph.community_leiden("CPM", weights=weight.tolist(), resolution=resolution, n_iterations=iterations)
    return list(found.membership)


def _leidenalg(graph: "igraph.Graph", weight: Weights, resolution: float, seed: int, iterations: int) -> list[int]:
    import leidenalg

    kind = leidenalg.CPMVertexPartition
    found = leidenalg.find_partition(
        graph, kind, weights=weight.tolist(), resolution_parameter=resolution, seed=seed, n_iterations=iterations
    )
    return list(found.membership)
