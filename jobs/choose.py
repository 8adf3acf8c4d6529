"""Selection: rules and copies are judged row by row, weights need the whole collection, so it runs as one item."""

from typing import Any

from curation.remedies import checked_remedies
from curation.selection import select
from curation.tables import Run
from graph.placeholders import by_image
from jobs.stage import Item, Output
from jobs.whole import one_item, over_all


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item, *, exclude: str | None = None, exclude_sha256: str = "", **parameters: Any) -> list[Output]:
    """Decide for every image; exclude: a file of remedies, whose drops go before any rule is asked."""
    if exclude is not None:
        parameters["excluded"] = checked_remedies(exclude, exclude_sha256).drops
    named = by_image(run.read("placeholders"), num_images=int(run.offsets("images")[-1]))
    tables = (
        "images",
        "metrics",
        "scores",
        "ocr",
        "tags",
        "duplicates",
        "watermarks",
        *(("hierarchy",) if run.has("hierarchy") else ()),
    )
    return over_all(run, tables, select, placeholders=named, **parameters)
