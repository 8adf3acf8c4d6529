"""Communities of copies: connected components over verified edges, then Leiden under CPM inside each.

Components alone percolate: one wrong edge joins two groups for good. CPM (the constant Potts model) splits a component where
members are too thinly joined; its optimum never spans components, so each is solved by itself, and its resolution is a density
of edges that does not depend on the size of the corpus. Modularity has a resolution limit and would give the components back.
Inside a component images are numbered by sorted id and the seed comes from the smallest id: rows may be permuted, parts cut
anywhere and components solved by any worker without changing a label.

Traag, Waltman & van Eck 2019, https://doi.org/10.1038/s41598-019-41695-z
Traag, Van Dooren & Nesterov 2011 (CPM), https://doi.org/10.1103/PhysRevE.84.016114
"""

import hashlib
import random
from typing import Literal

import igraph
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curation import schema

Method = Literal["igraph", "leidenalg", "components"]
Rows = NDArray[np.int64]
Weights = NDArray[np.float64]

GRID = 1024
"""Weights are rounded to 1 / GRID, so that the last bits of a matrix product on another machine change no community."""


def communities(
    *, ids: list[str], verdicts: pa.Table, resolution: float = 0.3, method: Method = "igraph", iterations: int = 4
) -> pa.Table:
    """Return COMMUNITIES, one row per image; an image without a copy is its own component and community.

    ids: of all images, by global row. verdicts: VERDICTS; only copies are edges, weighted by confidence. Rows of equal id are
    joined with or without a verdict. resolution: CPM gamma: two groups merge only if the mean weight over all pairs between
    them (pairs without an edge count 0) exceeds it. method: igraph is its Leiden; leidenalg the reference implementation, an
    order of magnitude dearer; components skips Leiden.
    Raises ValueError when resolution is outside (0, 1].
    """
    if not 0 < resolution <= 1:
        raise ValueError(f"resolution = {resolution} must be in (0, 1]: it is compared with confidences")
    row_a, row_b, weight = _copy_edges(ids, verdicts)
    count = len(ids)
    graph = coo_array((np.ones(len(row_a), np.int8), (row_a, row_b)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    component = _smallest_row(labels.astype(np.int64))
    community = component.copy()
    if method != "components":
        for members, edges in _components(component, row_a):
            part = _partition(members, row_a[edges], row_b[edges], weight[edges], ids, resolution, method, iterations)
            community[members] = _smallest_row(part, members)
    size = np.bincount(community, minlength=count)[community] if count else community
    table = pa.table({"id": ids, "component": component, "community": community, "size": size.astype(np.int32)})
    return schema.conform(table, schema.COMMUNITIES)


def _copy_edges(ids: list[str], verdicts: pa.Table) -> tuple[Rows, Rows, Weights]:
    copies = verdicts.filter(pa.compute.equal(verdicts["relation"], "copy"))
    weight = np.rint(copies["confidence"].to_numpy().astype(np.float64) * GRID) / GRID
    rows = np.arange(len(ids), dtype=np.int64)
    _, first, place = np.unique(np.array(ids, str), return_index=True, return_inverse=True)
    same = np.flatnonzero(first[place] != rows) if len(ids) else rows
    row_a = np.concatenate([copies["row_a"].to_numpy(), first[place][same]]).astype(np.int64)
    row_b = np.concatenate([copies["row_b"].to_numpy(), same]).astype(np.int64)
    return row_a, row_b, np.concatenate([weight, np.ones(len(same))])


def _smallest_row(labels: Rows, rows: Rows | None = None) -> Rows:
    """Return each label replaced by the smallest of the rows that bear it."""
    numbers = np.arange(len(labels), dtype=np.int64) if rows is None else rows
    _, place = np.unique(labels, return_inverse=True)
    smallest = np.full(int(place.max()) + 1 if len(labels) else 0, np.iinfo(np.int64).max, np.int64)
    np.minimum.at(smallest, place, numbers)
    return smallest[place]


def _components(component: Rows, row_a: Rows) -> list[tuple[Rows, Rows]]:
    """Return (members, edge numbers) of every component of more than two images."""
    order = np.argsort(component, kind="stable")
    edge_order = np.argsort(component[row_a], kind="stable")
    names, start, size = np.unique(component[order], return_index=True, return_counts=True)
    edge_start = np.searchsorted(component[row_a][edge_order], names, "left")
    edge_end = np.searchsorted(component[row_a][edge_order], names, "right")
    return [(order[start[i] : start[i] + size[i]], edge_order[edge_start[i] : edge_end[i]]) for i in np.flatnonzero(size > 2)]


def _partition(
    members: Rows, row_a: Rows, row_b: Rows, weight: Weights, ids: list[str], resolution: float, method: Method, iterations: int
) -> Rows:
    """Return the label of every member."""
    names = [ids[row] for row in members]
    by_id = members[np.lexsort((members, names))]
    number = np.empty(len(members), np.int64)
    number[np.searchsorted(members, by_id)] = np.arange(len(members))
    a, b = number[np.searchsorted(members, row_a)], number[np.searchsorted(members, row_b)]
    low, high, weight = _simple(np.minimum(a, b), np.maximum(a, b), weight)
    pairs = len(members) * (len(members) - 1) // 2
    if len(low) == pairs and weight.min() > resolution:
        return np.zeros(len(members), np.int64)  # a clique above the resolution is one community under CPM
    seed = int(hashlib.sha256(min(names).encode()).hexdigest()[:8], 16)
    edges = list(zip(low.tolist(), high.tolist(), strict=True))
    graph = igraph.Graph(len(members), edges, edge_attrs={"weight": weight.tolist()})
    solve = _leidenalg if method == "leidenalg" else _leiden
    return np.array(solve(graph, resolution, seed, iterations), np.int64)[number]


def _simple(low: Rows, high: Rows, weight: Weights) -> tuple[Rows, Rows, Weights]:
    order = np.lexsort((-weight, high, low))
    low, high, weight = low[order], high[order], weight[order]
    first = np.ones(len(low), bool)
    first[1:] = (np.diff(low) != 0) | (np.diff(high) != 0)
    return low[first], high[first], weight[first]


def _leiden(graph: igraph.Graph, resolution: float, seed: int, iterations: int) -> list[int]:
    random.seed(seed)  # igraph draws from Python's global generator (igraph/python-igraph#846)
    found = graph.community_leiden("CPM", weights="weight", resolution=resolution, n_iterations=iterations)
    return list(found.membership)


def _leidenalg(graph: igraph.Graph, resolution: float, seed: int, iterations: int) -> list[int]:
    import leidenalg

    found = leidenalg.find_partition(
        graph,
        leidenalg.CPMVertexPartition,
        weights="weight",
        resolution_parameter=resolution,
        seed=seed % 2**31,
        n_iterations=iterations,
    )
    return list(found.membership)
