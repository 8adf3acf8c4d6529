"""The concept graph of a knowledge base as files: GraphML, parquet, and the picture of one entity's surroundings."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import ConfigError
from curation.tables import Run
from graph.concept_export import EDGES, NODES, concept_graph, edges_among, kept_nodes, top_entities
from graph.concept_picture import Node, concept_picture
from graph.export import write_graphml

MOST_LINKED = 6
"""Linked entities that a picture shows."""


def write_concept_graph(base: Run, *, graphml: Path | None, parquet: Path | None, top: int) -> tuple[int, int]:
    """Write the concept graph to a GraphML file, or to nodes.parquet and edges.parquet in a folder; return nodes and edges.

    top: entities of highest PageRank that are taken; 0: all that are kept.
    """
    if (graphml is None) == (parquet is None):
        raise ConfigError("export takes exactly one of --graphml and --parquet")
    _need_concepts(base)
    chosen = top_entities(_nodes(base), int(base.offsets("entities")[-1]), top)
    if graphml is not None:
        graph = concept_graph(_nodes(base), edges_among(_nodes(base), _links(base), chosen), chosen)
        write_graphml(graph=graph, path=graphml)
        return int(graph.number_of_nodes()), int(graph.number_of_edges())
    assert parquet is not None
    parquet.mkdir(parents=True, exist_ok=True)
    nodes = (part.filter(pa.array(chosen[part["entity"].to_numpy()])) for part in _nodes(base))
    edges = edges_among(_nodes(base), _links(base), chosen)
    return _written(parquet / "nodes.parquet", nodes, NODES), _written(parquet / "edges.parquet", edges, EDGES)


def entity_picture(base: Run, entity: int) -> str:
    """Return an SVG of an entity among its ancestors, siblings, children and the entities it links to most; bars: PageRank."""
    _need_concepts(base)
    concepts = base.read("concepts", ["parent", "keep", "pagerank"])
    parent, rank = concepts["parent"].fill_null(-1).to_numpy(), concepts["pagerank"].to_numpy()
    near = _near(parent, np.asarray(concepts["keep"]), entity)
    place = {row: at for at, row in enumerate(near)}
    titles = base.take("entities", np.array(near), ["title", "title_zh"]).to_pylist()
    nodes = [
        Node(title["title"], "entity", float(rank[row]), place.get(int(parent[row]), -1), title["title_zh"])
        for row, title in zip(near, titles, strict=True)
    ]
    linked = _linked(base, entity, set(near), rank)
    named = base.take("entities", np.array(linked, np.int64), ["title", "title_zh"]).to_pylist()
    links = [
        Node(title["title"], "link", float(rank[row]), -1, title["title_zh"]) for row, title in zip(linked, named, strict=True)
    ]
    return concept_picture(nodes, place[entity], what="PageRank", links=links)


def _near(parent: np.ndarray, keep: np.ndarray, entity: int) -> list[int]:
    """Return the rows of an entity, its ancestors, siblings and children, in order."""
    found = {entity, *np.flatnonzero((parent == entity) & keep).tolist()}
    above = int(parent[entity])
    if above >= 0:
        found |= set(np.flatnonzero((parent == above) & keep).tolist())
    while above >= 0:
        found.add(above)
        above = int(parent[above])
    return sorted(found)


def _linked(base: Run, entity: int, near: set[int], rank: np.ndarray) -> list[int]:
    """Return the entities that an entity links to most often, those of rarer targets first among equals."""
    counts: dict[int, int] = {}
    for part in _links(base):
        own = part.filter(pa.array(part["source"].to_numpy() == entity))
        for target, count in zip(own["target"].to_pylist(), own["count"].to_pylist(), strict=True):
            if target not in near:
                counts[target] = counts.get(target, 0) + count
    return sorted(counts, key=lambda row: (-counts[row] * -np.log(rank[row]), row))[:MOST_LINKED]


def _need_concepts(base: Run) -> None:
    if not base.has("concepts"):
        raise ConfigError(f"{base.root} has no finished table concepts; `imageloom knowledge build` makes it")


def _nodes(base: Run) -> Iterator[pa.Table]:
    parts = range(base.num_parts("entities"))
    return kept_nodes(
        (base.read_part("entities", part, ["title", "title_zh"]), base.read_part("concepts", part)) for part in parts
    )


def _links(base: Run) -> Iterator[pa.Table]:
    return (base.read_part("links", part) for part in range(base.num_parts("links")))


def _written(path: Path, parts: Iterable[pa.Table], schema: pa.Schema) -> int:
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part)
            rows += part.num_rows
    return rows
