"""The join of lists on a GPU: `graph.selfjoin.join_lists` with the vectors held there.

Enters: groups of vectors in list order. Leaves: the same pairs, sorted, each once. The rows at home in some lists and those that
probe them are read once, as they are stored; everything else happens on the device. Every list gets consecutive slots, its own
rows and then its guests, so that a list is one product of the slots with its own rows. `exact` is one list with everyone in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graph.lists import Group
from graph.scan_gpu import TileScanner, on_device, tiles
from graph.selfjoin import Pairs, _none, _sorted, _touched
from graph.vectors import Rows

if TYPE_CHECKING:
    from torch import Tensor

    Found = tuple[Tensor, Tensor, Tensor]

SLOT_ROWS = 1 << 21
"""Slots that are made at a time, at most: 2 GB of float16 at 512 dimensions. One list is never cut."""
KEYED_ROWS = 1 << 18
"""Rows hashed at a time."""
ALIGNED = 8
"""A list's own rows are filled up to a multiple of so many slots: products of other widths are slower on a GPU."""


@dataclass(frozen=True)
class Held:
    """Rows on a device: those at home in some lists and those that visit them. `n` rows, `m` places in lists."""

    stored: "Tensor"  # (n, d) as stored
    rows: "Tensor"  # (n,) global rows
    probes: "Tensor"  # (n, P) lists, the home first
    keys: "Tensor"  # (n,) equal for vectors that are equal bit for bit
    place: "Tensor"  # (m,) position of the row that lives in or visits a list
    number: "Tensor"  # (m,) twice the list, and one more for a guest; ascending, then by row


def join_lists_on(
    groups: Sequence[Group],
    *,
    first: int,
    last: int,
    min_similarity: float,
    device: str,
    held_rows: int | None = None,
    new_from: int = 0,
    scanner: TileScanner | None = None,
) -> Pairs:
    """Return the pairs that lists `first` to before `last` report: sorted, row_a < row_b, cosine at least min_similarity.

    held_rows: rows at home and guests of the lists that are held at a time; None: all. new_from: only pairs with a row from here
    on are looked for. scanner: default one of the device.
    """
    scanner = scanner or TileScanner(min_similarity, device)
    found = []
    for begin, end in [(first, last)] if not new_from else _touched(groups, first, last, new_from):
        for some in _runs(groups, begin, end, held_rows):
            found += list(_joined(hold_on(groups, some.start, some.stop, scanner.device), scanner, new_from))
    return _ordered(found)


def join_held(held: Held, *, min_similarity: float, device: str) -> Pairs:
    """Return the pairs that all lists of what is held report: sorted, row_a < row_b, cosine at least min_similarity."""
    return _ordered(list(_joined(held, TileScanner(min_similarity, device), 0)))


def _runs(groups: Sequence[Group], first: int, last: int, held_rows: int | None) -> Iterator[range]:
    """Yield runs of lists with about `held_rows` rows and guests at most, a longer list alone."""
    rows = np.zeros(last - first, np.int64)
    for group in groups:
        for start in (group.start, group.guest_start):
            rows += np.diff(start[first : last + 1])
    for begin, end in _cut(rows, held_rows or max(1, int(rows.sum()))):
        yield range(first + begin, first + end)


def _cut(sizes: Rows, most: int) -> Iterator[tuple[int, int]]:
    """Yield [begin, end) of consecutive sizes that add up to `most` at most; a larger one stands alone."""
    total = np.cumsum(sizes)
    at = 0
    while at < len(sizes):
        end = max(at + 1, int(np.searchsorted(total, (total[at - 1] if at else 0) + most, side="right")))
        yield at, end
        at = end


