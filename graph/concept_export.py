"""The concept graph of a knowledge base for other programs: kept entities, the links among them, and what each is a kind of.

As parquet it is two tables, written part by part at any size: nodes and edges. As a networkx graph, and so as GraphML, it holds
the entities of highest PageRank, because neither networkx nor what draws GraphML takes millions.
"""

from collections.abc import Iterable, Iterator

import networkx
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

NODES = pa.schema(
    [
        ("entity", pa.int64()),
        ("title", pa.string()),
        ("title_zh", pa.string()),
        ("pagerank", pa.float64()),
        ("visual", pa.float32()),
        ("judge", pa.string()),
        ("parent", pa.int64()),
        ("level", pa.int16()),
    ]
)
EDGES = pa.schema([("source", pa.int64()), ("target", pa.int64()), ("relation", pa.string()), ("count", pa.int32())])

Flags = NDArray[np.bool_]


def kept_nodes(parts: Iterable[tuple[pa.Table, pa.Table]]) -> Iterator[pa.Table]:
    """Yield NODES of the kept entities, from aligned parts of ENTITIES and CONCEPTS."""
    for entities, concepts in parts:
        joined = {name: entities[name] for name in ("title", "title_zh")}
        joined |= {name: concepts[name] for name in NODES.names if name not in joined}
        yield pa.table(joined).select(NODES.names).filter(concepts["keep"]).cast(NODES)


def edges_among(nodes: Iterable[pa.Table], links: Iterable[pa.Table], chosen: Flags) -> Iterator[pa.Table]:
    """Yield EDGES among the chosen entities (bool, by row of ENTITIES): `is_a` to the parent, then `links` with their counts."""
    for part in nodes:
        child, parent = part["entity"].to_numpy(), part["parent"].fill_null(-1).to_numpy()
        real = (parent >= 0) & chosen[child] & chosen[np.maximum(parent, 0)]
        yield _edges(child[real], parent[real], "is_a", np.ones(int(real.sum()), np.int32))
    for part in links:
        source, target, count = (part[name].to_numpy() for name in ("source", "target", "count"))
        real = chosen[source] & chosen[target]
        yield _edges(source[real], target[real], "links", count[real])


def _edges(source: NDArray[np.int64], target: NDArray[np.int64], relation: str, count: NDArray[np.int32]) -> pa.Table:
    return pa.table([source, target, pa.array([relation] * len(source), pa.string()), count], schema=EDGES)


def top_entities(nodes: Iterable[pa.Table], num_entities: int, top: int) -> Flags:
    """Return which entities are among the `top` of highest PageRank (ties by row) and kept; 0 takes every kept one."""
    tables = pa.concat_tables([NODES.empty_table(), *nodes])
    entity, rank = tables["entity"].to_numpy(), tables["pagerank"].to_numpy()
    order = np.lexsort((entity, -rank))
    chosen = np.zeros(num_entities, bool)
    chosen[entity[order[: top or None]]] = True
    return chosen


def concept_graph(nodes: Iterable[pa.Table], edges: Iterable[pa.Table], chosen: Flags) -> networkx.MultiDiGraph:
    """Return the chosen entities as a networkx graph: a pair may be joined by `is_a` and by `links`."""
    graph = networkx.MultiDiGraph()
    for part in nodes:
        for row in part.to_pylist():
            if chosen[row["entity"]]:
                named = {key: value for key, value in row.items() if value is not None and key not in ("entity", "parent")}
                graph.add_node(row["entity"], **{key: _xml(value) for key, value in named.items()})
    for part in edges:
        for row in part.to_pylist():
            graph.add_edge(row["source"], row["target"], key=row["relation"], relation=row["relation"], count=row["count"])
    return graph


def _xml(value: object) -> object:
    """Return a value without letters that XML cannot hold."""
    if not isinstance(value, str):
        return value
    return "".join(letter if letter.isprintable() else " " for letter in value)
