"""Lists: every group of embedding parts is written in the order of the lists its rows are nearest to."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema
from curation.tables import Run
from graph.join import single_list
from graph.lists import assigned, save, summary
from graph.quantiser import Quantiser, mean_of, quantiser_of
from graph.scan_gpu import chosen_device
from graph.vectors import Floats, Rows, stored_vectors, usable
from jobs.adopt import adopted
from jobs.stage import Item, Output

BYTES_PER_NUMBER = 8
"""Memory of a group while it is made, per number of its vectors: float16 as read, joined and sorted, and what is around it."""


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


class Assigner:
    """Writes the rows of one group in the order of their lists; holds the centroids."""

    def __init__(self, *, nprobe: int, margin: float, descend: int, device: str = "cpu", **_: object) -> None:
        self.nprobe, self.margin, self.descend, self.device = nprobe, margin, descend, chosen_device(device)
        self._centroids: tuple[Quantiser, Floats | None] | None = None

    def __call__(self, run: Run, item: Item) -> list[Output]:
        """Assign the rows of one group to lists and write them in list order."""
        (number,) = item["parts"]
        if item["embeddings"] == [0, 0]:
            return [Output(number, schema.LISTS.empty_table())]
        vectors, rows = _group(run, *item["embeddings"])
        if self._centroids is None:
            table = run.read("centroids")
            self._centroids = quantiser_of(table), mean_of(table)
        quantiser, mean = self._centroids
        if quantiser.num_lists > 1:
            how: dict[str, Any] = {"nprobe": self.nprobe, "descend": self.descend, "device": self.device}
            group = assigned(vectors=vectors, rows=rows, quantiser=quantiser, margin=self.margin, mean=mean, **how)
        else:
            group = single_list(vectors, rows)
        return [Output(number, summary(group), files=save(group, scratch(run, "lists"), number))]


def _group(run: Run, first: int, last: int) -> tuple[NDArray[np.floating], Rows]:
    """Return the vectors and rows of `vectors_of` of some consecutive parts, one part of them held twice."""
    offsets = run.offsets("embeddings")
    vectors, rows = vectors_of(run, first)
    count = int(offsets[last] - offsets[first])
    joined, numbers, end = np.empty((count, vectors.shape[1]), vectors.dtype), np.empty(count, np.int64), 0
    for part in range(first, last):
        if part > first:
            vectors, rows = vectors_of(run, part)
        joined[end : end + len(rows)], numbers[end : end + len(rows)] = vectors, rows
        end += len(rows)
    return joined[:end], numbers[:end]


def vectors_of(run: Run, part: int) -> tuple[NDArray[np.floating], Rows]:
    """Return the stored vectors of one part that take part in the join, and their global rows.

    Left out: images that failed, vectors without a direction, and, once EXACT knows them, exact copies of another image.
    """
    return vectors_in(run, part, run.read_part("embeddings", part, ["embedding"]))


def vectors_in(run: Run, part: int, embeddings: pa.Table) -> tuple[NDArray[np.floating], Rows]:
    """Return the same of a part of EMBEDDINGS that has been read."""
    stored, present = stored_vectors(embeddings)
    rows = np.flatnonzero(present) + int(run.offsets("embeddings")[part])
    keep = usable(stored)
    if run.has("exact"):
        keep &= run.read_part("exact", part, ["representative"]).column("representative").to_numpy()[present] == rows
    return (stored, rows) if keep.all() else (stored[keep], rows[keep])


def scratch(run: Run, table: str) -> Path:
    """Return a new folder on the run's own disk for files that are committed by renaming."""
    folder = run.folder(table) / "_attempts"
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=folder))