def hold_on(groups: Sequence[Group], first: int, last: int, device: str) -> Held:
    """Return lists `first` to before `last` with all their rows on a device."""
    import torch

    parts: dict[str, list[Tensor]] = {name: [] for name in ("stored", "rows", "probes", "keys", "place", "number")}
    size = 0
    for group in groups:
        begin, end = group.start[[first, last]].tolist()
        visitors = on_device(group.guests[slice(*group.guest_start[[first, last]].tolist())], device).long()
        near = (visitors >= begin) & (visitors < end)
        outside = torch.unique(visitors[~near])
        far = outside.cpu().numpy()
        for name, array in (("stored", group.vectors), ("rows", group.rows), ("probes", group.probes)):
            parts[name] += [on_device(some, device) for some in (array[begin:end], array[far]) if len(some)]
        for some in (group.keys[begin:end], group.keys[far]):
            parts["keys"] += [on_device(some.view(np.int64), device)] if len(some) else []
        met = torch.where(near, visitors - begin, end - begin + torch.searchsorted(outside, visitors))
        parts["place"] += [size + torch.arange(end - begin, device=device), size + met]
        for guest, start in ((0, group.start), (1, group.guest_start)):
            lists = torch.arange(first, last, device=device)
            parts["number"].append(2 * lists.repeat_interleave(on_device(np.diff(start[first : last + 1]), device)) + guest)
        size += end - begin + len(far)
    if not size:
        nobody = torch.empty(0, dtype=torch.int64, device=device)
        return Held(torch.empty(0, 1, device=device), nobody, nobody[:, None], nobody, nobody, nobody)
    held = Held(**{name: some[0] if len(some) == 1 else torch.cat(some) for name, some in parts.items()})
    order = torch.argsort(held.rows[held.place])
    order = order[torch.argsort(held.number[order], stable=True)]
    return Held(held.stored, held.rows, held.probes, held.keys, held.place[order], held.number[order])


def held_of(stored: "Tensor", rows: "Tensor", probes: "Tensor") -> Held:
    """Return vectors that are on a device already, given their ascending global rows and the lists that each probes."""
    import torch

    keys = keys_on(stored)
    _, same = torch.unique(keys, return_inverse=True)
    first = torch.full((len(rows),), len(rows), dtype=torch.int64, device=rows.device)
    first = first.scatter_reduce(0, same, torch.arange(len(rows), device=rows.device), "amin")[same]
    probes = probes[first].long()  # equal vectors could probe other lists where two centroids are equally near
    place, column = torch.nonzero(probes >= 0, as_tuple=True)
    number = 2 * probes[place, column] + (column > 0)
    order = torch.argsort(number, stable=True)
    return Held(stored, rows, probes, keys, place[order], number[order])


