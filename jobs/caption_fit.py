"""Captions beside those of lookalikes: which belong to other pictures. Asked for by a rule of the selection that names it."""

import numpy as np
import pyarrow as pa

from curation.schema import CAPTION_FIT, conform
from curation.tables import Run
from graph.caption_rank import caption_ranks
from graph.misplaced import misplaced
from jobs.stage import Item, Output
from jobs.whole import aligned_outputs, one_item


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part: a caption is compared with those of the whole collection."""
    return one_item(run)


def work(run: Run, item: Item, **_: object) -> list[Output]:
    """Rank every caption by how well the captions of its image's neighbours bear it out, and judge it by the ranks of all."""
    images = run.read("images", ["id", "caption"])
    ranks = caption_ranks(images["caption"].to_pylist(), run.read("neighbours", ["rows"])["rows"].to_pylist())
    fit = {"id": images["id"], "rank": _known(ranks.mean(axis=1)), "misplaced": _known(misplaced(ranks))}
    return aligned_outputs(run, conform(pa.table(fit), CAPTION_FIT))


def _known(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float32(), from_pandas=True)  # nan is null
