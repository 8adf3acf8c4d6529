"""What became of every image, all things considered: SELECTION, and the budget and weights of BALANCE once it is there."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.balance import REASON
from curation.tables import Run


def decisions(run: Run, rows: NDArray[np.int64] | None = None) -> pa.Table:
    """Return SELECTION with a column `weight` (mean 1 over what is kept), of all images or of these global rows.

    An image that the selection kept and the budget left out is dropped, its reason is "budget". Before BALANCE every kept image
    weighs 1.
    """
    names = ["keep", "weight", "detail"]
    chosen = run.read("selection") if rows is None else run.take("selection", rows)
    if not run.has("balance"):
        return chosen.append_column("weight", chosen["keep"].cast(pa.float32()))
    balanced = run.read("balance", names) if rows is None else run.take("balance", rows, names)
    return overlaid(chosen, balanced)


def overlaid(selection: pa.Table, balance: pa.Table) -> pa.Table:
    """Return SELECTION with what BALANCE, row-aligned with it, decided after it, and the column `weight`."""
    out = pc.and_(selection["keep"], pc.invert(balance["keep"]))
    changed = {
        "keep": balance["keep"],
        "status": pc.if_else(out, "dropped", selection["status"]),
        "reason": pc.if_else(out, REASON, selection["reason"]),
        "detail": pc.if_else(out, balance["detail"], selection["detail"]),
        "bucket": pc.if_else(out, pa.scalar(None, pa.string()), selection["bucket"]),
    }
    columns = {name: changed.get(name, selection[name]) for name in selection.column_names}
    return pa.table(columns | {"weight": balance["weight"]})
