"""Communities against closed forms, second implementations and permutations."""

import networkx
import numpy as np
import pyarrow as pa
import pytest

from curation import schema
from graph.communities import communities, sized, verified_partitions
from graph.exact import exact
from graph.export import neighbourhood, verdict_graph, write_graphml

Pair = tuple[int, int, float]


def verdicts(pairs: list[Pair], relation: str = "copy") -> pa.Table:
    table = pa.table(
        {
            "row_a": pa.array([min(a, b) for a, b, _ in pairs], pa.int64()),
            "row_b": pa.array([max(a, b) for a, b, _ in pairs], pa.int64()),
            "similarity": pa.array([w for *_, w in pairs], pa.float32()),
            "relation": pa.array([relation] * len(pairs), pa.string()),
            "confidence": pa.array([w for *_, w in pairs], pa.float32()),
            "evidence": pa.array(["{}"] * len(pairs), pa.string()),
        }
    )
    return schema.conform(table, schema.VERDICTS)


def grouped(ids: list[str], found: pa.Table, **options: object) -> pa.Table:
    images = pa.table({"id": pa.array(ids, pa.string()), "error": pa.nulls(len(ids), pa.string())})
    metrics = pa.table({"pixel_hash": pa.nulls(len(ids), pa.string())})
    same = exact(images=images, metrics=metrics)
    partitions = verified_partitions(ids=np.array(ids, np.str_), exact=same, verdicts=found, **options)
    return communities(ids=images["id"], partitions=sized(partitions))


def clique(members: range, weight: float = 0.9) -> list[Pair]:
    return [(a, b, weight) for a in members for b in members if a < b]


def names(count: int) -> list[str]:
    return [f"{i * 7919 % 104729:032x}" for i in range(count)]


def planted(seed: int, count: int = 120) -> list[Pair]:
    """Return dense groups joined by thin bridges."""
    generator = np.random.default_rng(seed)
    group = generator.integers(0, 12, count)
    pairs = [
        (a, b, 0.9)
        for a in range(count)
        for b in range(a + 1, count)
        if generator.random() < (0.8 if group[a] == group[b] else 0.01)
    ]
    return pairs


def test_two_cliques_joined_by_a_bridge_are_two_communities_of_one_component():
    table = grouped(names(12), verdicts([*clique(range(6)), *clique(range(6, 11)), (5, 6, 0.9)]), resolution=0.5)
    assert table["component"].to_pylist() == [0] * 11 + [11]
    assert table["community"].to_pylist() == [0] * 6 + [6] * 5 + [11]
    assert table["size"].to_pylist() == [6] * 6 + [5] * 5 + [1]


def test_a_clique_above_the_resolution_is_one_community():
    table = grouped(names(40), verdicts(clique(range(40))), resolution=0.5)
    assert set(table["community"].to_pylist()) == {0}


def test_components_are_those_of_networkx():
    pairs = [pair for pair in planted(1) if pair[0] % 5]
    table = grouped(names(120), verdicts(pairs), method="components")
    graph = networkx.Graph()
    graph.add_nodes_from(range(120))
    graph.add_edges_from((a, b) for a, b, _ in pairs)
    expected = {row: min(part) for part in networkx.connected_components(graph) for row in part}
    assert table["component"].to_pylist() == [expected[row] for row in range(120)]
    assert table["community"].to_pylist() == table["component"].to_pylist()


def cpm_quality(labels: list[int], pairs: list[Pair], resolution: float) -> float:
    inside = sum(weight for a, b, weight in pairs if labels[a] == labels[b])
    sizes = np.bincount(labels)
    return inside - resolution * float((sizes * (sizes - 1) / 2).sum())  # Traag et al. 2011, eq. 4


def test_igraph_and_leidenalg_reach_the_same_quality():
    for seed in range(3):
        pairs = planted(seed)
        found = {
            method: grouped(names(120), verdicts(pairs), resolution=0.3, method=method)["community"].to_pylist()
            for method in ("igraph", "leidenalg")
        }
        ours, theirs = (cpm_quality(labels, pairs, 0.3) for labels in found.values())
        assert ours >= theirs * 0.99  # two heuristics for one objective


def test_every_community_is_connected_and_inside_one_component():
    pairs = planted(4)
    table = grouped(names(120), verdicts(pairs), resolution=0.3)
    graph = networkx.Graph()
    graph.add_edges_from((a, b) for a, b, _ in pairs)
    community, component = np.array(table["community"]), np.array(table["component"])
    for name in np.unique(community):
        members = np.flatnonzero(community == name)
        assert len(np.unique(component[members])) == 1
        assert len(members) == 1 or networkx.is_connected(graph.subgraph(members.tolist()))


def test_labels_follow_the_images_when_rows_are_permuted():
    pairs, ids = planted(2), names(120)
    order = np.random.default_rng(9).permutation(120)
    place = np.argsort(order)
    moved = [(int(place[a]), int(place[b]), weight) for a, b, weight in pairs]
    before = grouped(ids, verdicts(pairs))["community"].to_numpy()
    after = grouped([ids[row] for row in order], verdicts(moved[::-1]))["community"].to_numpy()
    same_before = before[order][:, None] == before[order]
    assert np.array_equal(same_before, after[:, None] == after)


def test_containment_joins_nothing_and_equal_ids_are_joined_without_a_verdict():
    ids = [*names(3), names(3)[1]]
    table = grouped(ids, verdicts([(0, 1, 0.9), (1, 2, 0.9)], relation="contains"))
    assert table["community"].to_pylist() == [0, 1, 2, 1]


def test_a_collection_without_copies_or_images_is_fine():
    assert grouped(names(3), verdicts([]))["community"].to_pylist() == [0, 1, 2]
    assert len(grouped([], verdicts([]))) == 0


def test_a_resolution_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"resolution = 1\.5"):
        grouped(names(2), verdicts([]), resolution=1.5)


def test_a_neighbourhood_is_written_as_graphml_that_networkx_reads_back(tmp_path):
    table = pa.concat_tables([verdicts([(0, 1, 0.9), (1, 2, 0.8), (3, 4, 0.7)]), verdicts([(2, 5, 0.6)], relation="contained")])
    graph = verdict_graph(verdicts=table, ids=names(6))
    near = neighbourhood(graph=graph, row=0, hops=3)
    assert sorted(near) == [0, 1, 2, 5]
    assert near.edges[5, 2]["relation"] == "contains"  # from the container to the piece
    write_graphml(graph=near, path=tmp_path / "group.graphml")
    assert networkx.read_graphml(tmp_path / "group.graphml").number_of_edges() == 3
