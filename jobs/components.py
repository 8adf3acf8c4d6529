"""Components: one union-find over the forests and the exact copies; what belongs together goes into one bin."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation import schema
from curation.tables import Run
from graph.components import Components, pack
from graph.forest import Rows, singletons, unite
from jobs.stage import Item, Output

log = logging.getLogger(__name__)

ROWS_IN_MEMORY = 1 << 25
"""From this many rows on the parents lie on disk: 256 MB."""


def plan(run: Run, *, images_per_item: int, **_: object) -> list[Item]:
    """Return one item that produces every bin; their number depends on the number of images alone."""
    count = int(run.offsets("images")[-1])
    return [{"parts": list(range(max(1, -(-count // images_per_item))))}]


def work(run: Run, item: Item, *, images_per_item: int, giant_size: int) -> list[Output]:
    """Unite forests and exact copies, and pack the components into bins."""
    count = int(run.offsets("images")[-1])
    with tempfile.TemporaryDirectory() as folder:
        parent = singletons(count, Path(folder) / "parent" if count >= ROWS_IN_MEMORY else None)
        representative = _unite_all(run, parent)
        found = pack(parent, num_bins=len(item["parts"]), giant_size=giant_size)
        del parent
    if len(found.giants):
        log.warning("%d components have more than %d members; components.giant_size reports them", len(found.giants), giant_size)
    return [_output(part, found, *columns, representative) for part, columns in enumerate(found.bins())]


def _unite_all(run: Run, parent: Rows) -> Rows:
    """Unite all links in `parent`, and return the representative of every row that has another one as (2, n): row, which."""
    offsets = run.offsets("exact")
    links = []
    for part in range(run.num_parts("exact")):
        which = run.read_part("exact", part, ["representative"])["representative"].to_numpy()
        rows = np.arange(offsets[part], offsets[part + 1])
        links.append(np.stack([rows[which != rows], which[which != rows]]))
        unite(parent, *links[-1])
    for part in range(run.num_parts("forests")):
        forest = run.read_part("forests", part)
        unite(parent, forest["row"].to_numpy(), forest["root"].to_numpy())
    return np.concatenate([np.empty((2, 0), np.int64), *links], axis=1)


def _output(part: int, found: Components, rows: Rows, component: Rows, copies: Rows) -> Output:
    representative = rows.copy()
    place = np.searchsorted(copies[0], rows)
    copy = np.flatnonzero(place < copies.shape[1])
    copy = copy[copies[0][place[copy]] == rows[copy]]
    representative[copy] = copies[1][place[copy]]
    giant = int(np.isin(component, found.giants).sum())
    table = schema.conform(pa.table({"row": rows, "component": component, "representative": representative}), schema.COMPONENTS)
    return Output(part, table, counts={"ok": len(rows) - giant} | ({"giant": giant} if giant else {}))
