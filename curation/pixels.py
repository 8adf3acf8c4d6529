"""Rows of IMAGES back to bytes and pixels, whatever holds them: a file, a byte range of a tar, a cell of a parquet file.

Rows are read in the order given; open files and the last parquet row groups are kept, so neighbouring rows cost one seek each.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import BinaryIO
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pyarrow as pa
import pyarrow.parquet as pq

from curation.decode import DEFAULT_POLICY, DecodedImage, DecodePolicy, decode, judged_policy
from curation.errors import DecodeError

_COLUMNS = ("uri", "container", "member", "offset", "length", "width", "height", "error")
_ROW_GROUPS_KEPT = 2
_FILES_KEPT = 16


def read_encoded(images: pa.Table) -> Iterator[bytes | None]:
    """Yield the encoded bytes of each row of IMAGES in order; None where `error` is set or the bytes are gone."""
    for encoded, _ in _rows(images):
        yield encoded


def read_pixels(
    images: pa.Table, *, max_side_px: int | None = None, middle_px: int | None = None, num_threads: int = 1
) -> Iterator[DecodedImage | None]:
    """Yield each row of IMAGES decoded, in order; None where `error` is set or decoding fails now.

    max_side_px, middle_px: as in `decode`. num_threads: decode this many rows at once (Pillow releases the GIL); memory grows
        with it.
    """
    if num_threads <= 1:
        for encoded, policy in _rows(images):
            yield _decode(encoded, policy, max_side_px, middle_px)
        return
    rows = _rows(images)
    with ThreadPoolExecutor(num_threads) as pool:
        while batch := list(islice(rows, 2 * num_threads)):
            yield from pool.map(lambda row: _decode(row[0], row[1], max_side_px, middle_px), batch)


def path_to_uri(path: str) -> str:
    """Return an absolute path as text for IMAGES.uri: the path itself, or a file:// URL when its name is not UTF-8."""
    try:
        path.encode("utf-8")
        return path
    except UnicodeEncodeError:
        return "file://" + quote_from_bytes(os.fsencode(path))


def uri_to_path(uri: str) -> str:
    """Return the local path that `uri` names; the inverse of `path_to_uri`."""
    return os.fsdecode(unquote_to_bytes(uri.removeprefix("file://"))) if uri.startswith("file://") else uri


def _decode(
    encoded: bytes | None, policy: DecodePolicy, max_side_px: int | None, middle_px: int | None = None
) -> DecodedImage | None:
    if encoded is None:
        return None
    try:
        return decode(encoded, policy=policy, max_side_px=max_side_px, middle_px=middle_px)
    except DecodeError:
        return None


def _rows(images: pa.Table) -> Iterator[tuple[bytes | None, DecodePolicy]]:
    """Yield bytes and the policy to decode them with: ingest has judged the image, so only its own size is a cap now."""
    readers = Readers()
    columns = [images.column(name).to_pylist() for name in _COLUMNS]
    try:
        for uri, container, member, offset, length, width, height, error in zip(*columns, strict=True):
            if error is not None or width is None:
                yield None, DEFAULT_POLICY
                continue
            policy = judged_policy(width_px=width, height_px=height, size_bytes=length)
            try:
                yield readers.read(uri, container, member, offset, length), policy
            except (OSError, pa.ArrowException, LookupError, ValueError):
                yield None, policy
    finally:
        readers.close()


class Readers:
    """Open files and parquet row groups, the least recently used closed first. Not for several threads at once."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, BinaryIO] = OrderedDict()
        self._parquet: OrderedDict[str, ParquetCells] = OrderedDict()

    def read(self, uri: str, container: str, member: str | None, offset: int | None, length: int | None) -> bytes:
        """Return the bytes that these five columns of IMAGES point at; raises OSError when they are not there."""
        path = uri_to_path(uri)
        if container == "parquet":
            column, _, row = (member or "").rpartition("#")
            return self._cells(path).read(column, int(row))
        if container == "file":
            with open(path, "rb") as file:
                return file.read()
        return self._range(path, offset or 0, length or 0)

    def close(self) -> None:
        """Close everything that is open."""
        for file in self._files.values():
            file.close()
        for cells in self._parquet.values():
            cells.close()
        self._files.clear()
        self._parquet.clear()

    def _range(self, path: str, offset: int, length: int) -> bytes:
        if path not in self._files:
            self._files[path] = open(path, "rb")
            if len(self._files) > _FILES_KEPT:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(path)
        encoded = os.pread(self._files[path].fileno(), length, offset)
        if len(encoded) != length:
            raise EOFError(f"{path}: wanted {length} bytes at {offset}, found {len(encoded)}")
        return encoded

    def _cells(self, path: str) -> "ParquetCells":
        if path not in self._parquet:
            self._parquet[path] = ParquetCells(path)
            if len(self._parquet) > _FILES_KEPT:
                self._parquet.popitem(last=False)[1].close()
        self._parquet.move_to_end(path)
        return self._parquet[path]


class ParquetCells:
    """Cells of one parquet file by column and row; the last row groups read are kept."""

    def __init__(self, path: str) -> None:
        self._file = pq.ParquetFile(path)
        groups = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = [sum(groups[:group]) for group in range(len(groups) + 1)]
        self._kept: OrderedDict[tuple[str, int], pa.ChunkedArray] = OrderedDict()

    def read(self, column: str, row: int) -> bytes:
        """Return the bytes in a binary column, or in the `bytes` field of a struct column; raises LookupError."""
        if not 0 <= row < self._starts[-1]:
            raise IndexError(f"row {row} of {self._starts[-1]}")
        group = next(group for group, start in enumerate(self._starts[1:]) if row < start)
        cell = self._group(column, group)[row - self._starts[group]].as_py()
        encoded = cell["bytes"] if isinstance(cell, dict) else cell
        if encoded is None:
            raise LookupError(f"{column}#{row} is null")
        return bytes(encoded)

    def close(self) -> None:
        """Close the file."""
        self._kept.clear()
        self._file.close()

    def _group(self, column: str, group: int) -> pa.ChunkedArray:
        if (column, group) not in self._kept:
            self._kept[column, group] = self._file.read_row_group(group, columns=[column]).column(column)
            if len(self._kept) > _ROW_GROUPS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end((column, group))
        return self._kept[column, group]
