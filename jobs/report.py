"""The report: one page from the tables as they are."""

import pyarrow as pa

from curation.concept_exhibit import central
from curation.report import render
from curation.tables import Run
from graph.concept_picture import taxonomy_picture
from graph.showcase import copies
from jobs.stage import Item, Output


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item."""
    return [{"parts": [0]}]


def page(run: Run, *, losses: pa.Table | None = None, pair_losses: pa.Table | None = None) -> str:
    """Return the page, with what the graph has to show of copies; losses, pair_losses: see `curation.report.render`."""
    centre = central(run)
    picture = None if centre is None else taxonomy_picture(run.read("taxonomy"), centre)
    return render(run, copies=copies(run), neighbourhood=picture, losses=losses, pair_losses=pair_losses)


def work(run: Run, item: Item) -> list[Output]:
    """Write report.html at the top of the run folder."""
    run.store.put("report.html", page(run).encode())
    return [Output(0, None, published=("report.html",), counts={"ok": 1})]
