"""The unit vectors of any rows, from LISTS on disk.

The members of a component lie anywhere in the collection, so a vector is found by the place of its row in its group. Vectors
are read group by group in the order of the files, and what the system has mapped of a group is given back before the next: the
memory is that of the answer, not of the collection.
"""

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.spill import release
from graph.lists import load_places, load_vectors
from graph.vectors import Floats, Rows, unit


class StoredVectors:
    """Gives unit vectors of some rows; `rows` ascend."""

    def __init__(self, folder: Path, *, groups: int, rows: Rows) -> None:
        self._vectors: list[NDArray[np.floating]] = [load_vectors(folder, number) for number in range(groups)]
        self._group = np.full(len(rows), -1, np.int32)
        self._place = np.zeros(len(rows), np.int64)
        for number in range(groups):
            place = load_places(folder, number)
            begin, end = np.searchsorted(rows, [place[0], place[0] + len(place) - 1])
            found = place[1 + rows[begin:end] - place[0]]
            there = begin + np.flatnonzero(found >= 0)
            self._group[there], self._place[there] = number, found[there - begin]

    def __call__(self, positions: Rows) -> Floats:
        """Return the float32 unit vectors (n, d) of the rows at `positions`; zeros for a row that is in no group."""
        stored = np.zeros((len(positions), self._vectors[0].shape[1]), self._vectors[0].dtype)
        group, place = self._group[positions], self._place[positions]
        order = np.lexsort((place, group))
        cuts = [*np.searchsorted(group[order], np.arange(len(self._vectors))).tolist(), len(order)]
        for vectors, (begin, end) in zip(self._vectors, itertools.pairwise(cuts), strict=True):
            if begin < end:
                stored[order[begin:end]] = vectors[place[order[begin:end]]]
                release(vectors)
        return unit(stored)
