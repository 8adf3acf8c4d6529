"""k-NN: neighbours in the order of the images, from the lists of `nearest`, or from one index that every worker holds.

Engine ivf has compared everything list by list by now, and what its tasks found is put in order here. The engines exact and
faiss hold all vectors in every worker: they are for collections that fit.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np

from curation.tables import Run
from graph.knn import Engine, Index, build_index, embedding_matrix, knn
from graph.nearest import load_nearest, neighbour_table
from jobs.adopt import adopted
from jobs.stage import Item, Output

ORDERED_ROWS = 1 << 20
"""Images whose neighbours one task puts in order: 300 MB at 20 neighbours."""


def plan(run: Run, *, ordered_rows: int = ORDERED_ROWS, **_: object) -> list[Item]:
    """Return one item per part; where lists have been compared, one per group of parts, which reads the files of all blocks."""
    parts = range(run.num_parts("images"))
    if not _divided(run):
        return [{"parts": [part]} for part in parts]
    offsets = run.offsets("images")
    first = adopted(run, "neighbours").parts
    groups = [list(some) for _, some in groupby(parts[first:], lambda part: (offsets[part] - offsets[first]) // ordered_rows)]
    return [{"parts": [part]} for part in parts[:first]] + [{"parts": some} for some in groups]


def _divided(run: Run) -> bool:
    if not run.num_parts("centroids"):
        return False
    return int((run.read("centroids", ["level"])["level"].to_numpy() == 1).sum()) > 1


def _in_order(run: Run, parts: list[int]) -> Iterator[Output]:
    """Yield NEIGHBOURS of some consecutive parts from what all blocks of lists found for their images."""
    offsets = run.offsets("images")
    span = offsets[parts[0]], offsets[parts[-1] + 1]
    found = [load_nearest(run.folder("nearest"), block, *span) for block in range(run.num_parts("nearest"))]
    for part in parts:
        begin, end = offsets[part : part + 2]
        ids = run.read_part("images", part, ["id"])["id"]
        yield Output(part, neighbour_table([some.between(begin, end) for some in found], ids=ids, first_row=int(begin)))


class Searcher:
    """Holds the index; maps a part to its neighbours."""

    def __init__(
        self,
        *,
        k: int,
        min_similarity: float,
        engine: Engine,
        centre: bool,
        nprobe: int,
        factory: str = "Flat",
        nlist: int | None = None,
        **_: object,
    ) -> None:
        self.k, self.min_similarity = k, min_similarity
        self.settings: dict[str, Any] = {
            "engine": engine, "centre": centre, "nprobe": nprobe, "factory": factory, "nlist": nlist
        }  # fmt: skip
        self._vectors: Any = None
        self._index: Index | None = None

    def __call__(self, run: Run, item: Item) -> Iterable[Output]:
        """Answer for the rows of one part, or of some parts whose lists have been compared."""
        return _in_order(run, item["parts"]) if _divided(run) else self._searched(run, item)

    def _searched(self, run: Run, item: Item) -> list[Output]:
        if self._index is None:
            self._vectors = embedding_matrix(run.read("embeddings", ["embedding"]))
            if run.has("exact"):  # an exact copy is its representative's to answer for
                representative = run.read("exact", ["representative"]).column("representative").to_numpy()
                self._vectors[representative != np.arange(len(representative))] = np.nan
            self._index = build_index(vectors=self._vectors, **self.settings)
        (part,) = item["parts"]
        begin, end = run.offsets("images")[part : part + 2]
        found = knn(
            vectors=self._vectors,
            ids=run.read_part("images", part, ["id"]).column("id").to_pylist(),
            queries=self._vectors[begin:end],
            query_rows=np.arange(begin, end, dtype=np.int64),
            index=self._index,
            k=self.k,
            min_similarity=self.min_similarity,
        )
        return [Output(part, found)]
