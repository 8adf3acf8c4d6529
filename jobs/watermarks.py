"""Watermarks: strings that are on many images of a source, found over the whole collection."""

from typing import Any

from captioning.watermarks import watermarks
from curation.tables import Run
from jobs.stage import Item, Output
from jobs.whole import one_item, over_all


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item, **limits: Any) -> list[Output]:
    """Mark the lines that are watermarks."""
    return over_all(run, ("images", "ocr", "duplicates"), watermarks, **limits)
