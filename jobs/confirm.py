"""Comparing the members of a group that no candidate list brought together, so that a copy meets its keeper itself."""

from typing import Any

import numpy as np
import pyarrow as pa

from curation.tables import Run
from graph.edges import edge_table
from graph.increment import touched
from jobs import bins
from jobs.adopt import adopted, base_rows
from jobs.edges import cosines
from jobs.stage import Item, Output
from jobs.verify import blocks, compare


def plan(run: Run, *, pairs_per_item: int, **_: object) -> list[Item]:
    """Return items of the pairs inside communities that have no verdict, bin by bin; at least one, so that there is a table."""
    items: list[Item] = []
    before = adopted(run, "confirmations").parts
    for number in range(run.num_parts("partitions")):
        pairs = _pairs(run, number).num_rows
        if pairs:
            items += [block | {"bin": number} for block in blocks(pairs, pairs_per_item, first_part=before + len(items))]
    return items or [{"parts": [before], "bin": 0, "begin": 0, "end": 0}]


def work(run: Run, item: Item, *, pairs_per_item: int, **limits: Any) -> list[Output]:
    """Compare the pairs of one block."""
    pairs = _pairs(run, item["bin"]).slice(item["begin"], item["end"] - item["begin"])
    a, b = pairs["row_a"].to_numpy(), pairs["row_b"].to_numpy()
    looked_at = edge_table(row_a=a, row_b=b, similarity=cosines(run, a, b))
    return [Output(item["parts"][0], compare(run, looked_at, **limits))]


def _pairs(run: Run, number: int) -> pa.Table:
    """Return the pairs of one bin; of a base, which has compared the members of what no new image touches, the others."""
    pairs = bins.load(run, "unverified", number, table="partitions")
    before = adopted(run, "confirmations").parts
    if not before or not pairs.num_rows:
        return pairs
    members = bins.load(run, "members", number)
    rows = members["row"].to_numpy()
    look = touched(members["component"].to_numpy(), base_rows=base_rows(run), rows=rows)
    a, b = pairs["row_a"].to_numpy(), pairs["row_b"].to_numpy()
    known = [run.read_part("confirmations", part, ["row_a", "row_b"]) for part in range(before)]
    count = int(run.offsets("images")[-1])
    compared = np.concatenate([table["row_a"].to_numpy() * count + table["row_b"].to_numpy() for table in known])
    return pairs.filter(pa.array(look[bins.places(rows, a)] & ~np.isin(a * count + b, compared)))
