"""Connected components of a whole collection, packed into bins of about equal work.

Enters: the parents of a union-find over all rows. Leaves: the bin of every row whose component has more than one member.
Bins depend on the components alone, never on the number of workers, and every component lies in one bin. Components are dealt
by size, the largest first, up and down the bins in turn. Sizes are counted, not sorted: what is held beside the arrays over
all rows, which may lie on disk, is one block of them.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.spill import mapped_array, release
from graph.forest import roots

Rows = NDArray[np.int64]
Numbers = NDArray[np.int32]

BLOCK_ROWS = 1 << 20


@dataclass(frozen=True)
class Packed:
    """Where every row goes; N rows."""

    bins: Numbers  # (N,) -1: nothing is joined to it
    size: Numbers  # (N,) members of the component that the row names, 0 for rows that name none
    giants: Rows  # names of the components of more than the stated size


def pack(parent: Rows, *, num_bins: int, giant_size: int, folder: Path | None = None, block_rows: int = BLOCK_ROWS) -> Packed:
    """Return the components of the union-find `parent` in `num_bins` bins.

    giant_size: components of more members are named in `giants`. folder: where the arrays over all rows lie; memory when None.
    """
    blocks = [(begin, min(begin + block_rows, len(parent))) for begin in range(0, len(parent), block_rows)]
    size = _array(folder, "size", len(parent), 0)
    for rows in _rows(blocks, parent, size):
        np.add.at(size, roots(parent, rows), 1)
    counted: Counter[int] = Counter()
    for begin, end in blocks:
        members, times = np.unique(size[begin:end], return_counts=True)
        counted.update(dict(zip(members.tolist(), times.tolist(), strict=True)))
    turn: dict[int, int] = {}
    behind = 0
    for many in sorted((many for many in counted if many > 1), reverse=True):
        turn[many], behind = behind, behind + counted[many]
    bins = _array(folder, "bins", len(parent), -1)
    giants = [np.empty(0, np.int64)]
    for rows in _rows(blocks, parent, size, bins):
        named = rows[size[rows] > 1]
        bins[named] = _deal(size[named], turn, num_bins)
        giants.append(named[size[named] > giant_size])
        root = roots(parent, rows)  # the smallest row of a component: its bin is known by now
        bins[rows] = np.where(size[root] > 1, bins[root], -1)
    return Packed(bins, size, np.concatenate(giants))


def _deal(size: Numbers, turn: dict[int, int], num_bins: int) -> Numbers:
    """Return the bins of components of these sizes, and count them into `turn`, the place of the next one of every size."""
    place = np.empty(len(size), np.int64)
    for members in np.unique(size).tolist():
        same = np.flatnonzero(size == members)
        place[same] = turn[members] + np.arange(len(same))
        turn[members] += len(same)
    there = place % (2 * num_bins)
    return np.minimum(there, 2 * num_bins - 1 - there).astype(np.int32)


def _rows(blocks: list[tuple[int, int]], *arrays: np.ndarray) -> Iterator[Rows]:
    """Yield the rows of every block, and give back what the arrays hold in memory after each."""
    for begin, end in blocks:
        yield np.arange(begin, end, dtype=np.int64)
        for array in arrays:
            release(array)


def _array(folder: Path | None, name: str, count: int, fill: int) -> Numbers:
    if folder is None:
        return np.full(count, fill, np.int32)
    return mapped_array(folder / name, count, np.int32, fill)
