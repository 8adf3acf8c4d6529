"""Edges: the parts of NEIGHBOURS become one list of candidate pairs."""

from curation.tables import Run
from graph.edges import edges
from jobs.stage import Item, Output


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item: pairs are made unique over all parts."""
    return [{"parts": [0]}]


def work(run: Run, item: Item) -> list[Output]:
    """Return every candidate pair once, sorted."""
    return [Output(0, edges(neighbours=run.read("neighbours")))]
