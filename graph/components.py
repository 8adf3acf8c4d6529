"""Connected components of a whole collection, packed into bins of about equal work.

Enters: the parents of a union-find over all rows. Leaves: for every bin the rows whose component has more than one member.
Bins depend on the components alone, never on the number of workers, and every component lies in one bin.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.forest import roots

Rows = NDArray[np.int64]

BLOCK_ROWS = 1 << 20
COST_OF_MEMBER = 64
"""Work per member of a component, in units of the work per pair of members."""


@dataclass(frozen=True)
class Components:
    """The components of more than one row."""

    rows: Rows  # (m,) sorted by bin, component and row
    component: Rows  # (m,) smallest row of the component
    start: Rows  # (bins + 1,) where every bin begins
    giants: Rows  # names of the components of more than the stated size

    def bins(self) -> Iterator[tuple[Rows, Rows]]:
        """Yield the rows and components of every bin."""
        for begin, end in zip(self.start[:-1], self.start[1:], strict=True):
            yield self.rows[begin:end], self.component[begin:end]


def pack(parent: Rows, *, num_bins: int, giant_size: int) -> Components:
    """Return the components of the union-find `parent` in `num_bins` bins.

    giant_size: components of more members are named in `giants`.
    """
    rows, component = _grouped(parent)
    names, place, size = np.unique(component, return_inverse=True, return_counts=True)
    cost = size.astype(np.float64) ** 2 + COST_OF_MEMBER * size
    dealt = np.empty(len(names), np.int64)
    turn = np.arange(len(names))
    there = turn % (2 * num_bins)  # largest first, up and down the bins in turn
    dealt[np.lexsort((names, -cost))] = np.minimum(there, 2 * num_bins - 1 - there)
    order = np.lexsort((rows, component, dealt[place]))
    start = np.searchsorted(dealt[place][order], np.arange(num_bins + 1))
    return Components(rows[order], component[order], start.astype(np.int64), names[size > giant_size])


def _grouped(parent: Rows) -> tuple[Rows, Rows]:
    """Return the rows that are joined to another, in order, and their components."""
    size = np.zeros(len(parent), np.int32)
    blocks = [(begin, min(begin + BLOCK_ROWS, len(parent))) for begin in range(0, len(parent), BLOCK_ROWS)]
    for begin, end in blocks:
        np.add.at(size, roots(parent, np.arange(begin, end)), 1)
    rows = [begin + np.flatnonzero(size[roots(parent, np.arange(begin, end))] > 1) for begin, end in blocks]
    joined = np.concatenate(rows).astype(np.int64) if rows else np.empty(0, np.int64)
    return joined, roots(parent, joined)
