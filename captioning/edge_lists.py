"""Pages from a list of links: lines or parquet rows of source, target and, if there is one, a count.

The names may be titles or Q identifiers, as the page-rank lists of Wikidata have them. Consecutive lines of one source are one
page; there is no text, so the knowledge base has no anchors beside the titles.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

import pyarrow as pa

from captioning.page_kinds import kind_of
from captioning.site import Site
from captioning.wikipedia import FAILED, Row

Edge = tuple[int, str, str, int]
"""Byte or row up to which had been read, source, target, count; an empty source is a line that could not be read."""

_Q = re.compile(r"Q[1-9]\d*$")


def edges_of_lines(lines: Iterable[tuple[int, bytes | None]]) -> Iterator[Edge]:
    """Yield the edges of tab-separated lines; comments and a heading are left out."""
    for position, line in lines:
        if line is None:
            yield position, "", "the file is damaged or cut off here", 0
            continue
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        fields = text.split("\t")
        if not text.strip() or text.startswith("#") or fields[:2] == ["source", "target"]:
            continue
        if len(fields) < 2 or not fields[0].strip() or not fields[1].strip() or not (len(fields) == 2 or fields[2].isdigit()):
            yield position, "", f"not 'source TAB target [TAB count]': {text[:80]!r}", 0
            continue
        yield position, fields[0], fields[1], int(fields[2]) if len(fields) > 2 else 1


def edges_of_table(rows: pa.Table, position: int) -> Iterator[Edge]:
    """Yield the edges of a table whose first columns are source, target and, optionally, count."""
    columns = [column.cast(pa.string()).to_pylist() for column in rows.columns[:2]]
    counts = rows.column("count").to_pylist() if "count" in rows.column_names else [1] * rows.num_rows
    for source, target, count in zip(*columns, counts, strict=True):
        usable = bool(source and target and count)
        yield (position, source, target, int(count)) if usable else (position, "", "a value is missing", 0)


def edge_rows(edges: Iterable[Edge], site: Site) -> Iterator[tuple[int, Row]]:
    """Yield (position, row of PAGES) for every run of edges with the same source."""
    for source, group in groupby(edges, key=lambda edge: edge[1]):
        links: dict[tuple[str, str], int] = {}
        position = 0
        for position, _, target, count in group:
            if source:
                key = (site.title(target), "")
                links[key] = links.get(key, 0) + count
            else:
                yield position, Row(None, "", FAILED, error="corrupt", error_detail=target)
        if source:
            title = site.title(source)
            wikidata = title if _Q.match(title) else None
            yield position, Row(None, title, kind_of(title, ""), text="", wikidata=wikidata, links=links)
