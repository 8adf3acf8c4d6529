"""The surroundings of a concept as an SVG: its ancestors to the left, its siblings around it, its children to the right.

A tree in columns and not a cloud of nodes, because it is read like a sentence, long names fit, and nothing has to be computed by
chance: the same forest gives the same bytes. Colours are translucent and text is `currentColor`, so that the picture sits in a
light page, a dark one, and alone.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import pyarrow as pa

BOX_PX, ROW_PX, COLUMN_PX, MARGIN_PX = (196, 30), 38, 250, 10
LABEL_UNITS = 22
"""Width of a label that fits a box, in narrow letters; a wide one, as of Chinese, takes two."""
COLOURS = {"cluster": "#8a8f98", "entity": "#2f7fd1", "tag": "#2f9e6e", "link": "#b0701c"}
REST = -1


@dataclass(frozen=True)
class Node:
    """A concept to draw: `size` is what its bar shows, `parent` the place of its parent in the list, -1 without one."""

    name: str
    kind: str
    size: float
    parent: int = -1
    name_zh: str | None = None


@dataclass(frozen=True)
class Placed:
    """A box: the node, or the number of those left out; its column and row, in units of the grid."""

    node: int
    column: int
    row: float
    more: int = 0


def concept_picture(
    nodes: Sequence[Node],
    centre: int,
    *,
    what: str = "images",
    links: Sequence[Node] = (),
    max_ancestors: int = 3,
    max_siblings: int = 7,
    max_children: int = 12,
) -> str:
    """Return the SVG of a node among its ancestors, siblings and children, the largest of them where there are too many.

    what: the unit of `size`, for the caption. links: further nodes, drawn below the children with dashed lines.
    """
    path = _ancestors(nodes, centre)[:max_ancestors][::-1]
    same = [place for place, node in enumerate(nodes) if node.parent == nodes[centre].parent] if path else [centre]
    siblings = _largest(nodes, same, max_siblings, always=centre)
    children = _largest(nodes, [place for place, node in enumerate(nodes) if node.parent == centre], max_children)
    everything = [*nodes, *links]
    shown = len(path)
    right = children + [(len(nodes) + i, 0) for i in range(len(links))]
    rows = max(len(siblings), len(right), 1)
    placed = [Placed(place, column, (rows - 1) / 2) for column, place in enumerate(path)]
    placed += _column(siblings, shown, rows) + _column(right, shown + 1, rows)
    return _svg(everything, placed, centre, rows, shown + (2 if right else 1), what, first_link=len(nodes))


def taxonomy_picture(taxonomy: pa.Table, concept: int, *, max_siblings: int = 7, max_children: int = 12) -> str:
    """Return the picture of a concept of TAXONOMY, by its row; bars are images."""
    rows = taxonomy.select(["name", "name_zh", "kind", "images", "parent"]).to_pylist()
    nodes = [
        Node(row["name"], row["kind"], row["images"], -1 if row["parent"] is None else row["parent"], row["name_zh"])
        for row in rows
    ]
    return concept_picture(nodes, concept, max_siblings=max_siblings, max_children=max_children)


def _ancestors(nodes: Sequence[Node], place: int) -> list[int]:
    """Return the ancestors, the parent first; raises ValueError when they form a cycle."""
    found: list[int] = []
    while nodes[place].parent >= 0:
        place = nodes[place].parent
        if place in found:
            raise ValueError(f"concept {place} is its own ancestor")
        found.append(place)
    return found


def _largest(nodes: Sequence[Node], places: Sequence[int], most: int, *, always: int = REST) -> list[tuple[int, int]]:
    """Return (place, 0) of the largest `most`, `always` among them, by size; then (REST, n) for the n left out."""
    order = sorted(places, key=lambda place: (-nodes[place].size, nodes[place].name, place))
    kept = order[:most]
    if always in order and always not in kept:
        kept = [*kept[:-1], always]
    left = len(order) - len(kept)
    return [(place, 0) for place in kept] + ([(REST, left)] if left else [])


def _column(places: Sequence[tuple[int, int]], column: int, rows: int) -> list[Placed]:
    top = (rows - len(places)) / 2
    return [Placed(place, column, top + i, more) for i, (place, more) in enumerate(places)]


def _svg(
    nodes: Sequence[Node], placed: Sequence[Placed], centre: int, rows: int, columns: int, what: str, *, first_link: int
) -> str:
    width, height = columns * COLUMN_PX - (COLUMN_PX - BOX_PX[0]) + 2 * MARGIN_PX, rows * ROW_PX + 2 * MARGIN_PX
    largest = max((nodes[box.node].size for box in placed if box.node != REST), default=0) or 1
    at = {box.node: box for box in placed if box.node != REST}
    middle = at[centre]
    lines = []
    for box in placed:
        if box.node == REST:
            above = middle if box.column > middle.column else at.get(nodes[centre].parent)
        else:
            above = middle if box.node >= first_link else at.get(nodes[box.node].parent)
        if above is not None:
            lines.append(_line(above, box, dashed=box.node >= first_link))
    boxes = [_box(nodes, box, box.node == centre, largest) for box in placed]
    label = f"{nodes[centre].name} among its neighbours; bars: {what}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="concept" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{_attribute(label)}" font-family="sans-serif" font-size="13">'
        + "".join(lines)
        + "".join(boxes)
        + "</svg>\n"
    )


def _corner(box: Placed) -> tuple[float, float]:
    return MARGIN_PX + box.column * COLUMN_PX, MARGIN_PX + box.row * ROW_PX + (ROW_PX - BOX_PX[1]) / 2


def _line(parent: Placed, child: Placed, *, dashed: bool) -> str:
    x0, y0 = _corner(parent)
    x1, y1 = _corner(child)
    x0, y0, y1 = x0 + BOX_PX[0], y0 + BOX_PX[1] / 2, y1 + BOX_PX[1] / 2
    bend = (x0 + x1) / 2
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<path d="M{x0:g} {y0:g}C{bend:g} {y0:g} {bend:g} {y1:g} {x1:g} {y1:g}" fill="none" stroke="currentColor" '
        f'stroke-opacity=".35"{dash}/>'
    )


def _box(nodes: Sequence[Node], box: Placed, is_centre: bool, largest: float) -> str:
    x, y = _corner(box)
    width, height = BOX_PX
    if box.node == REST:
        return f'<text x="{x + 8:g}" y="{y + 19:g}" fill="currentColor" fill-opacity=".6">and {box.more:,} more</text>'
    node = nodes[box.node]
    colour = COLOURS.get(node.kind, COLOURS["cluster"])
    bar = max(2.0, (width - 12) * (node.size / largest) ** 0.5) if node.size > 0 else 0.0
    weight = ' font-weight="bold"' if is_centre else ""
    title = node.name + (f" / {node.name_zh}" if node.name_zh and node.name_zh != node.name else "")
    return (
        f"<g><title>{escape(_clean(title))}: {_short(node.size)} ({node.kind})</title>"
        f'<rect x="{x:g}" y="{y:g}" width="{width}" height="{height}" rx="5" fill="{colour}" '
        f'fill-opacity="{".35" if is_centre else ".12"}" stroke="{colour}" stroke-width="{2 if is_centre else 1}"/>'
        f'<rect x="{x + 6:g}" y="{y + height - 5:g}" width="{bar:.1f}" height="2.5" fill="{colour}"/>'
        f'<text x="{x + 8:g}" y="{y + 18:g}" fill="currentColor"{weight}>'
        f"{escape(fitted(_clean(title), LABEL_UNITS))}</text>"
        f'<text x="{x + width - 8:g}" y="{y + 18:g}" text-anchor="end" font-size="10" fill="currentColor" '
        f'fill-opacity=".65">{_short(node.size)}</text></g>'
    )


def fitted(text: str, units: int) -> str:
    """Return a text cut to a width in narrow letters, with an ellipsis where something is missing."""
    used, end = 0, 0
    for end, letter in enumerate(text):
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > units:
            return text[: max(1, end - 1)].rstrip() + "\u2026"
    return text


def _clean(text: str) -> str:
    """Return a text without what XML cannot hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _attribute(text: str) -> str:
    return escape(_clean(text), {'"': "&quot;"})


def _short(size: float) -> str:
    if size >= 1 or size == 0:
        return f"{size:,.0f}"
    return f"{size:.1e}"
