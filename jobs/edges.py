"""Edges: every candidate pair once, from the lists of neighbours or from the pairs of a join."""

import pyarrow as pa

from curation.tables import Run
from graph.edges import edges
from graph.pairs import load_pairs, row_ranges
from graph.selfjoin import edge_rows
from jobs.base import adopted
from jobs.stage import Item, Output

PAIRS_PER_PART = 2_000_000
"""Edges per part of a join: 40 MB in memory."""


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item: pairs are made unique over all parts, those of a base's images aside."""
    return [{"parts": [adopted(run, "edges").parts]}]


def work(run: Run, item: Item) -> list[Output]:
    """Return every candidate pair once, sorted; with a base, those that the lists of new images name."""
    before = adopted(run, "edges").parts and adopted(run, "neighbours").parts
    lists = [run.read_part("neighbours", part) for part in range(before, run.num_parts("neighbours"))]
    first_row = int(run.offsets("neighbours")[before])
    return [Output(item["parts"][0], edges(neighbours=pa.concat_tables(lists), first_row=first_row))]


def plan_ranges(run: Run, **_: object) -> list[Item]:
    """Return one item per range of rows, with about as many pairs in each."""
    counted = [run.read_part("pairs", part) for part in range(run.num_parts("pairs"))]
    ranges = row_ranges(counted, pairs_per_part=PAIRS_PER_PART)
    return [{"parts": [number], "rows": list(rows)} for number, rows in enumerate(ranges)]


def merge(run: Run, item: Item) -> list[Output]:
    """Return the pairs of one range of rows, sorted, each once; the parts follow each other in row order."""
    (number,) = item["parts"]
    found = [load_pairs(run.folder("pairs"), part, *item["rows"]) for part in range(run.num_parts("pairs"))]
    return [Output(number, edge_rows(found))]
