"""A knowledge base of a few entities, written by hand, for tests of linking."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from curation.schema import ANCHORS, ENTITIES, LINKS
from curation.tables import Cost, Run

Names = Sequence[tuple[str, str, int, str, int, int]]

TITLES: dict[str, dict[str, object]] = {
    "Apple": {"title_zh": "苹果", "description": "fruit of a tree", "lead": "An apple is a sweet fruit that grows on a tree."},
    "Apple Inc.": {"title_zh": "苹果公司", "description": "maker of computers and phones"},
    "United States": {"title_zh": "美国", "description": "country in North America"},
    "New York City": {"title_zh": "纽约", "description": "largest city of the United States"},
    "Central Park": {"title_zh": "中央公园", "description": "park in Manhattan"},
    "Marie Curie": {"description": "physicist and chemist", "infobox": "scientist", "categories": ["1867 births"]},
    "Computer": {"description": "machine that computes"},
    "Mercury": {"kind": "disambiguation"},
    "Tree": {"description": "tall plant of wood"},
    "The Who": {"description": "rock band"},
    "?": {"description": "a sign"},
    "C++": {"description": "programming language"},
}
NUMBER = {title: number for number, title in enumerate(TITLES)}
NAMES: Names = [
    *((title, "en", number, "title", 20, 25) for title, number in NUMBER.items() if title not in ("?", "Apple", "Mercury")),
    ("Apple", "en", 0, "title", 30, 400),
    ("Apple", "en", 1, "anchor", 300, 400),
    ("apple", "en", 0, "anchor", 90, 120),
    ("US", "en", 2, "anchor", 90, 100),
    ("New York", "en", 3, "anchor", 50, 60),
    ("the", "en", 9, "anchor", 1, 100000),
    ("?", "en", 10, "title", 0, 0),
    ("Mercury", "en", 7, "title", 5, 9),
    ("Curie", "en", 5, "anchor", 9, 10),
    *((str(row["title_zh"]), "zh", NUMBER[title], "langlink", 0, 0) for title, row in TITLES.items() if "title_zh" in row),
]
EDGES = [(3, 2), (4, 2), (4, 3), (2, 3), (6, 1), (1, 6), (8, 0), (0, 8), (3, 4)]


def write_knowledge(
    root: Path,
    *,
    titles: Mapping[str, Mapping[str, object]] = TITLES,
    names: Names = NAMES,
    edges: Sequence[tuple[int, int]] | None = EDGES,
) -> Path:
    """Write the tables of a knowledge base and return its folder; without `edges` it has no table LINKS."""
    run = Run(root)
    blank = {"kind": "article", "categories": [], "coordinates": False, "links_in": 0}
    entities = [{name: None for name in ENTITIES.names} | blank | {"title": title} | row for title, row in titles.items()]
    tables = {
        "entities": pa.Table.from_pylist(entities, schema=ENTITIES),
        "anchors": pa.Table.from_pylist([dict(zip(ANCHORS.names, row, strict=True)) for row in names], schema=ANCHORS),
    }
    if edges is not None:
        rows = [{"source": source, "target": target, "count": 1} for source, target in edges]
        tables["links"] = pa.Table.from_pylist(rows, schema=LINKS)
    for name, table in tables.items():
        run.commit_part(name, 0, table, fingerprint="by hand", cost=Cost(0, 0), counts={"ok": table.num_rows})
        run.finish(name, {"fingerprint": "by hand"})
    return root
