"""A duplicate group or a neighbourhood as a graph that other tools open: networkx, GraphML.

Enters: VERDICTS and ids. Leaves: a networkx graph whose nodes are images and whose edges carry relation, similarity, confidence
and evidence, to look at in Gephi, Cytoscape or a notebook.
"""

from collections.abc import Sequence
from pathlib import Path

import networkx
import pyarrow as pa


def verdict_graph(*, verdicts: pa.Table, ids: Sequence[str], relations: Sequence[str] = ("copy", "contains")) -> networkx.DiGraph:
    """Return the verdicts of the named relations as a directed graph over rows.

    An edge leads from row_a to row_b, and from the container to the contained picture; name `contains` for both directions.
    """
    graph = networkx.DiGraph()
    for verdict in verdicts.to_pylist():
        a, b, relation = verdict["row_a"], verdict["row_b"], verdict["relation"]
        if relation == "contained":
            a, b, relation = b, a, "contains"
        if relation in relations:
            graph.add_node(a, id=ids[a])
            graph.add_node(b, id=ids[b])
            kept = {name: verdict[name] for name in ("similarity", "confidence", "evidence")}
            graph.add_edge(a, b, relation=relation, **kept)
    return graph


def neighbourhood(*, graph: networkx.DiGraph, row: int, hops: int = 2) -> networkx.DiGraph:
    """Return the part of `graph` within `hops` edges of `row`, in either direction; empty when row is not in it."""
    if row not in graph:
        return networkx.DiGraph()
    return networkx.ego_graph(graph, row, radius=hops, undirected=True)


def write_graphml(*, graph: networkx.DiGraph, path: Path) -> None:
    """Write `graph` as GraphML, which Gephi, Cytoscape and igraph read."""
    networkx.write_graphml(graph, path)
