"""Leiden under CPM: closed forms, leidenalg as second implementation, and two phases against one global run."""

import random

import igraph
import networkx
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.planted import planted
from graph.forest import components
from graph.leiden import cpm, cpm_dense, quality, seed_of
from graph.sparse import divide

Rows = NDArray[np.int64]


def clique(members: range) -> list[tuple[int, int]]:
    return [(a, b) for a in members for b in members if a < b]


def solve(edges: list[tuple[int, int]], count: int, weight: float, **options: object) -> list[int]:
    a, b = np.array(edges, np.int64).T
    return cpm(count, a, b, np.full(len(edges), weight), resolution=0.5, seed=0, **options).tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["igraph", "leidenalg"])
def test_two_cliques_and_a_bridge(method: str) -> None:
    edges = sorted([*clique(range(6)), (5, 6), *clique(range(6, 11))])
    assert solve(edges, 11, 0.9, method=method) == [0] * 6 + [1] * 5


def test_a_clique_above_the_resolution_is_one_and_below_it_is_none() -> None:
    assert solve(clique(range(20)), 20, 0.51) == [0] * 20
    assert len(set(solve(clique(range(20)), 20, 0.49))) == 20


def test_a_dense_component_is_split_where_the_mean_cosine_falls_below_the_resolution() -> None:
    similarity = np.full((10, 10), 0.4)
    similarity[:6, :6] = similarity[6:, 6:] = 0.85
    assert cpm_dense(similarity, resolution=0.7, seed=1).tolist() == [0] * 6 + [1] * 4
    assert cpm_dense(similarity, resolution=0.3, seed=1).tolist() == [0] * 10


@pytest.fixture(scope="module")
def graph() -> tuple[int, Rows, Rows, NDArray[np.float64]]:
    """All pairs of at least .6 of planted vectors."""
    rows = planted(4000, seed=11).vectors()
    similarity = rows @ rows.T
    a, b = np.nonzero(np.triu(similarity >= 0.6, 1))
    return len(rows), a.astype(np.int64), b.astype(np.int64), similarity[a, b].astype(np.float64)


def test_two_phases_are_as_good_as_one_global_run(graph: tuple[int, Rows, Rows, NDArray[np.float64]]) -> None:
    count, a, b, weight = graph
    ids = np.char.mod("%06d", np.arange(count))
    component = components(count, a, b)
    ours = divide(component=component, ids=ids, a=a, b=b, weight=weight, resolution=0.4)
    random.seed(0)
    whole = igraph.Graph(n=count, edges=np.stack([a, b], 1))
    theirs = np.array(whole.community_leiden("CPM", weights=weight.tolist(), resolution=0.4, n_iterations=4).membership)
    _, label = np.unique(ours, return_inverse=True)
    found, reference = (quality(labels, a, b, weight, resolution=0.4) for labels in (label, theirs))
    assert found >= reference * 0.995  # two runs of one heuristic
    for community in np.unique(label):  # no community spans components
        assert len(np.unique(component[label == community])) == 1


def test_leidenalg_agrees_on_the_quality(graph: tuple[int, Rows, Rows, NDArray[np.float64]]) -> None:
    count, a, b, weight = graph
    keep = weight >= 0.7
    a, b, weight = a[keep], b[keep], weight[keep]
    ids, component = np.char.mod("%06d", np.arange(count)), components(count, a, b)
    found = []
    for method in ("igraph", "leidenalg"):
        label = divide(component=component, ids=ids, a=a, b=b, weight=weight, resolution=0.7, method=method)  # type: ignore[arg-type]
        found.append(quality(np.unique(label, return_inverse=True)[1], a, b, weight, resolution=0.7))
    assert found[0] == pytest.approx(found[1], rel=0.005)


def test_communities_of_one_component_are_connected(graph: tuple[int, Rows, Rows, NDArray[np.float64]]) -> None:
    count, a, b, weight = graph
    ids = np.char.mod("%06d", np.arange(count))
    label = divide(component=components(count, a, b), ids=ids, a=a, b=b, weight=weight, resolution=0.5)
    network = networkx.Graph(zip(a.tolist(), b.tolist(), strict=True))
    for name in np.unique(label):
        members = np.flatnonzero(label == name).tolist()
        assert len(members) == 1 or networkx.is_connected(network.subgraph(members))


def test_labels_follow_the_images_when_members_are_permuted(graph: tuple[int, Rows, Rows, NDArray[np.float64]]) -> None:
    count, a, b, weight = graph
    ids = np.char.mod("%06d", np.random.default_rng(3).permutation(count))
    order = np.random.default_rng(4).permutation(count)
    place = np.argsort(order)
    before = divide(component=components(count, a, b), ids=ids, a=a, b=b, weight=weight, resolution=0.4)
    a2, b2 = place[a], place[b]
    after = divide(
        component=components(count, a2, b2), ids=ids[order], a=b2[::-1], b=a2[::-1], weight=weight[::-1], resolution=0.4
    )
    first = np.full(count, count)
    np.minimum.at(first, before[order], np.arange(count))
    assert np.array_equal(first[before[order]], after)


def test_the_seed_depends_on_the_name_alone() -> None:
    assert seed_of("a") == seed_of("a") != seed_of("b")
    assert 0 <= seed_of("x") < 2**31
