"""First stages of a knowledge base: dumps become PAGES and language links LANGUAGES, byte range by byte range.

A range of a divisible file is one part. A file that must be read from its beginning (.gz, UTF-16, cirrussearch) is read by one
worker, which cuts it into parts where the file's own position passes their borders, and holds no more than one of them.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from captioning.chunks import Source, lines, open_source
from captioning.cirrus import cirrus_rows
from captioning.dump import Dump, open_dump, pages
from captioning.edge_lists import edge_rows, edges_of_lines, edges_of_table
from captioning.langlinks import is_sql, langlink_rows, language_table, sitelink_rows
from captioning.site import Site
from captioning.wikipedia import Row, count_by_kind, page_table, row_of
from curation.errors import SourceError
from curation.tables import Run, part_stem
from jobs.scratch import scratch
from jobs.stage import Item, Output

HASHED_WHOLE_BYTES = 64 << 20
"""A larger input is known by its size, the time it was changed, its first and its last mebibyte."""
PLAIN_FACTOR = 4
"""Bytes of plain text read per byte of a packed file's range: text packs about that well or better."""


def source_digest(*, inputs: list[dict[str, str]], **_: object) -> list[str]:
    """Return what tells the input files from changed ones."""
    return [_digest(Path(given["path"])) for given in inputs]


def _digest(path: Path) -> str:
    try:
        status = path.stat()
        with path.open("rb") as file:
            if status.st_size <= HASHED_WHOLE_BYTES:
                return hashlib.file_digest(file, "sha256").hexdigest()
            head = file.read(1 << 20)
            file.seek(-(1 << 20), 2)
            ends = hashlib.sha256(head + file.read()).hexdigest()
            return f"{status.st_size} {status.st_mtime_ns} {ends}"
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None


def plan(run: Run, *, inputs: list[dict[str, str]], split_bytes: int, **_: object) -> list[Item]:
    """Return one item per range of a divisible file, and one with several parts per other file; raises SourceError."""
    items: list[Item] = []
    for given in inputs:
        first = items[-1]["parts"][-1] + 1 if items else 0
        items += _ranges(Path(given["path"]), given["kind"], split_bytes, first)
    return items


def _ranges(path: Path, kind: str, split_bytes: int, first: int) -> Iterator[Item]:
    if kind == "edges" and path.suffix == ".parquet":
        groups = pq.ParquetFile(path).num_row_groups
        for group in range(groups):
            yield {"parts": [first + group], "path": str(path), "kind": "edge table", "start": group, "end": group + 1}
        return
    source = open_dump(path).source if kind == "dump" else open_source(path)
    if source.size == 0:
        raise SourceError(f"{path} is empty")
    step = split_bytes if source.packing != "none" else split_bytes * PLAIN_FACTOR
    count = -(-source.size // step)
    borders = [source.size * number // count for number in range(count + 1)]
    if source.divisible and kind != "cirrus":
        for number in range(count):
            yield {
                "parts": [first + number],
                "path": str(path),
                "kind": kind,
                "start": borders[number],
                "end": borders[number + 1],
            }
        return
    count = 1 if kind == "languages" else count
    yield {"parts": list(range(first, first + count)), "path": str(path), "kind": kind, "start": 0, "end": source.size}


def work(run: Run, item: Item, *, language: str, **_: object) -> list[Output]:
    """Read one range into PAGES."""
    rows = _rows(Path(item["path"]), item, language)
    if len(item["parts"]) == 1:
        table = page_table([row for _, row in rows])
        return [Output(item["parts"][0], table, counts=count_by_kind(table))]
    return list(_cut(run, item, rows))


def _rows(path: Path, item: Item, language: str) -> Iterator[tuple[int, Row]]:
    kind, start, end = item["kind"], int(item["start"]), int(item["end"])
    if kind == "dump":
        dump: Dump = open_dump(path)
        return ((page.position, row_of(page, dump.site)) for page in pages(dump, start, end))
    if kind == "edge table":
        return edge_rows(edges_of_table(pq.ParquetFile(path).read_row_group(start), end), Site(language))
    found = lines(open_source(path), start, end)
    if kind == "cirrus":
        return cirrus_rows(found, Site(language))
    return edge_rows(edges_of_lines(found), Site(language))


def _cut(run: Run, item: Item, rows: Iterator[tuple[int, Row]]) -> Iterator[Output]:
    """Write the parts of a file that is read in one go as they are finished."""
    parts, size = item["parts"], int(item["end"])
    pending: list[Row] = []
    written = 0
    for position, row in rows:
        while written < len(parts) - 1 and position >= size * (written + 1) // len(parts) and pending:
            yield _written(run, parts[written], pending)
            pending, written = [], written + 1
        pending.append(row)
    for part in parts[written:]:
        yield _written(run, part, pending)
        pending = []


def _written(run: Run, part: int, rows: list[Row]) -> Output:
    table = page_table(rows)
    name = f"{part_stem('pages', part)}.parquet"
    path = scratch(run, "pages", name)
    pq.write_table(table, path, compression="zstd")
    return Output(part, None, files={name: path}, counts=count_by_kind(table))


def work_languages(run: Run, item: Item, *, language: str, **_: object) -> list[Output]:
    """Read one range of language links into LANGUAGES."""
    source: Source = open_source(Path(item["path"]))
    found = lines(source, int(item["start"]), int(item["end"]))
    rows: Iterator[dict[str, Any]] = langlink_rows(found) if is_sql(source.head) else sitelink_rows(found, language=language)
    table: pa.Table = language_table(rows)
    return [Output(item["parts"][0], table)]
