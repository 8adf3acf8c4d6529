"""Stages that look at the whole collection at once: one item, whose result is cut back into row-aligned parts."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from curation.spill import Spill
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


def by_part(run: Run, dealt: Spill, *, rows_per_bin: int) -> Iterator[tuple[int, int, int, pa.Table]]:
    """Yield, for every part, its number, its first row and the one behind its last, and the rows of `dealt` that lie in it.

    dealt: rows with a column `row`, dealt by row // rows_per_bin. Two bins are held at a time.
    """
    offsets = run.offsets("images").tolist()
    held: dict[int, pa.Table] = {}
    for part, (begin, end) in enumerate(itertools.pairwise(offsets)):
        wanted = range(begin // rows_per_bin, max(begin, end - 1) // rows_per_bin + 1)
        held = {number: held[number] if number in held else dealt.read(number).sort_by("row") for number in wanted}
        pieces = []
        for table in held.values():
            first, last = np.searchsorted(table["row"].to_numpy(), [begin, end])
            pieces.append(table.slice(first, last - first))
        yield part, begin, end, pa.concat_tables(pieces).combine_chunks()


def over_all(run: Run, tables: tuple[str, ...], function: Callable[..., pa.Table], **parameters: object) -> list[Output]:
    """Call a global stage with whole tables by name and cut its result into parts."""
    return aligned_outputs(run, function(**{table: run.read(table) for table in tables}, **parameters))
