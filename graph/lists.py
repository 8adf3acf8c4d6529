"""Vectors stored list by list, so that a join reads what it compares and nothing else.

Enters: a group of rows and the lists each of them probes. Leaves: the rows in the order of their nearest list, their `home`,
and for every list the rows that probe it from elsewhere (two counting sorts). A group is a folder of plain .npy arrays that
are memory-mapped: a list is one contiguous stretch of every group, and nobody loads a group whole. Vectors are kept as they
were stored (float16), so a pair's cosine is that of the embeddings themselves.
"""

import itertools
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema
from graph.quantiser import Numbers, Quantiser, probes
from graph.vectors import Floats, Rows, keys, unit

ASSIGNED_ROWS = 16384
"""Rows whose lists are looked for at a time."""


@dataclass(frozen=True)
class Group:
    """Some rows in list order. `n` rows, `L` lists, `P` probes."""

    vectors: NDArray[np.floating]  # (n, d) as stored
    rows: Rows  # (n,) global rows, ascending inside a list
    probes: Numbers  # (n, P) lists, the home first; -1 where fewer are probed
    keys: NDArray[np.uint64]  # (n,) equal for vectors that are equal bit for bit
    start: Rows  # (L + 1,) where the rows at home in each list begin
    guests: Numbers  # positions of the rows that probe each list from another home, by list
    guest_start: Rows  # (L + 1,) where each list begins in `guests`


@dataclass(frozen=True)
class Members:
    """Rows of several groups that meet in one list, in ascending order of global row."""

    group: Numbers  # (m,) which group
    position: Rows  # (m,) where in the group
    rows: Rows  # (m,)
    probes: Numbers  # (m, P)
    keys: NDArray[np.uint64]  # (m,)

    def take(self, chosen: Rows | slice | NDArray[np.bool_]) -> "Members":
        """Return some of the rows."""
        return Members(self.group[chosen], self.position[chosen], self.rows[chosen], self.probes[chosen], self.keys[chosen])

    def __len__(self) -> int:
        return len(self.rows)


def assigned(
    *,
    vectors: NDArray[np.floating],
    rows: Rows,
    quantiser: Quantiser,
    nprobe: int,
    margin: float = 2.0,
    descend: int = 6,
    mean: Floats | None = None,
    device: str = "cpu",
) -> Group:
    """Return a group of rows in the order of the quantiser's lists; vectors that are equal bit for bit probe the same lists.

    mean: what is subtracted before the nearest lists are looked for; the vectors are stored as they are. device: cpu, or the GPU
    where they meet every centroid, see graph/quantiser_gpu.py.
    """
    hashed = keys(vectors)
    _, first, place = np.unique(hashed, return_index=True, return_inverse=True)
    asked = vectors if len(first) == len(hashed) else vectors[first]
    if device == "cpu":
        probed = np.empty((len(asked), nprobe), np.int32)
        for at in range(0, len(asked), ASSIGNED_ROWS):
            some = slice(at, at + ASSIGNED_ROWS)
            probed[some] = probes(_asked(asked[some], mean), quantiser, nprobe=nprobe, margin=margin, descend=descend)
    else:
        from graph.quantiser_gpu import probes_on

        probed = probes_on(asked, quantiser, nprobe=nprobe, margin=margin, device=device, mean=mean)
    if len(first) < len(hashed):
        # Equal rows may differ in the last bit of a matrix product, which decides between two centroids equally near.
        probed = probed[place]
    return group_rows(vectors=vectors, rows=rows, probes=probed, num_lists=quantiser.num_lists, hashed=hashed)


def _asked(vectors: NDArray[np.floating], mean: Floats | None) -> Floats:
    rows = unit(vectors)
    return rows if mean is None else unit(rows - mean)


def group_rows(
    *, vectors: NDArray[np.floating], rows: Rows, probes: Numbers, num_lists: int, hashed: NDArray[np.uint64] | None = None
) -> Group:
    """Return a group of finite rows other than zero.

    rows: their global numbers, ascending. probes: int32 (n, P), the home first. hashed: their `keys`, if already known.
    """
    order = np.argsort(probes[:, 0], kind="stable")
    probes = np.ascontiguousarray(probes[order])
    position, column = np.nonzero(probes[:, 1:] >= 0)
    probed = probes[position, column + 1]
    by_list = np.argsort(probed, kind="stable")
    lists = np.arange(num_lists + 1)
    stored = np.ascontiguousarray(vectors[order])
    return Group(
        vectors=stored,
        rows=rows[order],
        probes=probes,
        keys=keys(stored) if hashed is None else hashed[order],
        start=np.searchsorted(probes[:, 0], lists).astype(np.int64),
        guests=position[by_list].astype(np.int32),
        guest_start=np.searchsorted(probed[by_list], lists).astype(np.int64),
    )


def save(group: Group, folder: Path, number: int) -> dict[str, Path]:
    """Write a group's arrays into `folder`; returns the files by the name they are to have beside the table's parts."""
    arrays = {column.name: getattr(group, column.name) for column in fields(Group)} | {"place": places(group.rows)}
    files = {f"{name}-{number:05d}.npy": folder / f"{name}-{number:05d}.npy" for name in arrays}
    for array, path in zip(arrays.values(), files.values(), strict=True):
        np.save(path, array)
    return files


