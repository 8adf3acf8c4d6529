"""Nearest neighbours of every image in embedding space, as cosines of the stored unit vectors.

Enters: vectors, float16 or float32 (N, d), NaN rows or a `valid` mask where an image failed. Leaves: NEIGHBOURS, one row per
query, nearest first, never the query itself. Candidates are searched among vectors from which the corpus mean was subtracted
(`centre=True`): embeddings of one network share a large common direction, and without it the nearest images come apart
better. What is reported is the plain cosine of the stored vectors. Vectors that are equal bit for bit are one point in the
index, so a picture stored a hundred times cannot fill its own list.
"""

from dataclasses import dataclass
from typing import Literal

import faiss
import numpy as np
import pyarrow as pa

from curation import schema
from graph.faiss_index import build
from graph.vectors import Floats, Rows, keys, unit, usable
from graph.vectors import embedding_matrix as embedding_matrix

SAME = np.float32(1 - 1e-6)
"""Cosine from which two stored vectors are one point: float32 rounding of a dot product of equal unit vectors."""

Engine = Literal["auto", "exact", "ivf", "faiss"]
EXACT_ROWS = 200_000
"""Above this many distinct vectors `auto` takes IVF: below, an exact scan costs no more than training lists."""


@dataclass(frozen=True)
class Index:
    """A searchable corpus: distinct points in a FAISS index, and the rows that stand at each point."""

    searched: faiss.Index  # over the centred distinct vectors
    points: Floats  # (P, d) stored unit vectors of the distinct points
    mean: Floats  # (d,) what was subtracted before the search
    order: Rows  # (M,) valid global rows, grouped by point, ascending inside a point
    start: Rows  # (P + 1,) where each point's rows begin in `order`


def build_index(
    *,
    vectors: Floats,
    centre: bool = True,
    engine: Engine = "auto",
    nlist: int | None = None,
    nprobe: int = 8,
    factory: str = "Flat",
    seed: int = 0,
) -> Index:
    """Return an index over the rows of `vectors` that are finite and not zero.

    centre: search among vectors minus the corpus mean, renormalised.
    engine: exact scans all points; ivf visits `nprobe` of `nlist` lists (default: the square root of the points);
        faiss builds the index that `factory` names (graph/faiss_index.py); auto is exact up to EXACT_ROWS points, then ivf.
    """
    stored = unit(np.asarray(vectors, np.float32))
    points, order, start = _distinct(stored)
    mean = (
        points.mean(0, dtype=np.float64).astype(np.float32)
        if centre and len(points) > 1
        else np.zeros(stored.shape[1], np.float32)
    )
    if engine == "auto":
        engine = "exact" if len(points) <= EXACT_ROWS else "ivf"
    lists = min(nlist or round(float(len(points)) ** 0.5), len(points)) or 1
    named = {"exact": "Flat", "ivf": f"IVF{lists},Flat", "faiss": factory}[engine]
    searched = build(unit(points - mean), factory=named, nprobe=min(nprobe, lists), seed=seed)
    return Index(searched, points, mean, order, start)


def knn(
    *,
    vectors: Floats,
    ids: list[str],
    queries: Floats | None = None,
    query_rows: Rows | None = None,
    index: Index | None = None,
    k: int = 20,
    min_similarity: float = -1.0,
    centre: bool = True,
    engine: Engine = "auto",
    nlist: int | None = None,
    nprobe: int = 8,
    factory: str = "Flat",
    block_rows: int = 4096,
) -> pa.Table:
    """Return NEIGHBOURS: of every query the `k` nearest other rows of `vectors`.

    ids: the id of each query. queries, query_rows: the slice of the corpus to answer for and its global rows; all rows
    when absent. index: an index already built over `vectors`; its own settings then count. Rows whose
    vector equals the query's come first, up to `k` of them, and do not count towards the `k` others, each of which stands
    for all rows of its vector. min_similarity: neighbours below this cosine are left out. Ties are ordered by row.
    Raises ValueError when k < 1 or the lengths do not fit.
    """
    asked = np.asarray(vectors if queries is None else queries, np.float32)
    rows = np.arange(len(asked), dtype=np.int64) if query_rows is None else np.asarray(query_rows, np.int64)
    if k < 1 or len(ids) != len(asked) or len(rows) != len(asked):
        raise ValueError(f"k = {k} (at least 1), {len(ids)} ids and {len(rows)} rows for {len(asked)} queries")
    if index is None:
        index = build_index(vectors=vectors, centre=centre, engine=engine, nlist=nlist, nprobe=nprobe, factory=factory)
    found: list[tuple[Rows, Floats]] = []
    for begin in range(0, len(asked), block_rows):
        found += _search(index, asked[begin : begin + block_rows], rows[begin : begin + block_rows], k, min_similarity)
    return _neighbours(ids, found)


def _distinct(stored: Floats) -> tuple[Floats, Rows, Rows]:
    valid = np.flatnonzero(usable(stored))
    _, first, point = np.unique(keys(stored[valid]), return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))  # number the points by their smallest row, not by their bytes
    point = rank[point]
    by_point = np.argsort(point, kind="stable")
    start = np.searchsorted(point[by_point], np.arange(len(first) + 1))
    return stored[valid[np.sort(first)]], valid[by_point], start.astype(np.int64)


def _search(index: Index, queries: Floats, rows: Rows, k: int, min_similarity: float) -> list[tuple[Rows, Floats]]:
    able = usable(queries)
    asked = unit(np.where(able[:, None], queries, 0))
    wanted = min(k + 1, len(index.points))
    none = (np.empty(0, np.int64), np.empty(0, np.float32))
    if wanted == 0:
        return [none] * len(queries)
    _, points = index.searched.search(unit(asked - index.mean), wanted)
    return [
        _expand(index, asked[i], int(rows[i]), points[i], k, min_similarity) if able[i] else none for i in range(len(queries))
    ]


def _expand(index: Index, query: Floats, row: int, points: Rows, k: int, min_similarity: float) -> tuple[Rows, Floats]:
    points = points[points >= 0]  # FAISS fills with -1 when the probed lists hold fewer
    cosine = np.minimum(index.points[points] @ query, np.float32(1.0))
    size = np.minimum(index.start[points + 1] - index.start[points], np.where(cosine >= SAME, k + 1, 1))
    rows = np.concatenate(
        [index.order[index.start[p] : index.start[p] + s] for p, s in zip(points, size, strict=True)] or [points]
    )
    cosine = np.repeat(cosine, size)
    keep = (rows != row) & (cosine >= min_similarity)
    rows, cosine = rows[keep], cosine[keep]
    nearest = np.lexsort((rows, -cosine))
    rows, cosine = rows[nearest], cosine[nearest]
    copies = int((cosine >= SAME).sum())
    chosen = np.r_[: min(copies, k), copies : copies + k]
    return rows[chosen[chosen < len(rows)]], cosine[chosen[chosen < len(rows)]]


def _neighbours(ids: list[str], found: list[tuple[Rows, Floats]]) -> pa.Table:
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows, _ in found])]).astype(np.int32)
    rows = np.concatenate([rows for rows, _ in found] or [np.empty(0, np.int64)]).astype(np.int64)
    cosine = np.concatenate([cosine for _, cosine in found] or [np.empty(0, np.float32)]).astype(np.float32)
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "rows": pa.ListArray.from_arrays(offsets, rows),
            "similarities": pa.ListArray.from_arrays(offsets, cosine),
        }
    )
    return schema.conform(table, schema.NEIGHBOURS)
