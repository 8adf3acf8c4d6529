"""Stages that look at the whole collection at once: one item, whose result is cut back into row-aligned parts."""

from collections.abc import Callable

import pyarrow as pa

from curation.tables import Run
from jobs.stage import Item, Output


def one_item(run: Run) -> list[Item]:
    """Return a single item that produces every row-aligned part."""
    return [{"parts": list(range(run.num_parts("images")))}]


def aligned_outputs(run: Run, rows: pa.Table) -> list[Output]:
    """Cut a table of all rows at the part borders of IMAGES; raises ValueError when it has another number of rows."""
    offsets = run.offsets("images")
    if rows.num_rows != offsets[-1]:
        raise ValueError(f"the stage returned {rows.num_rows} rows for {offsets[-1]} images")
    return [
        Output(part, rows.slice(int(offsets[part]), int(offsets[part + 1] - offsets[part])).combine_chunks())
        for part in range(len(offsets) - 1)
    ]


def over_all(run: Run, tables: tuple[str, ...], function: Callable[..., pa.Table], **parameters: object) -> list[Output]:
    """Call a global stage with whole tables by name and cut its result into parts."""
    return aligned_outputs(run, function(**{table: run.read(table) for table in tables}, **parameters))