def keys_on(stored: "Tensor") -> "Tensor":
    """Return the bits of `graph.vectors.keys`, as int64 (n,)."""
    import torch

    numbers = np.random.default_rng(0).integers(0, 1 << 64, -(-stored.shape[1] * stored.element_size() // 8), np.uint64)
    multipliers = on_device((numbers | np.uint64(1)).view(np.int64), str(stored.device))
    step, shift, hashed = -0x61C8864680B583EB, -0x40A7B892E31B1A47, []
    for at in range(0, len(stored), KEYED_ROWS):
        rows = stored[at : at + KEYED_ROWS].contiguous().view(torch.uint8)
        words = torch.nn.functional.pad(rows, (0, -rows.shape[1] % 8)).view(torch.int64) + step
        words = (words ^ ((words >> 30) & (1 << 34) - 1)) * shift
        words ^= (words >> 27) & (1 << 37) - 1
        hashed.append((words * multipliers).sum(1))
    return torch.cat(hashed) if hashed else torch.empty(0, dtype=torch.int64, device=stored.device)


def _joined(held: Held, scanner: TileScanner, new_from: int) -> "Iterator[Found]":
    """Yield (row, row, cosine) of the pairs that the held lists report."""
    import torch

    if not len(held.place):
        return
    place, number, (original, copy) = _distinct(held)
    late = held.rows[copy] >= new_from
    if scanner.threshold <= 1:
        equal = torch.ones(int(late.sum()), dtype=torch.float32, device=late.device)
        yield held.rows[original[late]], held.rows[copy[late]], equal
    first_list, last_list = int(number[0]) // 2, int(number[-1]) // 2
    counts = torch.bincount(number - 2 * first_list, minlength=2 * (last_list - first_list + 1)).cpu().numpy()
    home, guests = counts.reshape(-1, 2).T
    begin = np.concatenate([[0], np.cumsum(home + guests)])
    for low, high in _cut(home + guests, SLOT_ROWS):
        some = place[int(begin[low]) : int(begin[high])]
        yield from _compared(held, some, home[low:high], guests[low:high], low + first_list, scanner, new_from)


def _compared(
    held: Held, place: "Tensor", home: Rows, guests: Rows, first: int, scanner: TileScanner, new_from: int
) -> "Iterator[Found]":
    """Yield the pairs of consecutive lists from `first` on, given the rows in them and how many live in and visit each."""
    import torch

    wide = -(-home // ALIGNED) * ALIGNED
    slots, begin = _slots(place, home, guests, wide)
    slot_begin, guest_begin = on_device(begin, scanner.device), on_device(begin[:-1] + wide, scanner.device)
    of = held.rows[slots.clamp(min=0)]
    compared = tiles(begin[:-1], begin[:-1] + wide, begin[1:])
    side = of >= new_from if new_from else None
    rows = scanner.rows(held.stored, slots)
    for one, other, cosine in scanner.scan(rows, compared, stored=held.stored, position=slots, side=side):
        number = torch.searchsorted(slot_begin, one, right=True) - 1
        keep = (one < guest_begin[number]) | _reported_here(held.probes, slots[one], slots[other], number + first)
        if new_from:
            keep &= (of[one] >= new_from) | (of[other] >= new_from)
        yield of[one[keep]], of[other[keep]], cosine[keep]


def _distinct(held: Held) -> tuple["Tensor", "Tensor", tuple["Tensor", "Tensor"]]:
    """Return the places and lists with one row per vector in each, the smallest, and every other row at home beside it."""
    import torch

    keys = held.keys[held.place]
    order = torch.argsort(keys, stable=True)
    order = order[torch.argsort(held.number[order], stable=True)]  # by list, then vector, then row
    fresh = torch.ones(len(order), dtype=torch.bool, device=order.device)
    fresh[1:] = (held.number[order][1:] != held.number[order][:-1]) | (keys[order][1:] != keys[order][:-1])
    kept = torch.sort(order[fresh]).values
    stands_for = order[fresh][torch.cumsum(fresh, 0) - 1]
    other = torch.nonzero(~fresh & (held.number[order] % 2 == 0)).flatten()
    return held.place[kept], held.number[kept], (held.place[stands_for[other]], held.place[order[other]])


def _slots(place: "Tensor", home: Rows, guests: Rows, wide: Rows) -> tuple["Tensor", Rows]:
    """Return the position in every slot, -1 for one that is left empty, and where the slots of each list begin."""
    import torch

    begin = np.concatenate([[0], np.cumsum(wide + guests)])
    # Where the rows of each list begin among the rows, once those that live there and once those that visit, and among the slots.
    sizes = np.stack([home, guests], 1).ravel()
    slot = np.stack([begin[:-1], begin[:-1] + wide], 1).ravel()
    at = np.arange(len(place)) + np.repeat(slot - (np.cumsum(sizes) - sizes), sizes)
    slots = torch.full((int(begin[-1]),), -1, dtype=torch.int64, device=place.device)
    slots[on_device(at, str(place.device))] = place
    return slots, begin


def _reported_here(probes: "Tensor", guest: "Tensor", other: "Tensor", lists: "Tensor") -> "Tensor":
    """Say which hits of guests are the list's to report: not those that the guest's home meets too and comes before."""
    home = probes[guest, 0]
    met_there = (probes[other] == home[:, None]).any(1)
    return ~met_there | (home > lists)


def _ordered(found: "Sequence[Found]") -> Pairs:
    """Return pairs as row_a < row_b, sorted: on the device where both rows fit one number."""
    import torch

    if not found:
        return _none()
    a, b, cosine = (torch.cat(some) for some in zip(*found, strict=True))
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    if len(high) and int(high.max()) < 1 << 31:
        order = torch.argsort((low << 32) | high)
        return Pairs(*(some[order].cpu().numpy() for some in (low, high, cosine)))
    return _sorted([Pairs(low.cpu().numpy(), high.cpu().numpy(), cosine.cpu().numpy())])
