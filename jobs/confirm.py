"""Comparing the members of a group that no candidate list brought together, so that a copy meets its keeper itself."""

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from curation.tables import Run
from graph.edges import unverified
from graph.increment import apart, touched
from jobs.adopt import adopted, base_rows
from jobs.edges import cosines
from jobs.stage import Item, Output
from jobs.verify import blocks, compare


def plan(run: Run, *, pairs_per_item: int, **_: object) -> list[Item]:
    """Return one item per block of pairs inside communities that have no verdict."""
    return blocks(_pairs(run).num_rows, pairs_per_item, first_part=adopted(run, "confirmations").parts)


def work(run: Run, item: Item, *, pairs_per_item: int, **limits: Any) -> list[Output]:
    """Compare the pairs of one block."""
    pairs = _pairs(run).slice(item["begin"], item["end"] - item["begin"])
    return [Output(item["parts"][0], compare(run, pairs, **limits))]


def _pairs(run: Run) -> pa.Table:
    before = adopted(run, "confirmations").parts
    known = [run.read("verdicts")] + [run.read_part("confirmations", part) for part in range(before)]
    communities = run.read("communities", ["component", "community"])
    representative = run.read("exact", ["representative"])["representative"].to_numpy()
    look = representative == np.arange(len(representative))  # exact copies need no second look
    if before:  # the base has compared the members of what no new image touches
        look &= touched(communities["component"].to_numpy(), base_rows=base_rows(run))
    communities = pa.table({"community": apart(communities["community"].to_numpy(), look)})
    return unverified(verdicts=pa.concat_tables(known), communities=communities, cosines=partial(cosines, run))
