"""Lists: every group of embedding parts is written in the order of the lists its rows are nearest to."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation import schema
from curation.tables import Run
from graph.join import single_list
from graph.lists import assigned, save, summary
from graph.quantiser import mean_of, quantiser_of
from graph.vectors import Rows, stored_vectors, usable
from jobs.adopt import adopted
from jobs.stage import Item, Output

BYTES_PER_NUMBER = 16
"""Memory of a group while it is made, per number of its vectors: float16 as read and as sorted, float32, products."""


def plan(run: Run, *, memory_mb: int, divided: bool = False, **_: object) -> list[Item]:
    """Return one item per group of consecutive parts of EMBEDDINGS that fits `memory_mb`.

    divided: nobody reads a single list, so there is nothing to sort where there is but one.
    """
    if divided and int((run.read("centroids", ["level"])["level"].to_numpy() == 1).sum()) == 1:
        return [{"parts": [adopted(run, "lists").parts], "embeddings": [0, 0]}]
    offsets = run.offsets("embeddings")
    dimension = run.read_part("embeddings", 0, ["embedding"]).schema.field("embedding").type.list_size
    most = max(1, (memory_mb << 20) // (BYTES_PER_NUMBER * dimension))
    groups: list[Item] = []
    before = adopted(run, "lists").parts
    first = adopted(run, "embeddings").parts if before else 0
    for part in range(first + 1, len(offsets)):
        if part == len(offsets) - 1 or offsets[part + 1] - offsets[first] > most:
            groups.append({"parts": [before + len(groups)], "embeddings": [first, part]})
            first = part
    return groups


def work(run: Run, item: Item, *, nprobe: int, margin: float, descend: int, **_: object) -> list[Output]:
    """Assign the rows of one group to lists and write them in list order."""
    (number,) = item["parts"]
    if item["embeddings"] == [0, 0]:
        return [Output(number, schema.LISTS.empty_table())]
    pieces = [vectors_of(run, part) for part in range(*item["embeddings"])]
    vectors, rows = np.concatenate([v for v, _ in pieces]), np.concatenate([r for _, r in pieces])
    del pieces
    quantiser, mean = quantiser_of(run.read("centroids")), mean_of(run.read("centroids"))
    if quantiser.num_lists > 1:
        group = assigned(
            vectors=vectors, rows=rows, quantiser=quantiser, nprobe=nprobe, margin=margin, descend=descend, mean=mean
        )
    else:
        group = single_list(vectors, rows)
    return [Output(number, summary(group), files=save(group, scratch(run, "lists"), number))]


def vectors_of(run: Run, part: int) -> tuple[NDArray[np.floating], Rows]:
    """Return the stored vectors of one part that take part in the join, and their global rows.

    Left out: images that failed, vectors without a direction, and, once EXACT knows them, exact copies of another image.
    """
    stored, present = stored_vectors(run.read_part("embeddings", part, ["embedding"]))
    rows = np.flatnonzero(present) + int(run.offsets("embeddings")[part])
    keep = usable(stored)
    if run.has("exact"):
        keep &= run.read_part("exact", part, ["representative"]).column("representative").to_numpy()[present] == rows
    return stored[keep], rows[keep].astype(np.int64)


def scratch(run: Run, table: str) -> Path:
    """Return a new folder on the run's own disk for files that are committed by renaming."""
    folder = run.folder(table) / "_attempts"
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=folder))
