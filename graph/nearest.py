"""The k nearest of every row, list by list: what `graph.knn` answers from one index in memory, from lists on disk.

Enters: groups in list order. Leaves: for the rows at home in some lists, their nearest among the rows of all lists they probe.
The queries of a block are held together, and every list that one of them probes is read once for all of them; nothing else of
the collection is. Vectors that are equal bit for bit are one point, as in graph/knn.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa

from curation import schema
from graph.lists import Group, Members, at_home, distinct, release, unit_vectors
from graph.scan import cosines
from graph.vectors import Floats, Rows, unit

# M queries, K neighbours and the query itself

RELEASED_LISTS = 64
"""Lists after which the pages of the files are given back."""


@dataclass(frozen=True)
class Nearest:
    """The neighbours of some rows, nearest first."""

    rows: Rows  # (m,) ascending
    start: Rows  # (m + 1,) where the neighbours of each begin
    neighbours: Rows
    similarity: Floats  # plain cosines of the stored vectors

    def between(self, begin: int, end: int) -> "Nearest":
        """Return the neighbours of the rows from `begin` to before `end`."""
        first, last = np.searchsorted(self.rows, [begin, end])
        start = np.array(self.start[first : last + 1])
        inside = slice(int(start[0]), int(start[-1]))
        own = np.array(self.rows[first:last])
        return Nearest(own, start - start[0], np.array(self.neighbours[inside]), np.array(self.similarity[inside]))


def nearest_lists(
    groups: Sequence[Group],
    *,
    first: int,
    last: int,
    k: int,
    min_similarity: float = -1.0,
    mean: Floats | None = None,
    new_from: int = 0,
) -> Nearest:
    """Return the `k` nearest of the rows at home in lists `first` to before `last`.

    mean: subtracted from all vectors before they are compared, see graph/knn.py. new_from: only rows from here on are asked for.
    """
    everyone = [at_home(groups, number) for number in range(first, last)]
    found = [distinct(members) for members in everyone]
    asked = _joined([members.take(_answering(members, *equal, new_from)) for members, equal in zip(everyone, found, strict=True)])
    if not len(asked):
        return _flat([], [], [])
    order = np.argsort(asked.rows)
    asked = asked.take(order)
    queries = unit_vectors(groups, asked)
    best_MK, row_MK, plain_MK = _search(groups, asked, queries, k, mean)
    nearest = np.lexsort((row_MK, -plain_MK))
    row_MK, plain_MK = np.take_along_axis(row_MK, nearest, 1), np.take_along_axis(plain_MK, nearest, 1)
    use_MK = (best_MK > -np.inf)[np.arange(len(asked))[:, None], nearest] & (row_MK != asked.rows[:, None])
    use_MK &= plain_MK >= np.float32(min_similarity)
    twins = _twins(everyone, found)
    rows, lists, cosine = [], [], []
    for place, row in enumerate(asked.rows.tolist()):
        others, near = row_MK[place][use_MK[place]][:k], plain_MK[place][use_MK[place]][:k]
        same = twins.get(row, np.array([row]))
        for member in same[same >= new_from].tolist():
            beside = same[same != member][:k] if min_similarity <= 1 else same[:0]
            rows.append(member)
            lists.append(np.concatenate([beside, others]))
            cosine.append(np.concatenate([np.ones(len(beside), np.float32), near]))
    return _flat(rows, lists, cosine)


def _answering(members: Members, kept: Rows, others: Rows, originals: Rows, new_from: int) -> Rows:
    """Return which of the distinct members stand for a row from `new_from` on; nothing is asked of a base's own."""
    late = members.rows >= new_from
    late[originals[late[others]]] = True
    return kept[late[kept]]


def _search(groups: Sequence[Group], asked: Members, queries: Floats, k: int, mean: Floats | None) -> tuple[Floats, Rows, Floats]:
    """Return (M, K + 1): similarities by which rows were chosen, the rows, their plain cosines; -inf for none."""
    shape = len(asked), k + 1
    best, row, plain = np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64), np.full(shape, -2, np.float32)
    compared = _centred(queries, mean)
    query, column = np.nonzero(asked.probes >= 0)
    probed = asked.probes[query, column]
    by_list = np.argsort(probed, kind="stable")
    lists, begin = np.unique(probed[by_list], return_index=True)
    for visited, (number, some) in enumerate(zip(lists.tolist(), np.split(query[by_list], begin[1:]), strict=True)):
        base = at_home(groups, number)
        base = base.take(distinct(base)[0])
        if len(base):
            vectors = unit_vectors(groups, base)
            near, place = faiss.knn(
                compared[some], _centred(vectors, mean), min(k + 1, len(base)), metric=faiss.METRIC_INNER_PRODUCT
            )
            cosine = cosines(queries, np.repeat(some, place.shape[1]), vectors, place.ravel()).reshape(place.shape)
            _keep(best, row, plain, some, near, base.rows[place], cosine)
        if visited % RELEASED_LISTS == RELEASED_LISTS - 1:
            release(groups)
    return best, row, plain


