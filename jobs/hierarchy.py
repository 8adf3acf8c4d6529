"""Hierarchy: the k-NN graph of the whole collection as semantic levels."""

from collections.abc import Sequence

from curation.tables import Run
from graph.hierarchy import hierarchy
from jobs.stage import Item, Output
from jobs.whole import aligned_outputs, one_item


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item, *, resolutions: Sequence[float]) -> list[Output]:
    """Name every image's community at every level."""
    found = hierarchy(
        neighbours=run.read("neighbours"),
        representative=run.read("exact", ["representative"])["representative"].to_numpy(),
        resolutions=resolutions,
    )
    return aligned_outputs(run, found)
