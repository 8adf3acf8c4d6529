"""Rows dealt into bins on disk: one pass over what is larger than memory, then one bin at a time.

A join or a grouping over a whole collection needs the rows of one key together. `Spill.add` takes rows as they come, a part at
a time, and appends each to the file of its bin; `read` gives a bin back with its rows in the order in which they came. Memory
is a buffer of fixed size and whatever the caller holds of one bin, however many rows there are (Shatdal, Kant & Naughton 1994,
http://www.vldb.org/conf/1994/P510.PDF, call it partitioning).
"""

import mmap
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BUFFER_BYTES = 64 << 20

Rows = NDArray[np.int64]


class Spill(AbstractContextManager["Spill"]):
    """Files of rows, one per bin, in a folder that is removed at the end."""

    def __init__(self, folder: Path, *, num_bins: int, shape: pa.Schema, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.num_bins, self.shape, self.buffer_bytes = num_bins, shape, buffer_bytes
        self._folder = folder
        self._held: list[tuple[pa.Table, Rows]] = []
        self._held_bytes = 0
        folder.mkdir(parents=True)

    def add(self, rows: pa.Table, bins: Rows) -> None:
        """Deal rows into bins; bins: (rows,) from 0 to num_bins - 1."""
        if not rows.num_rows:
            return
        self._held.append((rows.select(self.shape.names).cast(self.shape), bins))
        self._held_bytes += rows.nbytes
        if self._held_bytes > self.buffer_bytes:
            self._flush()

    def read(self, number: int) -> pa.Table:
        """Return the rows of one bin, in the order they were added."""
        self._flush()
        path = self._path(number)
        if not path.exists():
            return self.shape.empty_table()
        tables = []
        with pa.OSFile(str(path)) as file:
            size = file.size()
            while file.tell() < size:  # every flush appended a stream of its own, so that no file stays open
                tables.append(pa.ipc.open_stream(file).read_all())
        return pa.concat_tables(tables).combine_chunks()

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield the rows of every bin in turn."""
        for number in range(self.num_bins):
            yield self.read(number)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _flush(self) -> None:
        if not self._held:
            return
        rows = pa.concat_tables([table for table, _ in self._held])
        bins = np.concatenate([dealt for _, dealt in self._held])
        self._held, self._held_bytes = [], 0
        order = np.argsort(bins, kind="stable")
        rows = rows.take(pa.array(order)).combine_chunks()
        numbers, start = np.unique(bins[order], return_index=True)
        for number, begin, end in zip(numbers.tolist(), start.tolist(), [*start[1:].tolist(), len(bins)], strict=True):
            with self._path(number).open("ab") as file, pa.ipc.new_stream(file, self.shape) as writer:
                writer.write_table(rows.slice(begin, end - begin))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.arrows"


def bins_of(count: int, *, rows_per_bin: int) -> int:
    """Return into how many bins `count` rows go; at least one."""
    return max(1, -(-count // rows_per_bin))


def mapped_array(path: Path, count: int, dtype: type[np.generic], fill: int = 0) -> np.ndarray:
    """Return a new array (count,) that lies on disk."""
    array = np.memmap(path, dtype, "w+", shape=(max(count, 1),))
    if fill:
        for begin in range(0, count, 1 << 20):
            array[begin : begin + (1 << 20)] = fill
    return array[:count]


def release(array: np.ndarray) -> None:
    """Give back the memory of an array that is mapped from a file; what is read next comes from the file or its cache."""
    held: object = array
    while isinstance(held, np.ndarray):
        held = held.base
    if isinstance(held, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        held.madvise(mmap.MADV_DONTNEED)
