"""What is known of the images of one bin, in two files beside COMPONENTS: its members, and the links between them.

The stages behind the graph look at a component at a time, and the members of a component are anywhere in the collection. So
`components` deals, in one pass over the tables, everything these stages need into the bins: what was read once in order need
not be gathered from all parts for every bin again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.tables import Run
from graph.keeper import COLUMNS, needs, preference, refuse_unmeasured
from jobs.scratch import scratch

Rows = NDArray[np.int64]

VECTOR = "vector"
"""Column of members: the stored float16 numbers of images that were told apart from an exact copy by their bytes alone."""


def save(run: Run, name: str, number: int, rows: pa.Table, *, table: str = "components") -> dict[str, Path]:
    """Write rows beside COMPONENTS, or another table with a part per bin; returns the file by the name it is to have."""
    path = scratch(run, table, f"{name}.arrow")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())
    return {f"{name}-{number:05d}.arrow": path}


def load(run: Run, name: str, number: int, *, table: str = "components") -> pa.Table:
    """Return the members (sorted by row) or the links of one bin, or what else was saved, mapped from disk."""
    with pa.memory_map(str(run.folder(table) / f"{name}-{number:05d}.arrow")) as file:
        return pa.ipc.open_file(file).read_all()


def known_columns(run: Run) -> dict[str, list[str]]:
    """Return the columns of graph.keeper.COLUMNS that the run has, by table."""
    found = {}
    for table, wanted in COLUMNS.items():
        if run.num_parts(table):
            there = run.read_part(table, 0).column_names
            found[table] = [name for name in wanted if name in there]
    return found


def attributes(run: Run, part: int, columns: Mapping[str, list[str]]) -> pa.Table:
    """Return `columns` of one part, those of IMAGES under their own names, others as table.column."""
    named: dict[str, pa.ChunkedArray] = {}
    for table, wanted in columns.items():
        found = run.read_part(table, part, wanted)
        named |= {name if table == "images" else f"{table}.{name}": found[name] for name in wanted}
    return pa.table(named)


def order(members: pa.Table, *, keeper: Sequence[str], source_priority: Sequence[str], groups: Rows) -> Rows:
    """Return the place of every member in the order of preference; groups: equal numbers for those that may be copies."""
    tables = {table: _of(members, table) for table in ("metrics", "scores")}
    return preference(images=members, keeper=keeper, source_priority=source_priority, groups=groups, some=True, **tables)


def _of(members: pa.Table, table: str) -> pa.Table | None:
    names = [name for name in members.column_names if name.startswith(f"{table}.")]
    return members.select(names).rename_columns([name.partition(".")[2] for name in names]) if names else None


def check_keeper(run: Run, keeper: Sequence[str]) -> None:
    """Raise ConfigError for a criterion that is unknown, or whose column holds nothing for any image of the run."""
    for name, table, column in needs(keeper):
        parts = range(run.num_parts(table))
        if not parts or column not in run.read_part(table, 0).column_names:
            continue  # `preference` names what is missing
        found = (run.read_part(table, part, [column]) for part in parts)
        if run.offsets(table)[-1] and all(rows[column].null_count == rows.num_rows for rows in found):
            raise refuse_unmeasured(name, table, column)


def places(ascending: Rows, rows: Rows) -> Rows:
    """Return where in an ascending array every one of `rows` is; all of them must be there."""
    at = np.searchsorted(ascending, rows)
    assert not len(rows) or np.array_equal(ascending[np.minimum(at, len(ascending) - 1)], rows)
    return np.asarray(at, np.int64)
