"""Selection: rules and copies are judged row by row, weights need the whole collection, so it runs as one item."""

from typing import Any

from curation.selection import select
from curation.tables import Run
from jobs.stage import Item, Output
from jobs.whole import one_item, over_all


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item, **parameters: Any) -> list[Output]:
    """Decide for every image."""
    return over_all(run, ("images", "metrics", "scores", "ocr", "tags", "duplicates"), select, **parameters)
