"""The order in which a reader takes the lines of a picture: their polygons enter, their numbers leave in order.

Sorting by the top edge mixes columns, and cutting at the widest gap tears tables and headlines apart. So the page is first turned
level, by quarters and then by the median angle of its lines; lines are put together to blocks, and blocks are ordered
(captioning/xy_cut.py). Two blocks side by side whose lines pair up row by row, the right ones being short or numbers (a menu
with prices), are one table, read by rows.

Vertical columns (Chinese, Japanese) are turned so that their right-to-left order becomes top to bottom, ordered by the same
rules, and take one place among the horizontal blocks. A page of Arabic or Hebrew is read in the mirror.
"""

from collections.abc import Sequence
from itertools import permutations
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from captioning.language import script_counts
from captioning.xy_cut import Block, Box, block_order, overlap

Boxes = Sequence[Box]
VERTICAL_ASPECT = 1.5
"""A line this many times taller than wide is a vertical column (the cut PP-OCR turns its crops at)."""
BLOCK_GAP = 1.5
"""Lines with more than this many line heights between them do not belong to one block."""
THICKNESS_RATIO = 1.5
"""Lines of one block differ in height by less than this factor: a headline is a block of its own."""
TABLE_ASPECT = 5.0
"""The right half of a table holds lines shorter than this many line heights: prices, page numbers, times."""
WORD_GAP = 0.8
"""Pieces of one row closer than this many line heights are of one block: a detector may break a line at its spaces."""


def reading_order(polygons: Sequence[Sequence[float]], texts: Sequence[str] | None = None) -> list[int]:
    """Return the indices of `polygons` in reading order.

    polygons: x0 y0 x1 y1 x2 y2 x3 y3 of each line, px, y down, clockwise from the text's own top left.
    texts: what the lines say; tells prices from columns of text, narrow digits from vertical columns and right-to-left scripts.
    Non-finite polygons come last, in their given order.
    """
    corners = np.asarray(polygons, dtype=np.float64).reshape(-1, 4, 2)
    usable = np.isfinite(corners).all(axis=(1, 2))
    indices, last = np.flatnonzero(usable), np.flatnonzero(~usable)
    said = [(texts[index] if texts else "") for index in indices]
    boxes = _bounds(_level(corners[indices]))
    if _right_to_left(said):
        boxes = [(-right, top, -left, bottom) for left, top, right, bottom in boxes]
    order = _mixed_order(boxes, said) if len(boxes) else []
    return [int(indices[position]) for position in order] + [int(index) for index in last]


