"""Parquet tables of images: cells that hold encoded bytes, or paths of files.

A chunk is a row range in few row groups, so that a part reads its own rows only; a damaged row group costs its own rows.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import SourceError
from curation.items import Item, Json, caption_of, clean_text, group_of, path_field, plain
from curation.records import Chunk, NoImages, path_item

_BYTE_COLUMNS = ("image", "bytes", "image_bytes", "img", "jpg", "jpeg", "png", "webp", "content", "data", "picture")
_BATCH_ROWS = 64


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
    columns = _strings(chunk["columns"])
    with pq.ParquetFile(str(chunk["path"])) as file:
        for span in _spans(file, chunk):
            row = span.row
            try:
                for record in _records(file, span):
                    yield from _row_items(chunk, columns, record, row)
                    row += 1
            except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
                for lost in range(row, span.row + span.end - span.begin):
                    for column in columns or [str(chunk["path_column"])]:
                        detail = f"row group {span.group} cannot be read: {error}"
                        yield replace(_empty_cell(chunk, column, lost), code="corrupt", detail=clean_text(detail))


@dataclass(frozen=True)
class _Span:
    """Rows [begin, end) of a row group; `row` is the first one's number in the file."""

    group: int
    begin: int
    end: int
    row: int


def _spans(file: pq.ParquetFile, chunk: Chunk) -> Iterator[_Span]:
    start, stop, position = chunk["start"], chunk["stop"], 0
    assert isinstance(start, int) and isinstance(stop, int)
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        begin, end = max(start - position, 0), min(stop - position, rows)
        if begin < end:
            yield _Span(group, begin, end, position + begin)
        position += rows


def _records(file: pq.ParquetFile, span: _Span) -> Iterator[dict[str, object]]:
    position = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[span.group]):
        first, last = max(span.begin - position, 0), min(span.end - position, len(batch))
        position += len(batch)
        if first < last:
            yield from batch.slice(first, last - first).to_pylist()


def parquet_paths(chunk: Chunk) -> Iterator[str]:
    """Yield the absolute paths that the path column of a chunk names; none when the images are in the file."""
    column = str(chunk["path_column"])
    if not chunk["columns"]:
        with pq.ParquetFile(str(chunk["path"])) as file:
            for span in _spans(file, chunk):
                names = file.read_row_group(span.group, columns=[column]).column(column)
                for name in names.slice(span.begin, span.end - span.begin).to_pylist():
                    yield path_item(chunk, name, {}).path


def _row_items(chunk: Chunk, columns: list[str], record: dict[str, object], row: int) -> Iterator[Item]:
    fields = {clean_text(name): plain(value) for name, value in record.items() if name not in columns}
    if not columns:
        yield path_item(chunk, record[str(chunk["path_column"])], fields)
    for column in columns:
        yield _cell_item(chunk, column, row, record[column], fields)


def _cell_item(chunk: Chunk, column: str, row: int, cell: object, fields: dict[str, Json]) -> Item:
    encoded, name = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if isinstance(name, str) and name:
        fields = {"path": clean_text(name), **fields}
    item = replace(_empty_cell(chunk, column, row), fields=fields, caption=caption_of(fields))
    own_name = fields.get("__key__", name)
    if isinstance(own_name, str) and own_name:
        several = len(_strings(chunk["columns"])) > 1
        item = replace(item, key=clean_text(f"{own_name}.{column}" if several else own_name))
    if isinstance(encoded, bytes):
        return replace(item, encoded=encoded, length=len(encoded))
    if isinstance(name, str) and name:
        return path_item(chunk, name, fields)
    return replace(item, code="missing", detail="the cell is null")


def _empty_cell(chunk: Chunk, column: str, row: int) -> Item:
    path, several = str(chunk["path"]), len(_strings(chunk["columns"])) > 1
    stem, group = os.path.splitext(os.path.basename(path))[0], group_of(str(chunk["root"]), path, is_container=True)
    key = f"{stem}/{row:08d}" + (f".{column}" if several else "")
    return Item(path, "parquet", clean_text(key), group, member=f"{column}#{row}", offset=None, length=0)


def _strings(value: Json) -> list[str]:
    assert isinstance(value, list)
    return [str(one) for one in value]
