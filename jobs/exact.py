"""Exact copies of the whole collection: by the ids and pixel hashes of its parts, in bins that fit into memory."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.spill import BUFFER_BYTES, Spill, bins_of
from curation.tables import Run
from graph.exact import FIRSTS, FOUND, HEADS, by_bytes, by_pixels, firsts, settled
from graph.quantiser import hash_ids
from jobs.scratch import scratch
from jobs.stage import Item, Output
from jobs.whole import by_part, one_item

ROWS_PER_BIN = 1 << 21
"""Rows that are held at a time: some 400 MB."""


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item, *, rows_per_bin: int = ROWS_PER_BIN, buffer_bytes: int = BUFFER_BYTES) -> Iterator[Output]:
    """Name the representatives, and count the copies by kind."""
    offsets = run.offsets("images")
    bins = bins_of(int(offsets[-1]), rows_per_bin=rows_per_bin)
    with (
        Spill(scratch(run, "exact", "ids"), num_bins=bins, shape=FIRSTS, buffer_bytes=buffer_bytes) as ids,
        Spill(scratch(run, "exact", "pixels"), num_bins=bins, shape=HEADS, buffer_bytes=buffer_bytes) as pixels,
        Spill(scratch(run, "exact", "rows"), num_bins=bins, shape=FOUND, buffer_bytes=buffer_bytes) as rows,
    ):
        for part in item["parts"]:
            found = firsts(**_tables(run, part), first_row=int(offsets[part]))
            ids.add(found, _dealt(found["id"], bins))
        for found in ids:
            heads = by_bytes(found)
            pixels.add(heads, _dealt(pc.fill_null(heads["pixel_hash"], ""), bins))
        for heads in pixels:
            found = by_pixels(heads)
            copies = found.filter(pc.not_equal(found["row"], found["representative"]))
            rows.add(copies, copies["row"].to_numpy() // rows_per_bin)
        for part, begin, _, found in by_part(run, rows, rows_per_bin=rows_per_bin):
            yield _counted(Output(part, settled(**_tables(run, part), found=found, first_row=begin)))


def _tables(run: Run, part: int) -> dict[str, pa.Table]:
    columns = {"images": ["id", "error"], "metrics": ["pixel_hash"]}
    return {name: run.read_part(name, part, wanted) for name, wanted in columns.items()}


def _dealt(keys: pa.ChunkedArray, bins: int) -> np.ndarray:
    """Return the bin of every key."""
    if bins == 1:
        return np.zeros(len(keys), np.int64)
    return np.asarray((hash_ids(keys.to_pylist()) >> np.uint64(16)) % np.uint64(bins), np.int64)


def _counted(output: Output) -> Output:
    assert output.rows is not None
    how = pc.value_counts(pc.fill_null(output.rows["how"], "ok").combine_chunks()).to_pylist()
    return dataclasses.replace(output, counts={str(pair["values"]): int(pair["counts"]) for pair in how})
