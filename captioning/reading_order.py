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

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]  # (N, 4): left, top, right, bottom
VERTICAL_ASPECT = 1.5
"""A line this many times taller than wide is a vertical column (the cut PP-OCR turns its crops at)."""
BLOCK_GAP = 1.5
"""Lines with more than this many line heights between them do not belong to one block."""
THICKNESS_RATIO = 1.7
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


def _bounds(corners: NDArray[np.float64]) -> Boxes:
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _mixed_order(boxes: Boxes) -> list[int]:
    """Order horizontal and vertical lines together: each cluster of vertical ones takes one place among the horizontal."""
    vertical = _vertical(boxes)
    horizontal = np.flatnonzero(~vertical).tolist()
    clusters = _clusters(boxes, np.flatnonzero(vertical).tolist())
    groups = _blocks(boxes, horizontal) + clusters
    order: list[int] = []
    for group in _ordered(boxes, _tables(boxes, groups, vertical)):
        if vertical[group[0]]:
            order += _vertical_order(boxes, group)
        else:
            order += _rows(boxes, group)
    return order


def _vertical(boxes: Boxes) -> NDArray[np.bool_]:
    """Return which boxes are vertical columns; a narrow digit no taller than the other lines is not."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    tall = height > VERTICAL_ASPECT * width
    if tall.all() or not tall.any():
        return tall
    return tall & (height > 1.8 * np.median(height[~tall]))


def _vertical_order(boxes: Boxes, group: list[int]) -> list[int]:
    """Order vertical columns: turned by a quarter, the rightmost column becomes the topmost row."""
    left, top, right, bottom = boxes[group].T
    turned = np.stack([top, -right, bottom, -left], axis=1)
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
        return bool(close and _overlap(first, second, axis=0) > 0.3)

    return _components(members, joined)


def _clusters(boxes: Boxes, members: list[int]) -> list[list[int]]:
    """Put vertical columns together that stand beside or below each other within twice their width."""

    def joined(a: int, b: int) -> bool:
        first, second = boxes[a], boxes[b]
        reach = 2.0 * max(first[2] - first[0], second[2] - second[0])
        gap_x = max(first[0], second[0]) - min(first[2], second[2])
        gap_y = max(first[1], second[1]) - min(first[3], second[3])
        return bool(gap_x < reach and gap_y < reach)

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


def _tables(boxes: Boxes, groups: list[list[int]], vertical: NDArray[np.bool_]) -> list[list[int]]:
    """Merge every two blocks side by side that are the columns of one table."""
    merged = [list(group) for group in groups]
    position = 0
    while position < len(merged):
        partner = next(
            (
                other
                for other in range(len(merged))
                if other != position
                and not vertical[merged[position][0]]
                and not vertical[merged[other][0]]
                and _is_table(boxes, merged[position], merged[other])
            ),
            None,
        )
        if partner is None:
            position += 1
            continue
        merged[position] += merged.pop(partner)
        position = 0
    return merged


def _is_table(boxes: Boxes, left: list[int], right: list[int]) -> bool:
    """Tell whether `right` is a column of short entries, most of which share a row with a line of `left`."""
    if len(left) < 2 or len(right) < 2 or boxes[right, 0].min() < np.median(boxes[left, 2]):
        return False
    size = boxes[right, 2:] - boxes[right, :2]
    if np.median(size[:, 0] / np.maximum(size[:, 1], 1e-6)) >= TABLE_ASPECT:
        return False
    paired = sum(any(_overlap(boxes[a], boxes[b], axis=1) > 0.5 for a in left) for b in right)
    return paired >= 0.7 * len(right) and paired >= 0.5 * len(left)


def _ordered(boxes: Boxes, groups: list[list[int]]) -> list[list[int]]:
    """Sort groups topologically by Breuel's rules; among the free ones the topmost row, then the leftmost, comes first."""
    outlines = np.array([[*boxes[group, :2].min(axis=0), *boxes[group, 2:].max(axis=0)] for group in groups])
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


def _precedes(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Tell whether a rule puts the first outline before the second."""
    beside, below = _overlap(first, second, axis=1), _overlap(first, second, axis=0)
    centre_x, centre_y = (first[:2] + first[2:]) / 2 < (second[:2] + second[2:]) / 2
    if beside > 0.3 and beside >= below:
        return bool(centre_x)
    return bool(below > 0.1 and centre_y)


def _rows(boxes: Boxes, group: list[int]) -> list[int]:
    """Order the lines of one block: rows by overlap of more than half a line height, each from left to right."""
    rows: list[list[int]] = []
    for line in sorted(group, key=lambda index: (boxes[index][1] + boxes[index][3], index)):
        if rows and _overlap(boxes[rows[-1][0]], boxes[line], axis=1) > 0.5:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda index: (boxes[index][0], index))]


def _overlap(first: NDArray[np.float64], second: NDArray[np.float64], *, axis: int) -> float:
    """Return the overlap of two boxes along x (0) or y (1) as a share of the shorter side."""
    shared = min(first[axis + 2], second[axis + 2]) - max(first[axis], second[axis])
    shorter = min(first[axis + 2] - first[axis], second[axis + 2] - second[axis])
    return float(max(shared, 0.0) / shorter) if shorter > 0 else 0.0
