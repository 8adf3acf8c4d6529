"""The second look: candidate pairs in blocks, each with the keypoints of the images it names."""

from typing import Any

import numpy as np
import pyarrow as pa

from curation.tables import Run
from graph.verify import verify
from jobs.stage import Item, Output


def plan(run: Run, *, pairs_per_item: int, **_: object) -> list[Item]:
    """Return one item per block of EDGES; at least one, so that an empty graph has an empty table."""
    return blocks(run.read("edges", ["row_a"]).num_rows, pairs_per_item)


def work(run: Run, item: Item, *, pairs_per_item: int, **limits: Any) -> list[Output]:
    """Compare the pairs of one block."""
    pairs = run.read("edges").slice(item["begin"], item["end"] - item["begin"])
    return [Output(item["parts"][0], compare(run, pairs, **limits))]


def blocks(num_pairs: int, pairs_per_item: int) -> list[Item]:
    """Return items that cover `num_pairs` pairs."""
    begins = range(0, max(num_pairs, 1), pairs_per_item)
    return [{"parts": [n], "begin": begin, "end": min(begin + pairs_per_item, num_pairs)} for n, begin in enumerate(begins)]


def compare(run: Run, pairs: pa.Table, **limits: Any) -> pa.Table:
    """Return VERDICTS of `pairs`, reading only the keypoints they need."""
    rows = np.unique(np.concatenate([pairs.column("row_a").to_numpy(), pairs.column("row_b").to_numpy()]))
    return verify(pairs=pairs, keypoints=run.take("keypoints", rows), rows=rows, **limits)
