"""The order of blocks on a page: outlines enter, their numbers leave in order, by cutting the page along its valleys.

A valley is an empty stretch across all blocks of a region (recursive XY-cut, Nagy and Seth 1984). Where the region can be
cut both ways, the widest valley alone is a poor guide, so four questions come first. Is a single line of larger type on top:
a headline. Does every cell of a grid begin with larger type: cards, read row by row. Is a single row far below: a foot. Only
then the wider valley wins. A region without valleys is ordered by two rules of Breuel 2003: what is above comes before what
is below it, and of two blocks side by side the left one comes first.

Breuel 2003, "High performance document layout analysis", Symposium on Document Image Understanding Technology.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

Box = tuple[float, float, float, float]  # left, top, right, bottom, px
LARGER = 1.25
"""Type this many times larger is a heading's."""
FOOT_GAP = 1.8
"""A foot stands this many line heights below everything else."""
LOOSE = 0.15
"""Outlines are loose by about this share of a line height at every side."""


@dataclass(frozen=True)
class Block:
    """Lines that belong together: their outline, the median thickness of a line, the thickness of the first, their rows."""

    box: Box
    size: float
    first: float
    rows: int


def block_order(blocks: Sequence[Block]) -> list[int]:
    """Return the numbers of `blocks` in reading order."""
    order: list[int] = []
    waiting = [list(range(len(blocks)))]  # a stack instead of recursion: a page may be cut a thousand times
    while waiting:
        members = waiting.pop()
        parts = _parts(blocks, members) if len(members) > 1 else [members]
        if len(parts) == 1:
            order += members if len(members) == 1 else _by_rules(blocks, members)
        else:
            waiting += reversed(parts)
    return order


def _parts(blocks: Sequence[Block], members: list[int]) -> list[list[int]]:
    """Return `members` cut to parts, in order; one part when there is no valley."""
    rows, columns = _valleys(blocks, members, axis=1), _valleys(blocks, members, axis=0)
    if len(rows) == 1 or len(columns) == 1:
        return _runs(blocks, rows) if len(columns) == 1 else columns
    for number, cuts in ((1, _is_headline), (len(rows) - 1, _is_foot)):
        above, below = _flat(rows[:number]), _flat(rows[number:])
        if cuts(blocks, above, below):
            return [above, below]
    gaps = [_gap(blocks, first, second, axis=1) for first, second in pairwise(rows)]
    widest = max(range(len(gaps)), key=lambda index: (gaps[index], -index))
    above, below = _flat(rows[: widest + 1]), _flat(rows[widest + 1 :])
    if _is_grid(blocks, above, below):
        return [above, below]
    sideways = max(_gap(blocks, first, second, axis=0) for first, second in pairwise(columns))
    return [above, below] if gaps[widest] > sideways else columns


def _runs(blocks: Sequence[Block], rows: list[list[int]]) -> list[list[int]]:
    """Return rows joined to runs that a valley between columns goes through: what stands over and under them spans it."""
    runs = [rows[0]]
    for row in rows[1:]:
        if len(_valleys(blocks, runs[-1] + row, axis=0)) > 1:
            runs[-1] = runs[-1] + row
        else:
            runs.append(row)
    return runs


def _flat(parts: Sequence[list[int]]) -> list[int]:
    return list(chain.from_iterable(parts))


def _valleys(blocks: Sequence[Block], members: list[int], *, axis: int) -> list[list[int]]:
    """Return `members` cut at every valley across `axis`: 0 cuts between columns, 1 between rows."""
    parts: list[list[int]] = []
    end = float("-inf")
    for index in sorted(members, key=lambda index: (blocks[index].box[axis], index)):
        low, high = _tight(blocks[index], axis)
        if low > end:
            parts.append([])
        parts[-1].append(index)
        end = max(end, high)
    return parts


def _tight(block: Block, axis: int) -> tuple[float, float]:
    low, high = block.box[axis], block.box[axis + 2]
    loose = min(LOOSE * block.size, 0.3 * (high - low))
    return low + loose, high - loose


def _gap(blocks: Sequence[Block], first: Sequence[int], second: Sequence[int], *, axis: int) -> float:
    return min(blocks[index].box[axis] for index in second) - max(blocks[index].box[axis + 2] for index in first)


def _is_headline(blocks: Sequence[Block], above: Sequence[int], below: Sequence[int]) -> bool:
    return len(above) == 1 and blocks[above[0]].rows <= 2 and blocks[above[0]].size >= LARGER * max(blocks[b].size for b in below)


def _is_foot(blocks: Sequence[Block], above: Sequence[int], below: Sequence[int]) -> bool:
    alone = len(below) == 1 and blocks[below[0]].rows == 1
    return alone and _gap(blocks, above, below, axis=1) >= FOOT_GAP * max(
        blocks[below[0]].size, min(blocks[a].size for a in above)
    )


def _is_grid(blocks: Sequence[Block], above: Sequence[int], below: Sequence[int]) -> bool:
    """Tell whether both rows hold cells whose tops are level and which begin with larger type than they go on with."""
    return all(_has_level_cards(blocks, list(row)) for row in (above, below))


def _has_level_cards(blocks: Sequence[Block], row: list[int]) -> bool:
    cells = _valleys(blocks, row, axis=0)
    heads = [min(cell, key=lambda index: (blocks[index].box[1], index)) for cell in cells]
    tops = [blocks[index].box[1] for index in heads]
    level = max(tops) - min(tops) < 0.6 * max(blocks[index].first for index in heads)
    rests = [[blocks[index].size for index in cell if index != head] for cell, head in zip(cells, heads, strict=True)]
    headed = [blocks[head].first >= LARGER * min(rest) for head, rest in zip(heads, rests, strict=True) if rest]
    return len(cells) > 1 and level and bool(headed) and all(headed)


def _by_rules(blocks: Sequence[Block], members: list[int]) -> list[int]:
    """Sort topologically by Breuel's rules; among the free ones the topmost, then the leftmost, comes first."""
    ahead = {b: {a for a in members if a != b and _precedes(blocks[a].box, blocks[b].box)} for b in members}
    order = []
    while ahead:
        free = [b for b, before in ahead.items() if not before] or list(ahead)
        chosen = min(free, key=lambda b: (blocks[b].box[1], blocks[b].box[0], b))
        del ahead[chosen]
        for before in ahead.values():
            before.discard(chosen)
        order.append(chosen)
    return order


def _precedes(first: Box, second: Box) -> bool:
    """Tell whether a rule puts the first outline before the second."""
    beside, below = overlap(first, second, axis=1), overlap(first, second, axis=0)
    if beside > 0.3 and beside >= below:
        return first[0] + first[2] < second[0] + second[2]
    return below > 0.1 and first[1] + first[3] < second[1] + second[3]


def overlap(first: Box, second: Box, *, axis: int) -> float:
    """Return the overlap of two boxes along x (0) or y (1) as a share of the shorter side."""
    shared = min(first[axis + 2], second[axis + 2]) - max(first[axis], second[axis])
    shorter = min(first[axis + 2] - first[axis], second[axis + 2] - second[axis])
    return max(shared, 0.0) / shorter if shorter > 0 else 0.0
