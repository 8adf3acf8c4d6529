import networkx
import numpy as np
import pyarrow as pa
import pytest

from curation.schema import CONCEPTS, ENTITIES, LINKS
from graph.concepts import Pruning, concepts

EMPTY = dict.fromkeys(ENTITIES.names) | {"kind": "article", "links_in": 0}
THING = {"image": "x.jpg"}
ROWS = [
    {"title": "Animal", "categories": ["Animals"]} | THING,
    {"title": "Dog", "categories": ["Animals", "Pets"], "description": "domesticated animal"} | THING,
    {"title": "Dog breed", "categories": ["Dogs"]} | THING,
    {"title": "Poodle", "categories": ["Dog breeds from France"], "description": "breed of dog"} | THING,
    {"title": "Corgi", "description": "small breed of dog"} | THING,
    {"title": "Pet", "categories": ["Dogs"]} | THING,  # as Dog lies in Pets: a cycle
    {"title": "Justice", "categories": ["Concepts in ethics"]},
    {"title": "1984", "kind": "date"} | THING,
    {"title": "Quince", "categories": ["Fruits"]} | THING,
]
EDGES = [(1, 0, 4), (2, 1, 9), (3, 2, 1), (3, 1, 2), (4, 1, 1), (5, 1, 3), (0, 1, 1), (6, 7, 1), (1, 5, 1), (4, 0, 1)]


def tables(rows=ROWS, edges=EDGES, parts=1):
    made = pa.Table.from_pylist([EMPTY | row for row in rows], schema=ENTITIES)
    cut = max(1, -(-len(rows) // parts))
    read = [made.slice(start, cut) for start in range(0, len(rows), cut)]
    links = [pa.Table.from_pylist([dict(zip(("source", "target", "count"), edge, strict=True)) for edge in edges], schema=LINKS)]
    return {"entities": lambda names: [part.select(names) if names else part for part in read], "links": lambda: links}


def table(**arguments):
    return pa.concat_tables([CONCEPTS.empty_table(), *concepts(**arguments)])


def parents(found, rows=ROWS):
    titles = [row["title"] for row in rows]
    return {titles[i]: None if p is None else titles[p] for i, p in enumerate(found["parent"].to_pylist())}


def test_entities_are_ranked_pruned_and_hung_under_what_they_are():
    found = table(**tables(), pruning=Pruning(min_quantile=0.0))
    assert found.schema.equals(CONCEPTS, check_metadata=True)
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(len(ROWS)))
    graph.add_weighted_edges_from(EDGES)
    truth = networkx.pagerank(graph, tol=1e-12, max_iter=1000)
    assert np.abs(found["pagerank"].to_numpy() - [truth[i] for i in range(len(ROWS))]).sum() < 1e-6
    assert [row["title"] for row, keep in zip(ROWS, found["keep"].to_pylist(), strict=True) if not keep] == ["Justice", "1984"]
    assert parents(found) == {
        "Animal": None, "Dog": "Animal", "Dog breed": "Dog", "Poodle": "Dog breed", "Corgi": "Dog", "Pet": "Dog",
        "Justice": None, "1984": None, "Quince": None,
    }  # fmt: skip
    assert found["level"].to_pylist() == [0, 1, 2, 3, 2, 2, 0, 0, 0]


def test_parts_of_the_tables_change_nothing():
    assert table(**tables(parts=4)).equals(table(**tables()))


def test_those_below_the_quantile_go_and_say_so():
    found = table(**tables(), pruning=Pruning(min_quantile=0.7))
    gone = [row for row in found.to_pylist() if not row["keep"] and row["entity"] not in (6, 7)]
    kept = [row for row in found.to_pylist() if row["keep"]]
    assert gone and all(row["reason"].startswith("PageRank ") and row["parent"] is None for row in gone)
    assert max(row["pagerank"] for row in gone) < min(row["pagerank"] for row in kept)


def test_entities_of_equal_rank_all_stay():
    rows = [{"title": str(i)} | THING for i in range(20)]
    assert table(**tables(rows, []), pruning=Pruning(min_quantile=0.9))["keep"].to_pylist() == [True] * 20


def test_a_graph_without_any_text_hangs_by_its_links():
    rows = [{"title": title} | THING for title in ("hub", "rare", "leaf", "other")]
    edges = [(2, 0, 1), (2, 1, 1), (3, 0, 1), (1, 0, 1), (0, 1, 1)]
    found = table(**tables(rows, edges), pruning=Pruning(min_quantile=0.0))
    assert parents(found, rows)["leaf"] in ("hub", "rare")
    assert parents(found, rows)["other"] == "hub"


@pytest.mark.parametrize("rows", [[], [{"title": "alone"} | THING], [{"title": ""}], [{"title": "x", "kind": "list"}]])
def test_next_to_nothing_gives_a_table_all_the_same(rows):
    found = table(**tables(rows, []))
    assert found.num_rows == len(rows)
    assert found["level"].to_pylist() == [0] * len(rows)


def test_a_link_to_nowhere_is_refused():
    with pytest.raises(ValueError, match="there are 1 nodes"):
        table(**tables([{"title": "alone"}], [(0, 1, 1)]))