def places(rows: Rows) -> Rows:
    """Return int64 (1 + rows spanned,): the smallest row, then where in the group it and every later one is; -1 where it is not.

    So a row is found by one look, whatever the size of the group.
    """
    first = int(rows.min(initial=np.iinfo(np.int64).max)) if len(rows) else 0
    place = np.full(int(rows.max(initial=first - 1)) - first + 2, -1, np.int64)
    place[0] = first
    place[1 + rows - first] = np.arange(len(rows))
    return place


def load_places(folder: Path, number: int) -> Rows:
    """Return `places` of a group, mapped from disk."""
    return np.asarray(np.load(folder / f"place-{number:05d}.npy", mmap_mode="r").view(np.ndarray))


def load(folder: Path, number: int) -> Group:
    """Return a group whose vectors stay on disk: they and the other long arrays are memory-mapped."""
    files = (folder / f"{column.name}-{number:05d}.npy" for column in fields(Group))
    return Group(*(np.load(file, mmap_mode="r").view(np.ndarray) for file in files))


def load_vectors(folder: Path, number: int) -> NDArray[np.floating]:
    """Return the vectors of a group alone, memory-mapped."""
    return np.asarray(np.load(folder / f"vectors-{number:05d}.npy", mmap_mode="r").view(np.ndarray))


def release(groups: Sequence[Group]) -> None:
    """Give the pages of loaded groups back; what is read next comes from the disk or its cache again."""
    for group in groups:
        for column in fields(Group):
            held = getattr(group, column.name)
            while isinstance(held, np.ndarray):
                held = held.base
            if isinstance(held, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                held.madvise(mmap.MADV_DONTNEED)


def summary(group: Group) -> pa.Table:
    """Return LISTS: how many rows of the group are at home in each list, and how many probe it; empty lists are left out."""
    home, guests = np.diff(group.start), np.diff(group.guest_start)
    lists = np.flatnonzero(home + guests)
    return schema.conform(pa.table({"list": lists, "rows": home[lists], "guests": guests[lists]}), schema.LISTS)


def at_home(groups: Sequence[Group], number: int) -> Members:
    """Return the rows whose nearest list is `number`."""
    return _members(groups, [np.arange(group.start[number], group.start[number + 1]) for group in groups])


def visiting(groups: Sequence[Group], number: int) -> Members:
    """Return the rows that probe list `number` and have another home."""
    return _members(groups, [group.guests[group.guest_start[number] : group.guest_start[number + 1]] for group in groups])


def _members(groups: Sequence[Group], positions: Sequence[NDArray[np.integer]]) -> Members:
    group = np.repeat(np.arange(len(groups), dtype=np.int32), [len(some) for some in positions])
    found = Members(
        group=group,
        position=np.concatenate(positions).astype(np.int64),
        rows=np.concatenate([g.rows[p] for g, p in zip(groups, positions, strict=True)]),
        probes=np.concatenate([g.probes[p] for g, p in zip(groups, positions, strict=True)]),
        keys=np.concatenate([g.keys[p] for g, p in zip(groups, positions, strict=True)]),
    )
    if (np.diff(found.rows) > 0).all():
        return found
    return found.take(np.argsort(found.rows, kind="stable"))


def unit_vectors(groups: Sequence[Group], members: Members) -> Floats:
    """Return the unit vectors of some rows, float32 (m, d)."""
    stored = np.empty((len(members), groups[0].vectors.shape[1]), groups[0].vectors.dtype)
    cuts = [0, *(np.flatnonzero(np.diff(members.group)) + 1).tolist(), len(members)]
    for begin, end in itertools.pairwise(cuts):  # groups hold consecutive rows, so each is one stretch of the members
        if begin < end:
            vectors = groups[members.group[begin]].vectors
            np.take(vectors, members.position[begin:end], axis=0, out=stored[begin:end], mode="clip")
    return unit(stored)


def distinct(members: Members) -> tuple[Rows, Rows, Rows]:
    """Return positions of one row per vector, the smallest, and of every other row with that of the row it equals."""
    _, first, place = np.unique(members.keys, return_index=True, return_inverse=True)
    stands_for = first[place]  # members ascend by row, so the first is the smallest
    others = np.flatnonzero(stands_for != np.arange(len(members)))
    return np.sort(first), others, stands_for[others]


def balanced(rows: Rows, guests: Rows, *, pairs_per_block: int) -> list[tuple[int, int]]:
    """Return consecutive blocks [first, last) of lists with about `pairs_per_block` comparisons each; one list is never cut.

    rows, guests: (L,) rows at home in each list, and rows that probe it from elsewhere.
    """
    work = rows * (rows / 2 + guests)
    if not work.any():
        return []
    block = ((np.cumsum(work) - work / 2) // pairs_per_block).astype(np.int64)
    cuts = np.flatnonzero(np.diff(block)) + 1
    return list(zip([0, *cuts.tolist()], [*cuts.tolist(), len(rows)], strict=True))