def _level(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the corners with most text running to the right, and without the median slant of the lines' long edges."""
    if not len(corners):
        return corners
    edges = np.roll(corners, -1, axis=1) - corners
    lengths = np.linalg.norm(edges, axis=2)
    quarters = np.round(np.degrees(np.arctan2(edges[:, 0, 1], edges[:, 0, 0])) / 90.0).astype(int) % 4
    weights = np.bincount(quarters, weights=lengths[:, :2].max(axis=1) + 1e-9, minlength=4)
    corners = np.asarray(corners @ _rotation(90.0 * int(weights.argmax())), np.float64)
    edges = np.roll(corners, -1, axis=1) - corners
    longest = np.take_along_axis(edges, lengths.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    angles = np.degrees(np.arctan2(longest[:, 1], longest[:, 0]))
    slant = float(np.median((angles + 45.0) % 90.0 - 45.0))
    return corners if abs(slant) < 2.0 else np.asarray(corners @ _rotation(slant), np.float64)


def _rotation(degrees: float) -> NDArray[np.float64]:
    """Return the matrix that turns rows of x, y back by `degrees`."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


def _bounds(corners: NDArray[np.float64]) -> list[Box]:
    # Plain tuples: the rules below look at two boxes at a time, where numpy is many times slower.
    edges = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return [(left, top, right, bottom) for left, top, right, bottom in edges.tolist()]


def _right_to_left(texts: Sequence[str]) -> bool:
    counts = script_counts("".join(texts))
    return 2 * (counts.get("arabic", 0) + counts.get("hebrew", 0)) > sum(counts.values())


def _mixed_order(boxes: Boxes, texts: Sequence[str]) -> list[int]:
    """Order horizontal and vertical lines together: each cluster of vertical ones takes one place among the horizontal."""
    vertical = _vertical(boxes, texts)
    lying = [index for index in range(len(boxes)) if index not in vertical]
    groups = _tables(boxes, texts, _blocks(boxes, lying)) + _clusters(boxes, sorted(vertical))
    order: list[int] = []
    for number in block_order([_block(boxes, group, upright=group[0] in vertical) for group in groups]):
        group = groups[number]
        order += _vertical_order(boxes, group) if group[0] in vertical else _rows(boxes, group)
    return order


def _vertical(boxes: Boxes, texts: Sequence[str]) -> set[int]:
    """Return which boxes are vertical columns; a narrow digit is not: it is one character, or no taller than the other lines."""
    tall = {index for index, box in enumerate(boxes) if _height(box) > VERTICAL_ASPECT * (box[2] - box[0])}
    others = [_height(box) for index, box in enumerate(boxes) if index not in tall]
    said = {index for index in tall if len(texts[index].strip()) > 1}
    if not others:
        return tall
    return said | {index for index in tall - said if not texts[index] and _height(boxes[index]) > 1.8 * median(others)}


def _vertical_order(boxes: Boxes, group: list[int]) -> list[int]:
    """Order vertical columns: turned by a quarter, the rightmost column becomes the topmost row."""
    turned = [(top, -right, bottom, -left) for left, top, right, bottom in (boxes[index] for index in group)]
    blocks = _blocks(turned, list(range(len(group))))
    ordered = block_order([_block(turned, block) for block in blocks])
    return [group[position] for number in ordered for position in _rows(turned, blocks[number])]


def _block(boxes: Boxes, group: list[int], *, upright: bool = False) -> Block:
    """Return a group's outline and type; upright: of vertical columns, whose thickness is their width."""
    sizes = [boxes[index][2] - boxes[index][0] if upright else _height(boxes[index]) for index in group]
    first = min(range(len(group)), key=lambda place: boxes[group[place]][1])
    rows = 1 if upright else len(_row_groups(boxes, group))
    lefts, tops, rights, bottoms = zip(*(boxes[index] for index in group), strict=True)
    return Block((min(lefts), min(tops), max(rights), max(bottoms)), median(sizes), sizes[first], rows)


def _blocks(boxes: Boxes, members: list[int]) -> list[list[int]]:
    """Put lines together that stand close below each other, overlap sideways and have about the same height."""
    left, top, right, bottom = _edges(boxes, members)
    height = bottom - top
    low, high = np.minimum(height[:, None], height), np.maximum(height[:, None], height)
    gap_y = np.maximum(top[:, None], top) - np.minimum(bottom[:, None], bottom)
    gap_x = np.maximum(left[:, None], left) - np.minimum(right[:, None], right)
    narrower = np.maximum(np.minimum((right - left)[:, None], right - left), 1e-9)
    alike = high <= THICKNESS_RATIO * low
    below = (gap_y > -0.5 * low) & (gap_y < BLOCK_GAP * low) & (-gap_x > 0.3 * narrower)
    beside = (-gap_y > 0.7 * low) & (gap_x < WORD_GAP * low) & (gap_x > -0.5 * low)
    return _components(members, alike & (below | beside))


def _clusters(boxes: Boxes, members: list[int]) -> list[list[int]]:
    """Put vertical columns together that stand beside or below each other within twice their width."""
    left, top, right, bottom = _edges(boxes, members)
    width = right - left
    reach = 2.0 * np.maximum(width[:, None], width)
    gap_x = np.maximum(left[:, None], left) - np.minimum(right[:, None], right)
    gap_y = np.maximum(top[:, None], top) - np.minimum(bottom[:, None], bottom)
    return _components(members, (gap_x < reach) & (gap_y < reach))


def _edges(boxes: Boxes, members: list[int]) -> tuple[NDArray[np.float64], ...]:
    chosen = np.array([boxes[index] for index in members], np.float64).reshape(-1, 4)
    return tuple(chosen.T)


def _components(members: list[int], joined: NDArray[np.bool_]) -> list[list[int]]:
    """Return the connected components of `joined` (n, n) over `members`, each sorted, by their first member."""
    number, labels = connected_components(coo_array(joined), directed=False) if members else (0, [])
    components: list[list[int]] = [[] for _ in range(number)]
    for member, label in zip(members, labels, strict=True):
        components[label].append(member)
    return sorted((sorted(component) for component in components), key=lambda component: component[0])


def _tables(boxes: Boxes, texts: Sequence[str], groups: list[list[int]]) -> list[list[int]]:
    """Merge blocks side by side that are columns of one table: those of numbers with what stands left of each, and by shape."""
    owner = {line: number for number, group in enumerate(groups) for line in group}
    lines = list(owner)
    numbers = [line for line in lines if _is_number(texts[line])]
    left_of = {b: a for b in numbers if (a := _left_neighbour(boxes, lines, b)) is not None and a not in numbers}
    joined = np.zeros((len(groups), len(groups)), bool)
    for b, a in left_of.items():
        group = groups[owner[b]]
        pure = sum(line in left_of for line in group) >= 0.6 * len(group)
        if pure and any(c != b and _aligned(boxes[b], boxes[c]) for c in left_of):
            joined[owner[a], owner[b]] = True
    for a, b in permutations([number for number, group in enumerate(groups) if len(group) > 1], 2):
        joined[a, b] |= _is_table(boxes, texts, groups[a], groups[b])
    merged = _components(list(range(len(groups))), joined)
    return [[line for number in component for line in groups[number]] for component in merged]


def _left_neighbour(boxes: Boxes, lines: Sequence[int], line: int) -> int | None:
    """Return the nearest line that ends left of `line` in its row; None without one."""
    left = [a for a in lines if boxes[a][2] <= boxes[line][0] + 1.0 and overlap(boxes[a], boxes[line], axis=1) > 0.5]
    return max(left, key=lambda a: (boxes[a][2], -a), default=None)


def _aligned(first: Box, second: Box) -> bool:
    """Tell whether two boxes begin or end at about the same place."""
    reach = 1.5 * min(_height(first), _height(second))
    return abs(first[0] - second[0]) < reach or abs(first[2] - second[2]) < reach


def _is_table(boxes: Boxes, texts: Sequence[str], left: list[int], right: list[int]) -> bool:
    """Tell by shape alone whether `right` is a column of short entries, most of which share a row with a line of `left`."""
    if any(texts[b] for b in right) or min(boxes[b][0] for b in right) < median(boxes[a][2] for a in left):
        return False
    if median((boxes[b][2] - boxes[b][0]) / max(_height(boxes[b]), 1e-6) for b in right) >= TABLE_ASPECT:
        return False
    paired = sum(any(overlap(boxes[a], boxes[b], axis=1) > 0.5 for a in left) for b in right)
    return paired >= 0.7 * len(right) and paired >= 0.5 * len(left)


def _is_number(text: str) -> bool:
    """Tell whether a text is a price, a time, a page or an amount: digits are most of its letters and digits, or near it."""
    digits, letters = sum(map(str.isdigit, text)), sum(map(str.isalpha, text))
    return digits > 0 and letters <= max(3, digits)


def _height(box: Box) -> float:
    return box[3] - box[1]


def _rows(boxes: Boxes, group: list[int]) -> list[int]:
    """Order the lines of one block: rows by overlap of more than half a line height, each from left to right."""
    return [line for row in _row_groups(boxes, group) for line in sorted(row, key=lambda index: (boxes[index][0], index))]


def _row_groups(boxes: Boxes, group: list[int]) -> list[list[int]]:
    rows: list[list[int]] = []
    for line in sorted(group, key=lambda index: (boxes[index][1] + boxes[index][3], index)):
        if rows and overlap(boxes[rows[-1][0]], boxes[line], axis=1) > 0.5:
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows
