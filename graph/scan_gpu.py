"""Which rows are alike, on a GPU: the products of many tiles in one buffer, one scan of it, and float32 for what passes.

Enters: stored rows on a device and the tiles to compare. Leaves: positions of pairs and their cosines, the same that
`graph.scan.Scanner` finds; a cosine may differ in the last bits, for a GPU adds in another order, so a pair that touches the
threshold may be on the other side of it. Products are made of float16 with sums in float32 and scanned at a threshold lowered
by more than float16 can err; what passes is computed again in float32 from the rows as they are stored. On the device `cpu`
the same code multiplies float32: that is how it is tested where there is no GPU. torch is imported when a device is asked for.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from graph.scan import MOST_NEAR, NEAR
from graph.vectors import Floats, Rows

if TYPE_CHECKING:
    from torch import Tensor

SLACK = {"float16": 2e-3, "float32": 1e-5}
"""How much lower than asked is scanned. float16: both vectors and the product are rounded by at most 2^-11 of their size."""
CELLS = 1 << 28
"""Products that are scanned at a time, at most: 0.5 GB in float16."""
BYTES_PER_CELL = 64
"""Memory that a product may cost where every pair passes: its flag, its position, what is sorted."""
TILE = 8192
"""Most rows, and most columns, of one product."""
RESCORED = 1 << 17
"""Pairs computed again in float32 at a time."""
CROWDED = 1 << 22
"""Hits at a time from which nearly equal ones beyond MOST_NEAR are dropped before they are computed again."""
DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")


def chosen_device(device: str) -> str:
    """Return cpu or the CUDA device that `device` names: auto takes a GPU where torch sees one in this process.

    A worker of Ray sees the GPUs that `ray.gpus` gives its stage, and no others. Raises ConfigError for a device that is not
    there, or a name that is none.
    """
    if device == "cpu" or (device == "auto" and "torch" not in sys.modules and not any(Path(path).exists() for path in DEVICES)):
        return "cpu"  # without a driver there is no need for the seconds that importing torch takes
    kind, _, number = device.partition(":")
    if device != "auto" and (kind != "cuda" or not (number or "0").isdigit()):
        raise ConfigError(f"device = {device}: should be auto, cpu, cuda or cuda:<n>")
    import torch

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if seen else "cpu"
    if int(number or 0) >= seen:
        raise ConfigError(
            f"device = {device}: torch sees {seen} GPUs in this process; take cpu, or give the stage one by ray.gpus"
        )
    return device


@dataclass(frozen=True)
class Tiles:
    """What is compared: slots [q0, q1) with slots [x0, x1), pairs with a larger first slot only. J tiles, in order of x0 for
    every slot."""

    q0: Rows  # (J,)
    q1: Rows
    x0: Rows
    x1: Rows

    @property
    def cells(self) -> Rows:
        """The products of every tile."""
        return (self.q1 - self.q0) * (self.x1 - self.x0)

    def between(self, first: int, last: int) -> "Tiles":
        """Return the tiles from `first` to before `last`."""
        return Tiles(self.q0[first:last], self.q1[first:last], self.x0[first:last], self.x1[first:last])


def tiles(begin: Rows, columns: Rows, end: Rows, *, first_row: Rows | None = None, tile: int = TILE) -> Tiles:
    """Return the tiles of lists: list l's slots [first_row (default begin), end) meet its slots [begin, columns)."""
    first_row = begin if first_row is None else first_row
    rows, wide = -(-(end - first_row) // tile), -(-(columns - begin) // tile)
    of = np.repeat(np.arange(len(begin)), rows * wide)
    number = np.arange(len(of)) - np.repeat(np.cumsum(rows * wide) - rows * wide, rows * wide)
    q0, x0 = first_row[of] + number // wide[of] * tile, begin[of] + number % wide[of] * tile
    q1, x1 = np.minimum(q0 + tile, end[of]), np.minimum(x0 + tile, columns[of])
    some = np.flatnonzero(q1 - 1 > x0)  # the others lie above the diagonal
    return Tiles(q0[some], q1[some], x0[some], x1[some])


@dataclass
class TileScanner:
    """Finds the pairs of at least `threshold` in tiles; holds the buffer of products."""

    threshold: float
    device: str
    dtype: str = ""  # float16 on a GPU and float32 on a CPU, unless another is wanted
    cells: int = 0  # 0: as many as the memory allows
    _buffer: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.dtype = self.dtype or ("float32" if self.device == "cpu" else "float16")
        self.cells = self.cells or _affordable(self.device)
        sum_in_float32()

    def rows(self, stored: "Tensor", position: "Tensor") -> "Tensor":
        """Return the rows at some positions, of length one, in the format that is multiplied: what `scan` calls slots.

        A position of -1 is nobody's and becomes a row of zeros.
        """
        import torch

        slots = torch.empty((len(position), stored.shape[1]), dtype=getattr(torch, self.dtype), device=stored.device)
        for at in range(0, len(position), RESCORED):
            some = position[at : at + RESCORED]
            slots[at : at + RESCORED] = unit_rows(stored[some.clamp(min=0)]) * (some >= 0)[:, None]
        return slots

    def scan(
        self, slots: "Tensor", found_in: Tiles, *, stored: "Tensor", position: "Tensor", side: "Tensor | None" = None
    ) -> Iterator[tuple["Tensor", "Tensor", "Tensor"]]:
        """Yield (first slot, second slot, cosine) of the pairs in some tiles.

        slots: (S, d) what `rows` returned for `position` of the stored rows. side: (S,) 0 or 1; a slot is reported in MOST_NEAR
        nearly equal pairs with slots of either side; None: all are on one side.
        """
        import torch

        taken = torch.zeros(2 * len(slots), dtype=torch.int64, device=slots.device)
        sides = torch.zeros(1, dtype=torch.int64, device=slots.device) if side is None else side.long()
        for some in _batches(found_in, self.cells):
            first, second, product = self._hits(slots, some, position)
            group = 2 * first + (sides[second] if side is not None else sides)
            if len(first) > CROWDED:
                few = uncrowded_of(group, second, product.float() >= NEAR + SLACK[self.dtype], taken)[0]
                first, second, group = first[few], second[few], group[few]
            cosine = self._cosines(stored, position[first], position[second])
            keep = torch.nonzero(cosine >= self.threshold).flatten()
            first, second, group, cosine = first[keep], second[keep], group[keep], cosine[keep]
            few, counted = uncrowded_of(group, second, cosine >= float(np.float32(NEAR)), taken)
            taken += counted
            yield first[few], second[few], cosine[few]

    def _hits(self, slots: "Tensor", some: Tiles, position: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
        """Return both slots and the product of what may pass the threshold in the tiles of one buffer."""
        import torch

        cells = some.cells
        begin = np.concatenate([[0], np.cumsum(cells)])
        if self._buffer is None or len(self._buffer) < begin[-1]:
            self._buffer = None  # before the larger one is asked for
            self._buffer = torch.empty(int(begin[-1]), dtype=slots.dtype, device=slots.device)
        products = self._buffer[: int(begin[-1])]
        places = (begin[:-1], begin[1:], some.q0, some.q1, some.x0, some.x1)
        for at, end, q0, q1, x0, x1 in zip(*(place.tolist() for place in places), strict=True):
            torch.mm(slots[q0:q1], slots[x0:x1].T, out=products[at:end].view(q1 - q0, x1 - x0))
        flat = _nonzero(products >= self.threshold - SLACK[self.dtype])
        on = {
            name: torch.from_numpy(array).to(slots.device) for name, array in (("begin", begin), ("q", some.q0), ("x", some.x0))
        }
        tile = torch.searchsorted(on["begin"], flat, right=True) - 1
        inside, wide = flat - on["begin"][tile], torch.from_numpy(some.x1 - some.x0).to(slots.device)[tile]
        first = on["q"][tile] + torch.div(inside, wide, rounding_mode="floor")
        second = on["x"][tile] + inside % wide
        below = torch.nonzero((first > second) & (position[first] >= 0) & (position[second] >= 0)).flatten()
        return first[below], second[below], products[flat[below]]

    def _cosines(self, stored: "Tensor", first: "Tensor", second: "Tensor") -> "Tensor":
        import torch

        found = torch.empty(len(first), dtype=torch.float32, device=first.device)
        for at in range(0, len(first), RESCORED):
            some = slice(at, at + RESCORED)
            found[some] = (unit_rows(stored[first[some]]) * unit_rows(stored[second[some]])).sum(1)
        return found.clamp_(max=1)

    def pairs(self, queries: Floats, base: Floats, *, triangle: bool = False) -> tuple[Rows, Rows, Floats]:
        """Return what `graph.scan.Scanner.pairs` does: (query, base, cosine) of all pairs, ordered by query and then base."""
        import torch

        stored = on_device(base if triangle else np.concatenate([base, queries]), self.device)
        position = torch.arange(len(stored), device=stored.device)
        columns, rows = np.array([len(base)]), np.array([0 if triangle else len(base)])
        compared = tiles(np.zeros(1, np.int64), columns, np.array([len(stored)]), first_row=rows)
        found = list(self.scan(self.rows(stored, position), compared, stored=stored, position=position))
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        query, other, cosine = (torch.cat(some) for some in zip(*found, strict=True))
        order = torch.argsort(query * len(stored) + other)
        return (query[order] - int(rows[0])).cpu().numpy(), other[order].cpu().numpy(), cosine[order].cpu().numpy()


def uncrowded_of(group: "Tensor", second: "Tensor", near: "Tensor", taken: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Return which pairs are reported, all but near ones beyond a group's first MOST_NEAR, and the near ones kept, by group.

    taken: (groups,) how many near pairs each group was reported in before.
    """
    import torch

    number = torch.nonzero(near).flatten()
    if not len(number):
        return torch.arange(len(group), device=group.device), torch.zeros_like(taken)
    number = number[torch.argsort(second[number])]
    number = number[torch.argsort(group[number], stable=True)]
    of = group[number]
    rank = torch.arange(len(of), device=of.device) - torch.searchsorted(of, of)
    fits = taken[of] + rank < MOST_NEAR
    keep = torch.ones(len(group), dtype=torch.bool, device=group.device)
    keep[number[~fits]] = False
    return torch.nonzero(keep).flatten(), torch.bincount(of[fits], minlength=len(taken))


def sum_in_float32() -> None:
    """Let no product of float16 on a GPU be summed in float16: SLACK would have to be larger."""
    import torch

    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def unit_rows(stored: "Tensor") -> "Tensor":
    """Return float32 rows of length one; zero rows stay zero."""
    rows = stored.float()
    norms = (rows * rows).sum(1, keepdim=True).sqrt_()
    return rows / norms.masked_fill_(norms == 0, 1)


def on_device(array: "NDArray[Any] | Tensor", device: str) -> "Tensor":
    """Return an array as a tensor of a device; one that is mapped from a file is read."""
    import torch

    if isinstance(array, torch.Tensor):
        return array.to(device)
    return torch.from_numpy(array if array.flags.writeable else np.array(array)).to(device)


def _nonzero(flags: "Tensor") -> "Tensor":
    """Return where flags are set; eight are looked at at once, for few are."""
    import torch

    whole = len(flags) // 8 * 8
    words = torch.nonzero(flags[:whole].view(torch.int64)).flatten()
    near = (words[:, None] * 8 + torch.arange(8, device=flags.device)).flatten()
    rest = torch.nonzero(flags[whole:]).flatten() + whole
    return torch.cat([near[flags[near]], rest])


def _batches(found_in: Tiles, cells: int) -> Iterator[Tiles]:
    """Yield consecutive tiles of at most so many products; one tile is never cut."""
    total = np.cumsum(found_in.cells)
    at = 0
    while at < len(total):
        before = int(total[at - 1]) if at else 0
        end = max(at + 1, int(np.searchsorted(total, before + cells, side="right")))
        yield found_in.between(at, end)
        at = end


def _affordable(device: str) -> int:
    """Return how many products are held at a time."""
    if device == "cpu":
        return 1 << 22
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return max(TILE * TILE, min(CELLS, free // 4 // BYTES_PER_CELL))
