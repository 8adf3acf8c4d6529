"""The order in which a reader takes the lines of a picture: their polygons enter, their numbers leave in order.

Sorting by the top edge mixes columns, and cutting at the widest gap tears tables and headlines apart. So lines are first put
together to blocks, then blocks are ordered by two rules of Breuel 2003 (section 5): what is above comes before what is below it,
and of two blocks side by side the left one comes first; blocks that no rule relates follow row by row. Two blocks side by side
whose lines pair up row by row, the right ones being short (a menu with prices), are one table, read by rows.

Vertical columns (Chinese, Japanese) are turned so that their right-to-left order becomes top to bottom, ordered by the same
rules, and take one place among the horizontal blocks. A slanted page is first turned level by the median angle of its lines.

Breuel 2003, "High performance document layout analysis", Symposium on Document Image Understanding Technology.
"""

from collections.abc import Callable, Sequence
from itertools import permutations
from statistics import median

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]  # left, top, right, bottom, px
Boxes = Sequence[Box]
VERTICAL_ASPECT = 1.5
"""A line this many times taller than wide is a vertical column (the cut PP-OCR turns its crops at)."""
BLOCK_GAP = 1.5
"""Lines with more than this many line heights between them do not belong to one block."""
THICKNESS_RATIO = 1.5
"""Lines of one block differ in height by less than this factor: a headline is a block of its own."""
TABLE_ASPECT = 5.0
"""The right half of a table holds lines shorter than this many line heights: prices, page numbers, times."""


