"""Placeholders: groups of copies that stand where other pictures should."""

from typing import Any

from curation.tables import Run
from graph.placeholders import placeholders
from jobs.stage import Item, Output


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item: a group is large or small beside the whole collection."""
    return [{"parts": [0]}]


def work(run: Run, item: Item, **limits: Any) -> list[Output]:
    """Name the placeholders."""
    found = placeholders(
        images=run.read("images", ["id", "uri", "group", "caption"]),
        duplicates=run.read("duplicates", ["keeper_row"]),
        metrics=run.read("metrics", ["flatness"]),
        ocr=run.read("ocr", ["lines"]),
        **limits,
    )
    return [Output(0, found)]
