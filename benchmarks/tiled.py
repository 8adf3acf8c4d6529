"""A small run's tables many times over, so that stages which look at the whole collection show what an image costs them.

On a hundred images such a stage takes as long as it takes to start. Every copy of an image gets an id and a pixel hash of its
own and refers to images of its own copy, so a collection tiled k times has k times the groups and none larger.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.tables import Cost, Run

Rows = NDArray[np.int64]

REFERENCES = ("row", "row_a", "row_b", "rows", "representative", "keeper_row", "component", "community", "root")
"""Columns that hold global rows."""
NAMES = ("id", "pixel_hash")
"""Columns whose equality means something."""


def tile(run: Run, target: Run, tables: Sequence[str], *, times: int) -> None:
    """Write `tables` of `run` to `target`, every part `times` over; a table of pairs is sorted again."""
    offsets = run.offsets("images")
    for table in tables:
        for part in range(run.num_parts(table)):
            rows = run.read_part(table, part)
            copies = [_copied(rows, copy, offsets, times) for copy in range(times)]
            tiled = pa.concat_tables(copies).combine_chunks()
            if "row_a" in tiled.column_names:
                tiled = tiled.sort_by([("row_a", "ascending"), ("row_b", "ascending")])
            target.commit_part(table, part, tiled, fingerprint="tiled", cost=Cost(0.0, 0.0))
        target.finish(table, {"parameters": (run.manifest(table) or {}).get("parameters", {})})


def _copied(rows: pa.Table, copy: int, offsets: Rows, times: int) -> pa.Table:
    for place, name in enumerate(rows.column_names):
        column = rows.column(name).combine_chunks()
        if name == "pdq_dihedral":
            column = _turned_bits(column, copy)
        elif name in NAMES:
            column = pc.binary_replace_slice(column, 0, 8, f"{copy:08x}")
        elif name in REFERENCES and pa.types.is_list(column.type):
            column = pa.ListArray.from_arrays(column.offsets, pa.array(_moved(column.flatten().to_numpy(), copy, offsets, times)))
        elif name in REFERENCES and pa.types.is_int64(column.type):
            empty = column.is_null().to_numpy(zero_copy_only=False)
            moved = _moved(np.asarray(column.fill_null(0).to_numpy()), copy, offsets, times)
            column = pa.array(moved, pa.int64(), mask=empty)
        rows = rows.set_column(place, rows.schema.field(name), column)
    return rows


def _turned_bits(hashes: pa.ListArray, copy: int) -> pa.ListArray:
    """Return hex hashes with the bits of one random mask turned over: near inside a copy, unrelated between copies."""
    mask = int.from_bytes(np.random.default_rng(copy).bytes(32)) if copy else 0
    turned = [f"{int(text, 16) ^ mask:064x}" for text in hashes.flatten().to_pylist()]
    return pa.ListArray.from_arrays(hashes.offsets, pa.array(turned), mask=pc.is_null(hashes))


def _moved(rows: Rows, copy: int, offsets: Rows, times: int) -> Rows:
    """Return the global rows that copy number `copy` of `rows` has."""
    part = np.searchsorted(offsets, rows, side="right") - 1
    length = np.diff(offsets)[part] if len(rows) else rows
    return np.asarray(times * offsets[part] + copy * length + rows - offsets[part])