def _keep(best: Floats, row: Rows, plain: Floats, some: Rows, near: Floats, rows: Rows, cosine: Floats) -> None:
    """Merge what a list has found for `some` queries into the best so far, in place; ties by row."""
    joined = [np.concatenate([mine[some], found], 1) for mine, found in ((best, near), (row, rows), (plain, cosine))]
    order = np.lexsort((joined[1], -joined[0]))[:, : best.shape[1]]
    best[some], row[some], plain[some] = (np.take_along_axis(all_, order, 1) for all_ in joined)


def _centred(vectors: Floats, mean: Floats | None) -> Floats:
    return vectors if mean is None else unit(vectors - mean)


def _joined(members: Sequence[Members]) -> Members:
    return Members(*(np.concatenate([getattr(some, column.name) for some in members]) for column in fields(Members)))


def _twins(everyone: Sequence[Members], found: Sequence[tuple[Rows, Rows, Rows]]) -> dict[int, Rows]:
    """Return, by the smallest of them, the ascending rows of every vector that occurs more than once."""
    twins: dict[int, list[int]] = {}
    for members, (_, copies, originals) in zip(everyone, found, strict=True):
        for original, copy in zip(members.rows[originals].tolist(), members.rows[copies].tolist(), strict=True):
            twins.setdefault(original, [original]).append(copy)
    return {row: np.array(sorted(rows), np.int64) for row, rows in twins.items()}


def _flat(rows: list[int], lists: list[Rows], cosine: list[Floats]) -> Nearest:
    order = np.argsort(np.array(rows, np.int64))
    lists, cosine = [lists[i] for i in order], [cosine[i] for i in order]
    start = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    none = np.empty(0, np.int64), np.empty(0, np.float32)
    return Nearest(np.array(rows, np.int64)[order], start, np.concatenate([none[0], *lists]), np.concatenate([none[1], *cosine]))


def save_nearest(found: Nearest, folder: Path, number: int) -> dict[str, Path]:
    """Write the arrays into `folder`; returns the files by the name they are to have beside the table's parts."""
    files = {f"{column.name}-{number:05d}.npy": folder / f"{column.name}-{number:05d}.npy" for column in fields(Nearest)}
    for column, path in zip(fields(Nearest), files.values(), strict=True):
        np.save(path, getattr(found, column.name))
    return files


def load_nearest(folder: Path, number: int, begin: int, end: int) -> Nearest:
    """Return what one task found for the rows from `begin` to before `end`."""
    mapped = {
        column.name: np.load(folder / f"{column.name}-{number:05d}.npy", mmap_mode="r").view(np.ndarray)
        for column in fields(Nearest)
    }
    return Nearest(**mapped).between(begin, end)


def count_nearest(found: Nearest) -> pa.Table:
    """Return NEAREST: how many rows a task answered for, and how many neighbours it named."""
    return schema.conform(pa.table({"images": [len(found.rows)], "neighbours": [len(found.neighbours)]}), schema.NEAREST)


def neighbour_table(found: Sequence[Nearest], *, ids: pa.ChunkedArray, first_row: int) -> pa.Table:
    """Return NEIGHBOURS of the rows from `first_row` on that bear `ids`; a row that nobody answered for has an empty list."""
    length = np.zeros(len(ids), np.int64)
    for some in found:
        length[some.rows - first_row] = np.diff(some.start)
    offsets = np.concatenate([[0], np.cumsum(length)])
    rows, cosine = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.float32)
    for some in found:
        count = np.diff(some.start)
        at = np.repeat(offsets[some.rows - first_row] - some.start[:-1], count) + np.arange(len(some.neighbours))
        rows[at], cosine[at] = some.neighbours, some.similarity
    lists = [pa.ListArray.from_arrays(offsets.astype(np.int32), values) for values in (rows, cosine)]
    return schema.conform(pa.table({"id": ids, "rows": lists[0], "similarities": lists[1]}), schema.NEIGHBOURS)
