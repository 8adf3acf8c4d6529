"""The k nearest of every row on a GPU, list by list: what `graph.nearest.nearest_lists` answers, without its tables.

Enters: vectors held on a device with the lists they probe. Leaves: for every row its nearest among the rows at home in those
lists. A list's own rows and its guests are multiplied with its own rows, so that every vector is read once per list that it
probes; the best of the lists are merged afterwards and computed again in float32.
"""

from typing import TYPE_CHECKING

import numpy as np

from graph.scan_gpu import TileScanner, unit_rows
from graph.selfjoin_gpu import SLOT_ROWS, Held, _cut
from graph.vectors import Floats, Rows

if TYPE_CHECKING:
    from torch import Tensor

# n rows, P probes, K neighbours
MERGED_ROWS = 1 << 15
"""Rows whose lists' answers are merged at a time."""
TILE_ROWS = 8192
"""Rows of a list that are multiplied at a time."""
COLUMN_ROWS = 1 << 22
"""Places whose list is looked for among a row's probes at a time."""
SPARE = 4
"""More neighbours than wanted that float16 products propose, so that float32 decides which are nearest."""


def nearest_on(held: Held, *, lists: int, k: int, device: str) -> tuple[Rows, Floats]:
    """Return (n, k) places in `held` and cosines of the nearest other rows of each, nearest first; -1 where fewer are met."""
    import torch

    count, wanted = len(held.rows), k + 1 + SPARE
    scanner = TileScanner(-1.0, device)
    place, number = held.place, held.number
    # What a row finds in its p-th list is written into its p-th stretch.
    column = torch.cat([_column(held, at) for at in range(0, len(place), COLUMN_ROWS)]) if len(place) else place
    shape = count, held.probes.shape[1], wanted
    met = torch.full(shape, -1, dtype=torch.int32, device=device)
    product = torch.full(shape, -2.0, dtype=torch.float16, device=device)
    counts = torch.bincount(number, minlength=2 * lists).cpu().numpy().reshape(-1, 2)
    home, both = counts[:, 0], counts.sum(1)
    begin = np.concatenate([[0], np.cumsum(both)])
    for low, high in _cut(both, SLOT_ROWS):
        start = int(begin[low])
        slots = scanner.rows(held.stored, place[start : int(begin[high])])
        for number_ in np.flatnonzero(home[low:high]) + low:
            at, columns = int(begin[number_]) - start, int(home[number_])
            base = slots[at : at + columns]
            for row in range(at, int(begin[number_ + 1]) - start, TILE_ROWS):
                rows = slice(row, min(row + TILE_ROWS, int(begin[number_ + 1]) - start))
                near, inside = (slots[rows] @ base.T).topk(min(wanted, columns))
                of = slice(start + rows.start, start + rows.stop)
                met[place[of], column[of], : near.shape[1]] = place[start + at + inside].int()
                product[place[of], column[of], : near.shape[1]] = near.half()
    return _merged(held.stored, met.flatten(1), product.flatten(1), k)


def _column(held: Held, at: int) -> "Tensor":
    """Return which of its probes brought each of some rows to a list."""
    some = slice(at, at + COLUMN_ROWS)
    found: Tensor = (held.probes[held.place[some]] == held.number[some, None] // 2).int().argmax(1)
    return found


def _merged(stored: "Tensor", met: "Tensor", product: "Tensor", k: int) -> tuple[Rows, Floats]:
    """Return the k nearest of what each row met, itself left out, with their cosines in float32."""
    import torch

    count, few = len(met), min(k + SPARE, met.shape[1])
    rows, cosines = np.full((count, k), -1, np.int64), np.full((count, k), -2, np.float32)
    for at in range(0, count, MERGED_ROWS):
        some = slice(at, min(at + MERGED_ROWS, count))
        own = torch.arange(some.start, some.stop, device=stored.device)[:, None]
        near, inside = product[some].masked_fill(met[some] == own, -2).topk(few)
        other = met[some].gather(1, inside).long()
        cosine = _cosines(stored, own, other).masked_fill(near <= -2, -2)
        order = cosine.argsort(dim=1, descending=True, stable=True)
        cosine, other = cosine.gather(1, order), other.gather(1, order)
        rows[some, : min(k, few)] = other.masked_fill(cosine <= -2, -1)[:, :k].cpu().numpy()
        cosines[some, : min(k, few)] = cosine[:, :k].cpu().numpy()
    return rows, cosines


def _cosines(stored: "Tensor", own: "Tensor", other: "Tensor") -> "Tensor":
    """Return the cosines of (m, 1) rows with (m, K) others."""
    import torch

    found = torch.empty(other.shape, dtype=torch.float32, device=other.device)
    step = max(1, (1 << 28) // (stored.shape[1] * other.shape[1] * 4))
    for at in range(0, len(other), step):
        near = other[at : at + step].clamp(min=0)
        base = unit_rows(stored[near.flatten()]).view(*near.shape, -1)
        found[at : at + step] = torch.bmm(base, unit_rows(stored[own[at : at + step, 0]])[:, :, None])[:, :, 0]
    return found
