"""Tables of images: parquet cells with bytes, and parquet, JSONL or CSV rows that name files.

A chunk is a byte range (JSONL), a row range (CSV) or a row range in few row groups (parquet), so that a part reads its own rows
only. Every field of a row is kept; relative paths count from the table's folder, as in Hugging Face's imagefolder.
"""

import csv
import io
import json
import os
from collections.abc import Iterator
from itertools import islice
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import SourceError
from curation.items import Item, Json, caption_of, clean_text, group_of, path_field, plain
from curation.pixels import uri_to_path

_BYTE_COLUMNS = ("image", "bytes", "image_bytes", "img", "jpg", "jpeg", "png", "webp", "content", "data", "picture")
_BATCH_ROWS = 64
_PROBED_LINES = 20

Chunk: TypeAlias = dict[str, Json]


class NoImages(SourceError):
    """A readable table that names no images: an error as the source itself, ignored inside a folder."""


def image_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that hold encoded images: Hugging Face structs {bytes, path}, else binary columns by name."""
    structs = [field.name for field in schema if pa.types.is_struct(field.type) and _has_bytes(field.type)]
    if structs:
        return structs
    binary = [field.name for field in schema if _is_binary(field.type)]
    return [name for name in binary if name.lower() in _BYTE_COLUMNS][:1] or (binary if len(binary) == 1 else [])


def _has_bytes(kind: pa.StructType) -> bool:
    return any(field.name == "bytes" and _is_binary(field.type) for field in kind.fields)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _text_column(schema: pa.Schema) -> str | None:
    return path_field([field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)])


def parquet_chunks(path: str, *, part_rows: int) -> list[tuple[Chunk, int]]:
    """Return (chunk, items) for a parquet file; whole row groups are packed, larger ones cut.

    Raises SourceError when the file is no parquet or has neither image bytes nor a column of paths.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as parquet: {error}") from error
    columns = image_columns(schema)
    names = _text_column(schema)
    if not columns and names is None:
        raise NoImages(f"{path} has no column of image bytes and no column of paths among {schema.names}")
    per_row = max(1, len(columns))
    ranges = _row_ranges(groups, max(1, part_rows // per_row))
    return [
        ({"kind": "parquet", "path": path, "start": start, "stop": stop, "columns": list(columns), "path_column": names},
         (stop - start) * per_row)
        for start, stop in ranges
    ]  # fmt: skip


def _row_ranges(groups: list[int], part_rows: int) -> Iterator[tuple[int, int]]:
    start = stop = 0
    for rows in groups:
        if stop > start and stop + rows - start > part_rows:
            yield start, stop
            start = stop
        stop += rows
        while stop - start > part_rows:
            yield start, start + part_rows
            start += part_rows
    if stop > start:
        yield start, stop


def parquet_items(chunk: Chunk) -> Iterator[Item]:
    """Yield the images of a parquet chunk, row by row, bytes included; rows that cannot be read are `corrupt` items."""
    path, root = str(chunk["path"]), str(chunk["root"])
    columns = [str(name) for name in _list(chunk["columns"])]
    group, row = group_of(root, path, is_container=True), _int(chunk["start"])
    with pq.ParquetFile(path) as file:
        for number, begin, end in _spans(file, row, _int(chunk["stop"])):
            try:
                for record in _records(file, number, begin, end):
                    yield from _row_items(chunk, columns, record, row, group)
                    row += 1
            except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
                stem = os.path.splitext(os.path.basename(path))[0]
                for column in columns or [str(chunk["path_column"])]:
                    for lost in range(row, row + end - begin - (row - _row_of(file, number, begin))):
                        yield Item(
                            path, "parquet", f"{stem}/{lost:08d}", group, f"{column}#{lost}", None, 0,
                            code="corrupt", detail=f"row group {number} cannot be read: {error}",
                        )  # fmt: skip
                row = _row_of(file, number, end)


def _spans(file: pq.ParquetFile, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield (row group, first row inside it, row after the last) for the rows [start, stop) of the file."""
    position = 0
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        begin, end = max(start - position, 0), min(stop - position, rows)
        if begin < end:
            yield number, begin, end
        position += rows


def _row_of(file: pq.ParquetFile, number: int, inside: int) -> int:
    return inside + sum(int(file.metadata.row_group(group).num_rows) for group in range(number))


def _records(file: pq.ParquetFile, number: int, begin: int, end: int) -> Iterator[dict[str, object]]:
    position = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[number]):
        first, last = max(begin - position, 0), min(end - position, len(batch))
        position += len(batch)
        if first < last:
            yield from batch.slice(first, last - first).to_pylist()


def _row_items(chunk: Chunk, columns: list[str], record: dict[str, object], row: int, group: str) -> Iterator[Item]:
    fields = {clean_text(name): plain(value) for name, value in record.items() if name not in columns}
    if not columns:
        yield path_item(chunk, record[str(chunk["path_column"])], fields)
    for column in columns:
        yield _cell_item(chunk, column, row, record[column], fields, group)


def _cell_item(chunk: Chunk, column: str, row: int, cell: object, fields: dict[str, Json], group: str) -> Item:
    encoded, name = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    path, shared = str(chunk["path"]), len(_list(chunk["columns"])) > 1
    fields = {**fields, "path": clean_text(name)} if isinstance(name, str) and "path" not in fields else fields
    stem, caption = os.path.splitext(os.path.basename(path))[0], caption_of(fields)
    own_name = next((one for one in (fields.get("__key__"), name) if isinstance(one, str) and one), f"{stem}/{row:08d}")
    key, member = clean_text(f"{own_name}.{column}" if shared else own_name), f"{column}#{row}"
    if isinstance(encoded, bytes):
        return Item(path, "parquet", key, group, member, None, len(encoded), caption, fields, encoded=encoded)
    if isinstance(name, str) and name:
        return path_item(chunk, name, fields)
    return Item(path, "parquet", key, group, member, None, 0, caption, fields, code="missing", detail="the cell is null")


def path_item(chunk: Chunk, name: object, fields: dict[str, Json]) -> Item:
    """Return the item of a table's row that names a file: relative to the table's folder, absolute, or a file:// URL."""
    table, root = str(chunk["path"]), str(chunk["root"])
    caption = caption_of({key: value for key, value in fields.items() if value != name})
    if not isinstance(name, str) or not name:
        group = group_of(root, table, is_container=True)
        return Item(table, "file", "", group, None, None, None, caption, fields, (), None, "missing", "the row names no file")
    if "://" in name and not name.startswith("file://"):
        group, detail = group_of(root, table, is_container=True), "only local files are read: fetch URLs first"
        return Item(name, "file", clean_text(name), group, None, None, None, caption, fields, (), None, "missing", detail)
    path = os.path.normpath(os.path.join(os.path.dirname(table), uri_to_path(name)))
    inside = path.startswith(root + os.sep)
    key = os.path.relpath(path, root).replace(os.sep, "/") if inside else name
    group = group_of(root, path if inside else table, is_container=not inside)
    return Item(path, "file", clean_text(key), group, caption=caption, fields=fields)


def named_files(chunk: Chunk) -> Iterator[str]:
    """Yield the absolute paths of the files that a table's chunk names; none for cells that hold bytes."""
    if chunk["kind"] == "jsonl":
        yield from (item.path for item in jsonl_items(chunk))
    elif chunk["kind"] == "csv":
        yield from (item.path for item in csv_items(chunk))
    elif chunk["kind"] == "parquet" and not chunk["columns"]:
        column = str(chunk["path_column"])
        with pq.ParquetFile(str(chunk["path"])) as file:
            for number, begin, end in _spans(file, _int(chunk["start"]), _int(chunk["stop"])):
                names = file.read_row_group(number, columns=[column]).column(column).slice(begin, end - begin)
                yield from (path_item(chunk, name, {}).path for name in names.to_pylist())


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


def _list(value: Json) -> list[Json]:
    assert isinstance(value, list)
    return value
