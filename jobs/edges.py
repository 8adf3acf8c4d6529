"""Edges: every candidate pair once, from the lists of neighbours or from the pairs of a join."""

from curation.tables import Run
from graph.edges import edges
from graph.pairs import load_pairs, row_ranges
from graph.selfjoin import edge_rows
from jobs.stage import Item, Output

PAIRS_PER_PART = 2_000_000
"""Edges per part of a join: 40 MB in memory."""


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item: pairs are made unique over all parts."""
    return [{"parts": [0]}]


def work(run: Run, item: Item) -> list[Output]:
    """Return every candidate pair once, sorted."""
    return [Output(0, edges(neighbours=run.read("neighbours")))]


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
