"""Components by forests and union-find are the components of the graph, in any order and on disk."""

from pathlib import Path

import networkx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.forest import components, forest, roots, singletons, unite

GRAPHS = st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60)


def arrays(edges: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array(edges, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def oracle(count: int, edges: list[tuple[int, int]]) -> np.ndarray:
    graph = networkx.Graph(edges)
    graph.add_nodes_from(range(count))
    label = np.empty(count, np.int64)
    for members in networkx.connected_components(graph):
        label[list(members)] = min(members)
    return label


@settings(max_examples=60, deadline=None)
@given(GRAPHS)
def test_components_are_those_of_networkx(edges: list[tuple[int, int]]) -> None:
    assert np.array_equal(components(40, *arrays(edges)), oracle(40, edges))


@settings(max_examples=60, deadline=None)
@given(GRAPHS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_forests_of_parts_in_any_order_give_the_same_components(edges: list[tuple[int, int]], parts: int, random: object) -> None:
    shuffled = sorted(edges, key=lambda _: random.random())  # type: ignore[attr-defined]
    parent = singletons(40)
    for part in range(parts):
        unite(parent, *forest(*arrays(shuffled[part::parts])))
    assert np.array_equal(roots(parent, np.arange(40)), oracle(40, edges))


@settings(max_examples=60, deadline=None)
@given(GRAPHS)
def test_a_forest_has_fewer_links_than_nodes(edges: list[tuple[int, int]]) -> None:
    rows, root = forest(*arrays(edges))
    assert (root < rows).all() and (np.diff(rows) > 0).all()
    assert len(rows) < max(1, len({node for edge in edges for node in edge}))


def test_the_union_find_works_on_disk(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    a, b = random.integers(0, 1 << 21, (2, 500_000))
    parent = singletons(1 << 21, tmp_path / "parent.npy")
    for part in range(5):
        unite(parent, *forest(a[part::5], b[part::5]))
    assert isinstance(parent, np.memmap)
    assert np.array_equal(roots(parent, np.arange(1 << 21)), components(1 << 21, a, b))