def reading_order(polygons: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of `polygons` in reading order.

    polygons: x0 y0 x1 y1 x2 y2 x3 y3 of each line, px, y down. Non-finite polygons come last, in their given order.
    """
    corners = np.asarray(polygons, dtype=np.float64).reshape(-1, 4, 2)
    usable = np.isfinite(corners).all(axis=(1, 2))
    indices, last = np.flatnonzero(usable), np.flatnonzero(~usable)
    boxes = _bounds(_level(corners[indices]))
    order = _mixed_order(boxes) if len(boxes) else []
    return [int(indices[position]) for position in order] + [int(index) for index in last]


def _level(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the corners turned by the median slant of the lines' long edges; a slant below 2 degrees is left alone."""
    edges = np.roll(corners, -1, axis=1) - corners
    lengths = np.linalg.norm(edges, axis=2)
    longest = np.take_along_axis(edges, lengths.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    if not len(longest):
        return corners
    angles = np.degrees(np.arctan2(longest[:, 1], longest[:, 0]))
    slant = float(np.median((angles + 45.0) % 90.0 - 45.0))
    if abs(slant) < 2.0:
        return corners
    cosine, sine = np.cos(np.radians(slant)), np.sin(np.radians(slant))
    return np.asarray(corners @ np.array([[cosine, -sine], [sine, cosine]]), np.float64)


def _bounds(corners: NDArray[np.float64]) -> list[Box]:
    # Plain tuples: the rules below look at two boxes at a time, where numpy is many times slower.
    edges = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return [(left, top, right, bottom) for left, top, right, bottom in edges.tolist()]


def _mixed_order(boxes: Boxes) -> list[int]:
    """Order horizontal and vertical lines together: each cluster of vertical ones takes one place among the horizontal."""
    vertical = _vertical(boxes)
    lying = [index for index in range(len(boxes)) if index not in vertical]
    groups = _tables(boxes, _blocks(boxes, lying)) + _clusters(boxes, sorted(vertical))
    order: list[int] = []
    for group in _ordered(boxes, groups):
        order += _vertical_order(boxes, group) if group[0] in vertical else _rows(boxes, group)
    return order


def _vertical(boxes: Boxes) -> set[int]:
    """Return which boxes are vertical columns; a narrow digit no taller than the other lines is not."""
    tall = {index for index, box in enumerate(boxes) if _height(box) > VERTICAL_ASPECT * (box[2] - box[0])}
    others = [_height(box) for index, box in enumerate(boxes) if index not in tall]
    if not others:
        return tall
    return {index for index in tall if _height(boxes[index]) > 1.8 * median(others)}


def _vertical_order(boxes: Boxes, group: list[int]) -> list[int]:
    """Order vertical columns: turned by a quarter, the rightmost column becomes the topmost row."""
    turned = [(top, -right, bottom, -left) for left, top, right, bottom in (boxes[index] for index in group)]
    local = list(range(len(group)))
    ordered = _ordered(turned, _blocks(turned, local))
    return [group[position] for block in ordered for position in _rows(turned, block)]


def _blocks(boxes: Boxes, members: list[int]) -> list[list[int]]:
    """Put lines together that stand close below each other, overlap sideways and have about the same height."""

    def joined(a: int, b: int) -> bool:
        first, second = boxes[a], boxes[b]
        heights = first[3] - first[1], second[3] - second[1]
        if max(heights) > THICKNESS_RATIO * min(heights):
            return False
        gap = max(first[1], second[1]) - min(first[3], second[3])
        close = -0.5 * min(heights) < gap < BLOCK_GAP * min(heights)
        return close and _overlap(first, second, axis=0) > 0.3

    return _components(members, joined)


def _clusters(boxes: Boxes, members: list[int]) -> list[list[int]]:
    """Put vertical columns together that stand beside or below each other within twice their width."""

    def joined(a: int, b: int) -> bool:
        first, second = boxes[a], boxes[b]
        reach = 2.0 * max(first[2] - first[0], second[2] - second[0])
        gap_x = max(first[0], second[0]) - min(first[2], second[2])
        gap_y = max(first[1], second[1]) - min(first[3], second[3])
        return gap_x < reach and gap_y < reach

    return _components(members, joined)


def _components(members: list[int], joined: Callable[[int, int], bool]) -> list[list[int]]:
    """Return the connected components of `joined` over `members`, each sorted."""
    waiting, components = set(members), []
    for start in members:
        if start not in waiting:
            continue
        waiting.discard(start)
        component, frontier = [start], [start]
        while frontier:
            current = frontier.pop()
            near = [other for other in sorted(waiting) if joined(current, other)]
            waiting.difference_update(near)
            component += near
            frontier += near
        components.append(sorted(component))
    return components


def _tables(boxes: Boxes, groups: list[list[int]]) -> list[list[int]]:
    """Merge blocks side by side that are the columns of one table."""
    merged = [list(group) for group in groups]
    while pair := next(((a, b) for a, b in permutations(range(len(merged)), 2) if _is_table(boxes, merged[a], merged[b])), None):
        left, right = pair
        merged[left] += merged[right]
        del merged[right]
    return merged


def _is_table(boxes: Boxes, left: list[int], right: list[int]) -> bool:
    """Tell whether `right` is a column of short entries, most of which share a row with a line of `left`."""
    if len(left) < 2 or len(right) < 2 or min(boxes[b][0] for b in right) < median(boxes[a][2] for a in left):
        return False
    if median((boxes[b][2] - boxes[b][0]) / max(_height(boxes[b]), 1e-6) for b in right) >= TABLE_ASPECT:
        return False
    paired = sum(any(_overlap(boxes[a], boxes[b], axis=1) > 0.5 for a in left) for b in right)
    return paired >= 0.7 * len(right) and paired >= 0.5 * len(left)


def _ordered(boxes: Boxes, groups: list[list[int]]) -> list[list[int]]:
    """Sort groups topologically by Breuel's rules; among the free ones the topmost row, then the leftmost, comes first."""
    outlines = [_outline(boxes, group) for group in groups]
    number = len(groups)
    before = {(a, b) for a in range(number) for b in range(number) if a != b and _precedes(outlines[a], outlines[b])}
    pending = {b: {a for a in range(number) if (a, b) in before} for b in range(number)}
    order = []
    while pending:
        free = [b for b, ahead in pending.items() if not ahead] or list(pending)
        chosen = min(free, key=lambda b: (outlines[b][1], outlines[b][0], b))
        del pending[chosen]
        for ahead in pending.values():
            ahead.discard(chosen)
        order.append(groups[chosen])
    return order


def _outline(boxes: Boxes, group: list[int]) -> Box:
    lefts, tops, rights, bottoms = zip(*(boxes[index] for index in group), strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _height(box: Box) -> float:
    return box[3] - box[1]


def _precedes(first: Box, second: Box) -> bool:
    """Tell whether a rule puts the first outline before the second."""
    beside, below = _overlap(first, second, axis=1), _overlap(first, second, axis=0)
    if beside > 0.3 and beside >= below:
        return first[0] + first[2] < second[0] + second[2]
    return below > 0.1 and first[1] + first[3] < second[1] + second[3]


def _rows(boxes: Boxes, group: list[int]) -> list[int]:
    """Order the lines of one block: rows by overlap of more than half a line height, each from left to right."""
    rows: list[list[int]] = []
    for line in sorted(group, key=lambda index: (boxes[index][1] + boxes[index][3], index)):
        if rows and _overlap(boxes[rows[-1][0]], boxes[line], axis=1) > 0.5:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda index: (boxes[index][0], index))]


def _overlap(first: Box, second: Box, *, axis: int) -> float:
    """Return the overlap of two boxes along x (0) or y (1) as a share of the shorter side."""
    shared = min(first[axis + 2], second[axis + 2]) - max(first[axis], second[axis])
    shorter = min(first[axis + 2] - first[axis], second[axis + 2] - second[axis])
    return max(shared, 0.0) / shorter if shorter > 0 else 0.0
