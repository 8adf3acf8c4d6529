"""Exact copies: one look at the ids and pixel hashes of the whole collection."""

import dataclasses

import pyarrow.compute as pc

from curation.tables import Run
from graph.exact import exact
from jobs.stage import Item, Output
from jobs.whole import aligned_outputs, one_item


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item) -> list[Output]:
    """Name the representatives, and count the copies by kind."""
    found = exact(images=run.read("images", ["id", "error"]), metrics=run.read("metrics", ["id", "pixel_hash"]))
    return [_counted(output) for output in aligned_outputs(run, found)]


def _counted(output: Output) -> Output:
    assert output.rows is not None
    how = pc.value_counts(pc.fill_null(output.rows["how"], "ok").combine_chunks()).to_pylist()
    return dataclasses.replace(output, counts={str(pair["values"]): int(pair["counts"]) for pair in how})
