"""Duplicates: every group's keeper, and for every other member the evidence against that keeper."""

from collections.abc import Sequence

import pyarrow as pa

from curation.tables import Run
from graph.duplicates import duplicates
from graph.knn import embedding_matrix
from jobs.stage import Item, Output
from jobs.whole import aligned_outputs, one_item


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item, *, keeper: Sequence[str], source_priority: Sequence[str]) -> list[Output]:
    """Name the keepers."""
    found = duplicates(
        images=run.read("images"),
        metrics=run.read("metrics"),
        verdicts=pa.concat_tables([run.read("verdicts"), run.read("confirmations")]),
        communities=run.read("communities"),
        vectors=embedding_matrix(run.read("embeddings", ["embedding"])),
        pixel_hashes=run.read("keypoints", ["pixel_hash"]).column("pixel_hash").to_pylist(),
        keeper=tuple(keeper),
        source_priority=tuple(source_priority),
    )
    return aligned_outputs(run, found)
