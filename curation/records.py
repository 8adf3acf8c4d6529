"""JSONL and CSV tables whose rows name image files, Hugging Face's imagefolder metadata among them.

A chunk is a byte range (JSONL) or a row range (CSV), so that a part reads its own rows only. Every field of a row is kept;
relative paths count from the table's folder.
"""

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TypeAlias

from curation.errors import SourceError
from curation.items import Item, Json, caption_of, clean_text, group_of, path_field, plain
from curation.pixels import uri_to_path

_PROBED_LINES = 20

Chunk: TypeAlias = dict[str, Json]


class NoImages(SourceError):
    """A readable table that names no images: an error as the source itself, ignored inside a folder."""


def path_item(chunk: Chunk, name: object, fields: dict[str, Json]) -> Item:
    """Return the item of a table's row that names a file: relative to the table's folder, absolute, or a file:// URL."""
    table, root = str(chunk["path"]), str(chunk["root"])
    caption = caption_of({key: value for key, value in fields.items() if value != name})
    base = Item(table, "file", "", group_of(root, table, is_container=True), caption=caption, fields=fields)
    if not isinstance(name, str) or not name:
        return replace(base, offset=None, code="missing", detail="the row names no file")
    if "://" in name and not name.startswith("file://"):
        detail = "only local files are read: fetch URLs first"
        return replace(base, path=name, key=clean_text(name), offset=None, code="missing", detail=detail)
    path = os.path.normpath(os.path.join(os.path.dirname(table), uri_to_path(name)))
    inside = path.startswith(root + os.sep)
    if not inside:
        return replace(base, path=path, key=clean_text(name))
    key = clean_text(os.path.relpath(path, root).replace(os.sep, "/"))
    return replace(base, path=path, key=key, group=group_of(root, path, is_container=False))


def jsonl_chunks(path: str, *, part_rows: int) -> list[tuple[Chunk, int]]:
    """Return (chunk, items) for a JSONL file of objects with a path field; raises SourceError when it is none."""
    found: list[tuple[Chunk, int]] = []
    column: str | None = None
    start = rows = probed = position = 0
    with open(path, "rb") as file:
        for line in file:
            position += len(line)
            if not line.strip():
                continue
            if column is None and probed < _PROBED_LINES:
                probed, column = probed + 1, path_field(list(_object(line)))
            rows += 1
            if rows == part_rows:
                found.append(({"kind": "jsonl", "path": path, "start": start, "stop": position}, rows))
                start, rows = position, 0
    if rows:
        found.append(({"kind": "jsonl", "path": path, "start": start, "stop": position}, rows))
    if column is None:
        raise NoImages(f"{path} has no field of paths in its first {_PROBED_LINES} lines")
    return [({**chunk, "path_column": column}, rows) for chunk, rows in found]


def _object(line: bytes) -> dict[str, Json]:
    try:
        value = plain(json.loads(line.decode("utf-8-sig", "replace")))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def jsonl_items(chunk: Chunk) -> Iterator[Item]:
    """Yield the items of a JSONL chunk; a line that is no JSON object is one `missing` row."""
    path, column = str(chunk["path"]), str(chunk["path_column"])
    with open(path, "rb") as file:
        file.seek(_int(chunk["start"]))
        lines = file.read(_int(chunk["stop"]) - _int(chunk["start"])).split(b"\n")
    for line in lines:
        if line.strip():
            fields = _object(line) or {"line": line.decode("utf-8", "replace")[:1000]}
            yield path_item(chunk, fields.get(column) or fields.get(path_field(list(fields)) or ""), fields)


def csv_chunks(path: str, *, part_rows: int) -> list[tuple[Chunk, int]]:
    """Return (chunk, items) for a CSV file with a header and a column of paths; raises SourceError when it is none."""
    with _open_csv(path) as file:
        reader = csv.DictReader(file)
        try:
            column, rows = path_field(list(reader.fieldnames or [])), sum(1 for _ in reader)
        except csv.Error as error:
            raise SourceError(f"{path} cannot be read as CSV: {error}") from error
    if column is None:
        raise NoImages(f"{path} has no column of paths")
    starts = range(0, rows, part_rows)
    return [
        ({"kind": "csv", "path": path, "start": start, "stop": min(start + part_rows, rows), "path_column": column},
         min(part_rows, rows - start))
        for start in starts
    ]  # fmt: skip


def csv_items(chunk: Chunk) -> Iterator[Item]:
    """Yield the items of a CSV chunk."""
    path, column = str(chunk["path"]), str(chunk["path_column"])
    with _open_csv(path) as file:
        for row in islice(csv.DictReader(file), _int(chunk["start"]), _int(chunk["stop"])):
            fields = {clean_text(str(name)): plain(value) for name, value in row.items()}
            yield path_item(chunk, row[column], fields)


def _open_csv(path: str) -> io.TextIOWrapper:
    return open(path, encoding="utf-8-sig", errors="replace", newline="")


def _int(value: Json) -> int:
    assert isinstance(value, int)
    return value
