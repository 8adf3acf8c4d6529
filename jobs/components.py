"""Components: one union-find over the forests and the exact copies; what belongs together goes into one bin.

With the components every bin gets what later stages ask of its images, and the edges or verdicts between them (jobs/bins.py).
Arrays over all rows lie on disk once the collection is large, so memory is that of a buffer and one bin.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import schema
from curation.spill import BUFFER_BYTES, Spill, mapped_array, release
from curation.tables import Run
from graph.components import BLOCK_ROWS, Packed, pack
from graph.forest import Rows, roots, singletons, unite
from graph.vectors import stored_vectors
from jobs.adopt import base_run
from jobs.bins import VECTOR, attributes, known_columns, save
from jobs.scratch import scratch
from jobs.stage import Item, Output

log = logging.getLogger(__name__)

ROWS_IN_MEMORY = 1 << 22
"""From this many rows on the arrays over all rows lie on disk: 72 MB."""


def plan(run: Run, *, images_per_item: int, **_: object) -> list[Item]:
    """Return one item that produces every bin; their number depends on the number of images alone."""
    count = int(run.offsets("images")[-1])
    return [{"parts": list(range(max(1, -(-count // images_per_item))))}]


def _dealt(
    run: Run,
    item: Item,
    *,
    links: str,
    images_per_item: int,
    giant_size: int,
    rows_in_memory: int = ROWS_IN_MEMORY,
    buffer_bytes: int = BUFFER_BYTES,
) -> Iterator[Output]:
    """Unite forests and exact copies, and deal their images and the table `links` into bins."""
    num_bins = len(item["parts"])
    count = int(run.offsets("images")[-1])
    folder = scratch(run, "components", "arrays")
    folder.mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        on_disk = folder if count >= rows_in_memory else None
        parent = singletons(count, None if on_disk is None else folder / "parent")
        apart = _unite_all(run, parent, on_disk)
        found = pack(parent, num_bins=num_bins, giant_size=giant_size, folder=on_disk, block_rows=min(BLOCK_ROWS, rows_in_memory))
        if len(found.giants):
            log.warning(
                "%d components have more than %d members; components.giant_size reports them", len(found.giants), giant_size
            )
        columns = known_columns(run)
        shape = _members(run, 0, columns, parent, found, apart)[0].schema
        members = stack.enter_context(Spill(folder / "members", num_bins=num_bins, shape=shape, buffer_bytes=buffer_bytes))
        for part in range(run.num_parts("images")):
            members.add(*_members(run, part, columns, parent, found, apart))
            _rest(parent, found)
        names = _inside(run, links, 0, parent, found)[0].schema
        between = stack.enter_context(Spill(folder / "links", num_bins=num_bins, shape=names, buffer_bytes=buffer_bytes))
        for part in range(run.num_parts(links)):
            between.add(*_inside(run, links, part, parent, found))
            _rest(parent, found)
        for number in range(num_bins):
            yield _output(run, number, found, members.read(number), between.read(number))


work = partial(_dealt, links="edges")
work_verdicts = partial(_dealt, links="verdicts")


def _unite_all(run: Run, parent: Rows, folder: Path | None) -> NDArray[np.bool_]:
    """Unite all links in `parent`; returns which representatives stand for files of other bytes, (N,)."""
    offsets = run.offsets("exact")
    apart = np.zeros(len(parent), bool) if folder is None else mapped_array(folder / "apart", len(parent), np.bool_)
    for part in range(run.num_parts("exact")):
        found = run.read_part("exact", part, ["representative", "how"])
        which = found["representative"].to_numpy()
        rows = np.arange(offsets[part], offsets[part + 1])
        unite(parent, rows[which != rows], which[which != rows])
        apart[which[pc.fill_null(pc.equal(found["how"], "same_pixels"), False).to_numpy()]] = True
        release(parent)
    for part in range(run.num_parts("forests")):
        forest = run.read_part("forests", part)
        unite(parent, forest["row"].to_numpy(), forest["root"].to_numpy())
        release(parent)
    _unite_known(run, parent)
    return apart


def _unite_known(run: Run, parent: Rows) -> None:
    """Unite what a base has dropped with its keepers: these decisions may stand though no verdict of this run says so."""
    base, begin = base_run(run), 0
    if base is None:
        return
    for part in range(base.num_parts("duplicates")):
        keeper = base.read_part("duplicates", part, ["keeper_row"])["keeper_row"]
        dropped = np.flatnonzero(pc.is_valid(keeper).to_numpy())
        unite(parent, begin + dropped, keeper.take(pa.array(dropped)).to_numpy())
        begin += len(keeper)
        release(parent)


def _members(
    run: Run, part: int, wanted: Mapping[str, list[str]], parent: Rows, found: Packed, apart: NDArray[np.bool_]
) -> tuple[pa.Table, Rows]:
    """Return the images of a part that are joined to others, with what is known of them, and their bins."""
    begin, end = run.offsets("images")[part : part + 2]
    bins = np.array(found.bins[begin:end], np.int64)
    joined = np.flatnonzero(bins >= 0)
    representative = run.read_part("exact", part, ["representative"])["representative"].to_numpy()
    named = attributes(run, part, wanted).take(pa.array(joined))
    columns = {
        "row": pa.array(joined + begin),
        "component": pa.array(roots(parent, joined + begin)),
        "representative": pa.array(representative[joined]),
        VECTOR: _vectors(run, part, joined, np.array(apart[representative[joined]])),
    }
    return pa.table(columns | {name: named[name] for name in named.column_names}), bins[joined]


def _vectors(run: Run, part: int, joined: Rows, wanted: NDArray[np.bool_]) -> pa.Array:
    """Return the stored vectors of the rows that are wanted, as bytes; null for others and where an image has none."""
    if not wanted.any():
        return pa.nulls(len(joined), pa.binary())
    stored, present = stored_vectors(run.read_part("embeddings", part, ["embedding"]))
    place = np.cumsum(present) - 1
    return pa.array(
        [stored[place[row]].tobytes() if use and present[row] else None for row, use in zip(joined, wanted, strict=True)],
        pa.binary(),
    )


def _inside(run: Run, links: str, part: int, parent: Rows, found: Packed) -> tuple[pa.Table, Rows]:
    """Return the edges or verdicts of a part whose ends are in one component, and their bins."""
    rows = run.read_part(links, part).replace_schema_metadata(None)
    a, b = rows["row_a"].to_numpy(), rows["row_b"].to_numpy()
    inside = np.flatnonzero(roots(parent, a) == roots(parent, b))
    return rows.take(pa.array(inside)), np.array(found.bins[a[inside]], np.int64)


def _rest(parent: Rows, found: Packed) -> None:
    for array in (parent, found.bins, found.size):
        release(array)


def _output(run: Run, number: int, found: Packed, members: pa.Table, links: pa.Table) -> Output:
    table = members.select(["row", "component", "representative"]).sort_by([("component", "ascending"), ("row", "ascending")])
    giant = int(np.isin(table["component"].to_numpy(), found.giants).sum())
    return Output(
        number,
        schema.conform(table, schema.COMPONENTS),
        files=save(run, "members", number, members) | save(run, "links", number, links),
        counts={"ok": len(table) - giant} | ({"giant": giant} if giant else {}),
    )
