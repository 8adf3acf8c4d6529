"""Consecutive lists with everything they compare, read once and in the order of the files.

A row that visits a list often lives in a list nearby, for the lists of a cell are consecutive; so the vectors at home in some
hundred lists and those of their guests are held together, each normalised once for all the lists it meets. The files are read
from front to back, and what the system maps of one group is given back before the next. A list too long to be held is read
piece by piece instead (`OnDisk`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from graph.lists import Group, Members, at_home, release, unit_vectors, visiting
from graph.vectors import Floats, Rows, unit

READ_ROWS = 256
"""Vectors of a file that are normalised at a time, few enough that their memory is used again."""


@dataclass(frozen=True)
class Block:
    """Lists from `first` on, held in memory; positions of its members are places in `points`."""

    first: int
    home: Members  # by list, ascending by row inside
    home_start: Rows  # (lists + 1,) where every list begins in `home`
    guests: Members
    guest_start: Rows
    points: Floats  # (n, d) unit vectors, each row that is at home or visits once

    def at_home(self, number: int) -> Members:
        """Return the rows whose nearest list is `number`."""
        return self.home.take(slice(*self.home_start[number - self.first : number - self.first + 2]))

    def visiting(self, number: int) -> Members:
        """Return the rows that probe list `number` and have another home."""
        return self.guests.take(slice(*self.guest_start[number - self.first : number - self.first + 2]))

    def vectors(self, members: Members) -> Floats:
        """Return the unit vectors of some rows, float32 (m, d)."""
        return np.take(self.points, members.position, axis=0)


@dataclass(frozen=True)
class OnDisk:
    """The same of lists that are not held: everything is read when it is asked for, and mapped until `release`."""

    groups: Sequence[Group]

    def at_home(self, number: int) -> Members:
        """Return the rows whose nearest list is `number`."""
        return at_home(self.groups, number)

    def visiting(self, number: int) -> Members:
        """Return the rows that probe list `number` and have another home."""
        return visiting(self.groups, number)

    def vectors(self, members: Members) -> Floats:
        """Return the unit vectors of some rows, float32 (m, d)."""
        return unit_vectors(self.groups, members)


def blocks(groups: Sequence[Group], *, first: int, last: int, held_rows: int) -> Iterator[tuple[range, Block | OnDisk]]:
    """Yield the lists from `first` to before `last` with what they compare, about `held_rows` rows at most at a time."""
    rows = np.zeros(last - first, np.int64)
    for group in groups:
        for start in (group.start, group.guest_start):
            rows += np.diff(start[first : last + 1])
    begin = first
    while begin < last:
        held = np.cumsum(rows[begin - first :])
        end = begin + int(np.searchsorted(held, held_rows, side="right"))
        if end > begin:
            yield range(begin, end), hold(groups, begin, end)
        else:
            end = begin + 1
            yield range(begin, end), OnDisk(groups)
            release(groups)
        begin = end


def hold(groups: Sequence[Group], first: int, last: int) -> Block:
    """Return lists `first` to before `last` with all their vectors in memory; nothing of the groups stays mapped."""
    outside, home, guests, lists, guest_lists, size = [], [], [], [], [], 0
    for group in groups:
        begin, end = group.start[[first, last]].tolist()
        visitors = np.array(group.guests[slice(*group.guest_start[[first, last]])], np.int64)
        near = (visitors >= begin) & (visitors < end)
        outside.append(np.unique(visitors[~near]))
        place = np.where(near, visitors - begin, end - begin + np.searchsorted(outside[-1], visitors))
        home.append(_members(group, np.arange(begin, end), size + np.arange(end - begin)))
        guests.append(_members(group, visitors, size + place))
        numbers = np.arange(first, last)
        lists.append(np.repeat(numbers, np.diff(group.start[first : last + 1])))
        guest_lists.append(np.repeat(numbers, np.diff(group.guest_start[first : last + 1])))
        size += end - begin + len(outside[-1])
    points = np.empty((size, groups[0].vectors.shape[1]), np.float32)
    at = 0
    for group, far in zip(groups, outside, strict=True):
        begin, end = group.start[[first, last]].tolist()
        at = _read(points, at, group.vectors[begin:end])
        at = _read(points, at, group.vectors, far)
        release([group])
    held, held_start = _by_list(home, lists, first, last)
    visits, visit_start = _by_list(guests, guest_lists, first, last)
    return Block(first, held, held_start, visits, visit_start, points)


def _members(group: Group, stored: Rows, position: Rows) -> Members:
    """Return rows of a group by where they are stored, with their places in a block."""
    return Members(np.zeros(len(stored), np.int32), position, group.rows[stored], group.probes[stored], group.keys[stored])


def _read(points: Floats, at: int, vectors: NDArray[np.floating], chosen: Rows | None = None) -> int:
    """Write the unit vectors of all or the chosen rows into `points` from `at` on; returns where they end."""
    count = len(vectors) if chosen is None else len(chosen)
    for begin in range(0, count, READ_ROWS):
        some = slice(begin, min(begin + READ_ROWS, count))
        points[at + some.start : at + some.stop] = unit(vectors[some] if chosen is None else vectors[chosen[some]])
    return at + count


def _by_list(members: Sequence[Members], lists: Sequence[Rows], first: int, last: int) -> tuple[Members, Rows]:
    """Return members of several groups by list and then row, and where every list begins."""
    joined = Members(*(np.concatenate([getattr(some, column.name) for some in members]) for column in fields(Members)))
    number = np.concatenate(lists)
    order = np.lexsort((joined.rows, number))
    return joined.take(order), np.searchsorted(number[order], np.arange(first, last + 1)).astype(np.int64)
