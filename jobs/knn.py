"""k-NN: every worker builds the index over all vectors once and answers for one part at a time."""

from typing import Any

import numpy as np

from curation.tables import Run
from graph.knn import Engine, Index, build_index, embedding_matrix, knn
from jobs.stage import Item, Output


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item per part."""
    return [{"parts": [part]} for part in range(run.num_parts("images"))]


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
    ) -> None:
        self.k, self.min_similarity = k, min_similarity
        self.settings: dict[str, Any] = {
            "engine": engine, "centre": centre, "nprobe": nprobe, "factory": factory, "nlist": nlist
        }  # fmt: skip
        self._vectors: Any = None
        self._index: Index | None = None

    def __call__(self, run: Run, item: Item) -> list[Output]:
        """Answer for the rows of one part."""
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
