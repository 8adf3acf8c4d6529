"""The images nearest to vectors: parts of EMBEDDINGS stream by, FAISS scans each, and only the best so far are kept.

A query is answered once and thrown away, so no index is built: scanning a part costs what adding it to an index would. Memory
is one part and the answers, whatever the number of images. As in graph/knn.py, candidates are sought among vectors minus
the collection's mean and reported, and ordered, by the plain cosine of the stored vectors. Text vectors are not centred:
the mean picture is no mean text.
"""

from collections.abc import Callable, Iterable, Iterator

import faiss
import numpy as np
from numpy.typing import NDArray

from graph.vectors import Floats, Rows, keys, unit, usable

Part = tuple[int, Floats]
"""The global row of a part's first image, and its vectors (n, d); NaN where an image failed."""

MARGIN = 16
"""Candidates taken beyond k: the float32 sums of a scan depend on its blocks, so near ties are decided by exact sums."""


def corpus_mean(parts: Callable[[], Iterable[Part]]) -> Floats:
    """Return the mean (d,) of the distinct unit vectors, in two passes; 8 bytes per image are remembered.

    Vectors that are equal bit for bit count once, as in graph/knn.py; they are told by a 64-bit hash.
    """
    hashes = [keys(unit(vectors[usable(vectors)])) for _, vectors in parts()]
    _, first = np.unique(np.concatenate(hashes or [np.empty(0, np.uint64)]), return_index=True)
    counts = np.zeros(sum(map(len, hashes)), bool)
    counts[first] = True
    sums, start = [], 0
    for _, vectors in parts():
        points = unit(vectors[usable(vectors)])
        sums.append(points[counts[start : start + len(points)]].sum(0, dtype=np.float64))
        start += len(points)
    total = np.sum(sums, axis=0)
    return np.asarray(total / len(first) if len(first) > 1 else np.zeros_like(total), np.float32)


def nearest(
    *,
    queries: Floats,
    parts: Iterable[Part],
    k: int,
    mean: Floats | None = None,
    allowed: NDArray[np.bool_] | None = None,
    excluded: Rows | None = None,
) -> list[tuple[Rows, Floats]]:
    """Return, for every query, the global rows of its `k` nearest images and their cosines, nearest first, ties by row.

    queries: (Q, d). mean: what is subtracted from queries and images while candidates are sought; None: nothing.
    allowed: bool (rows,), others are passed over. excluded: rows to pass over, such as the query itself.
    Raises ValueError when k < 1.
    """
    if k < 1:
        raise ValueError(f"k = {k}: at least 1")
    asked = unit(queries)
    centre = np.zeros(asked.shape[1], np.float32) if mean is None else mean
    best = [_Best(k) for _ in asked]
    for rows, points in _candidates(parts, allowed, excluded):
        moved = unit(points - centre)
        _, found = faiss.knn(unit(asked - centre), moved, min(k + MARGIN, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
        for number, query in enumerate(asked):
            at = found[number][found[number] >= 0]
            best[number].add(rows[at], _exact(moved[at], unit_row(query - centre)), _exact(points[at], query))
    return [one.result() for one in best]


class _Best:
    """The k best candidates so far of one query."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._rows, self._sought, self._cosine = np.empty(0, np.int64), np.empty(0), np.empty(0)

    def add(self, rows: Rows, sought: NDArray[np.float64], cosine: NDArray[np.float64]) -> None:
        rows = np.concatenate([self._rows, rows])
        sought, cosine = np.concatenate([self._sought, sought]), np.concatenate([self._cosine, cosine])
        keep = np.lexsort((rows, -sought))[: self._k]
        self._rows, self._sought, self._cosine = rows[keep], sought[keep], cosine[keep]

    def result(self) -> tuple[Rows, Floats]:
        cosine = np.minimum(self._cosine, 1.0).astype(np.float32)
        order = np.lexsort((self._rows, -cosine))
        return self._rows[order], cosine[order]


def cosines(*, query: Floats, vectors: Floats) -> Floats:
    """Return the cosine (n,) of one vector (d,) and each of `vectors` (n, d); NaN where there is no vector."""
    cosine = np.minimum(_exact(unit(vectors), unit_row(query)), 1.0)
    return np.asarray(np.where(usable(vectors), cosine, np.nan), np.float32)


def unit_row(vector: Floats) -> Floats:
    """Return one vector scaled to length 1."""
    return np.asarray(unit(vector[None])[0])


def _candidates(parts: Iterable[Part], allowed: NDArray[np.bool_] | None, excluded: Rows | None) -> Iterator[tuple[Rows, Floats]]:
    for start, vectors in parts:
        wanted = usable(vectors)
        if allowed is not None:
            wanted &= allowed[start : start + len(vectors)]
        if excluded is not None:
            wanted[excluded[(excluded >= start) & (excluded < start + len(vectors))] - start] = False
        if wanted.any():
            yield start + np.flatnonzero(wanted), unit(vectors[wanted])


def _exact(vectors: Floats, query: Floats) -> NDArray[np.float64]:
    """Return dot products summed in double precision, so that they do not depend on what else is in the array."""
    return np.asarray(np.einsum("nd,d->n", vectors.astype(np.float64), query.astype(np.float64)))
