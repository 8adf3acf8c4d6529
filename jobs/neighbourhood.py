"""The surroundings of one image in the graph of verified pairs, as GraphML for Gephi, Cytoscape or igraph."""

from pathlib import Path

from curation.tables import Run
from graph.export import neighbourhood, verdict_graph, write_graphml


def write_neighbourhood(run: Run, row: int, path: Path, *, hops: int = 2) -> int:
    """Write the copies and containers within `hops` of a global row, with their names; return the number of images.

    An image that is alone gives a graph of one node.
    """
    images = run.read("images", ["id", "key"])
    whole = verdict_graph(verdicts=run.read("verdicts"), ids=images["id"].to_pylist())
    part = neighbourhood(graph=whole, row=row, hops=hops)
    part.add_node(row, id=images["id"][row].as_py())
    for node in part:
        part.nodes[node]["key"] = images["key"][node].as_py()
    write_graphml(graph=part, path=path)
    return int(part.number_of_nodes())
