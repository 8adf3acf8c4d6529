import networkx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.schema import LINKS
from graph.pagerank import pagerank, transition


def links(edges, parts=1):
    rows = [{"source": s, "target": t, "count": c} for s, t, c in edges]
    cut = max(1, -(-len(rows) // parts))
    return [pa.Table.from_pylist(rows[i : i + cut], schema=LINKS) for i in range(0, len(rows), cut)]


def by_networkx(edges, nodes, **arguments):
    graph = networkx.MultiDiGraph()
    graph.add_nodes_from(range(nodes))
    graph.add_weighted_edges_from(edges)
    if not nodes:
        return np.zeros(0)
    found = networkx.pagerank(graph, tol=1e-13, max_iter=20_000, **arguments)
    return np.array([found[node] for node in range(nodes)])


GRAPHS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.integers(1, 5)), max_size=40),
        st.lists(st.floats(0, 10), min_size=n, max_size=n).filter(lambda v: sum(v) > 1e-3),
        st.sampled_from([0.0, 0.5, 0.85, 0.99]),
        st.integers(1, 4),
    )
)


@settings(max_examples=150, deadline=None)
@given(GRAPHS)
def test_equals_networkx_on_any_multigraph_with_loops_dangling_nodes_and_any_jump(case):
    nodes, edges, jump, damping, parts = case
    ours = pagerank(links(edges, parts), num_nodes=nodes, damping=damping, personalisation=np.array(jump), tolerance=1e-10)
    theirs = by_networkx(edges, nodes, alpha=damping, personalization=dict(enumerate(jump)))
    assert np.abs(ours - theirs).sum() < 1e-9  # the bound of 1e-10, and networkx's own rounding


def test_a_thousand_nodes_in_shuffled_parts_equal_networkx_within_the_stated_bound():
    random = np.random.default_rng(0)
    target = np.minimum(random.pareto(1.1, 9000) * 5, 999).astype(int)
    edges = list(zip(random.integers(0, 900, 9000).tolist(), target.tolist(), random.integers(1, 4, 9000).tolist(), strict=True))
    truth = by_networkx(edges, 1000)
    ours = pagerank(links(edges, 7), num_nodes=1000, tolerance=1e-6)
    assert np.abs(ours - truth).sum() < 1e-6
    assert abs(ours.sum() - 1) < 1e-12
    unweighted = pagerank(links(edges, 7), num_nodes=1000, weighted=False, tolerance=1e-9)
    assert np.abs(unweighted - by_networkx([(s, t, 1) for s, t, _ in edges], 1000)).sum() < 1e-8


def test_how_parts_are_joined_into_blocks_changes_nothing():
    random = np.random.default_rng(1)
    edges = [(int(s), int(t), int(c)) for s, t, c in random.integers(1, 50, (400, 3))]
    held = random.random(50)
    several, one = (
        transition(links(edges, 9), num_nodes=50, weighted=True, block_links=size).spread(held) for size in (60, 10_000)
    )
    assert np.abs(several - one).max() < 1e-14


def test_a_star_has_its_closed_form():
    leaves = 9  # every leaf links to node 0, which dangles: r0 = (1 - d) / n + d r0 / n + d (1 - r0)
    rank = pagerank(links([(leaf, 0, 1) for leaf in range(1, 10)]), num_nodes=10, tolerance=1e-12)
    d, n = 0.85, leaves + 1
    assert rank[0] == pytest.approx(((1 - d) / n + d) / (1 + d - d / n), abs=1e-11)


def test_graphs_without_nodes_or_links_are_what_the_jump_says():
    assert pagerank([], num_nodes=0).shape == (0,)
    assert pagerank([], num_nodes=4).tolist() == [0.25] * 4
    assert pagerank([LINKS.empty_table()], num_nodes=2, personalisation=np.array([1.0, 3.0])).tolist() == [0.25, 0.75]


def test_two_islands_share_by_the_jumps_that_reach_them():
    rank = pagerank(links([(0, 1, 1), (1, 0, 1), (2, 3, 1), (3, 2, 1)]), num_nodes=4, personalisation=np.array([3.0, 3, 1, 1]))
    assert rank[:2].sum() == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"damping": 1.0},
        {"damping": float("nan")},
        {"tolerance": 0.0},
        {"personalisation": np.array([1.0])},
        {"personalisation": np.array([np.nan, 1.0])},
        {"personalisation": np.array([-1.0, 2.0])},
        {"personalisation": np.zeros(2)},
        {"num_nodes": 1},
    ],
)
def test_what_is_out_of_range_is_refused(arguments):
    with pytest.raises(ValueError):
        pagerank(links([(0, 1, 1)]), **({"num_nodes": 2} | arguments))


def test_a_link_that_counts_nothing_is_refused():
    with pytest.raises(ValueError, match="count is 0"):
        pagerank(links([(0, 1, 0)]), num_nodes=2)
