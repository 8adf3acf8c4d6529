"""Text lines between detection and recognition: pieces are joined to lines, and each line is cut out level.

PP-OCR's detector breaks a line of large letters at its spaces, and the boxes of the pieces often overlap; recognised one by one
they would read "Jazz by the" and "e River". Pieces that stand in one row, are about equally tall and have no more than a
space between them are one line, and are joined before anything is read.
"""

from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

Corners = NDArray[np.float64]  # (4, 2): x, y in px, clockwise from the top left
SPACE_GAP = 0.45
"""Widest gap between two words of one line, in line heights; on rendered posters spaces were -0.5 to 0.33 (boxes are loose)."""
HEIGHT_RATIO = 1.4
"""Words of one line differ in height by less than this factor: "on" has no ascender, "Harbour" has."""
VERTICAL_ASPECT = 1.5
"""A box this many times taller than wide is turned before recognition, which was trained on text turned so."""


class Line(TypedDict):
    """A row of OCR.lines; polygon is x0 y0 ... x3 y3, clockwise, px of the oriented full-size image."""

    text: str
    confidence: float
    language: str
    polygon: list[float]


def join_pieces(pieces: Sequence[Corners]) -> list[Corners]:
    """Return the lines that detected pieces form; every piece is in exactly one line."""
    lines: list[Corners] = []
    outlines = np.zeros((len(pieces), 4))  # left, top, right, bottom of each line
    for piece in sorted(pieces, key=lambda corners: (float(corners[:, 0].min()), float(corners[:, 1].min()))):
        near = np.flatnonzero(_touches(outlines[: len(lines)], piece))[::-1]  # a picture has up to a thousand pieces
        before = next((index for index in near if _continues(lines[index], piece)), None)
        if before is None:
            lines.append(piece)
            outlines[len(lines) - 1] = _outline(piece)
        else:
            lines[before] = _hull(lines[before], piece)
            outlines[before] = _outline(lines[before])
    return lines


def cut_out(pixels: NDArray[np.uint8], corners: Corners) -> NDArray[np.uint8]:
    """Return the line (h, w, 3) level, without perspective, and turned by a quarter if it is a vertical column."""
    top, right, bottom, left = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    width, height = max(1, round(max(top, bottom))), max(1, round(max(left, right)))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    warp = cv2.getPerspectiveTransform(corners.astype(np.float32), target)
    level = cv2.warpPerspective(pixels, warp, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    turned = np.rot90(level) if height >= VERTICAL_ASPECT * width else level
    return np.ascontiguousarray(turned, dtype=np.uint8)


def _outline(corners: Corners) -> NDArray[np.float64]:
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _touches(outlines: NDArray[np.float64], piece: Corners) -> NDArray[np.bool_]:
    """Tell which outlines come within twice its height of `piece`: what continues a line is nearer to it than that."""
    left, top, right, bottom = _outline(piece) + 2 * size_of(piece)[1] * np.array([-1, -1, 1, 1])
    near = (outlines[:, 0] <= right) & (outlines[:, 2] >= left) & (outlines[:, 1] <= bottom) & (outlines[:, 3] >= top)
    return np.asarray(near, np.bool_)


def _continues(line: Corners, piece: Corners) -> bool:
    """Tell whether `piece` stands right behind `line` in the same row, in the direction of the line's text."""
    (width, height), (piece_width, piece_height) = size_of(line), size_of(piece)
    upright = height < VERTICAL_ASPECT * width and piece_height < VERTICAL_ASPECT * piece_width
    low, high = sorted((height, piece_height))
    if not upright or low <= 0 or high > HEIGHT_RATIO * low:
        return False
    along, down = _project(line, piece).T
    gap, drop = float(along.min()) - width, float(down.mean()) - height / 2
    # A piece inside the line is another detection of the same letters, and is joined as well.
    return gap < SPACE_GAP * high and float(along.min()) > -0.5 * high and abs(drop) < 0.3 * low


def _hull(line: Corners, piece: Corners) -> Corners:
    """Return the smallest rectangle along the line's direction that holds both."""
    points = np.concatenate([_project(line, line), _project(line, piece)])
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    rectangle = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return np.asarray(line[0] + rectangle @ _axes(line), np.float64)


def _project(line: Corners, piece: Corners) -> NDArray[np.float64]:
    """Return the corners of `piece` in the line's own frame: along its text and down from it, px from its top left."""
    return np.asarray((piece - line[0]) @ _axes(line).T, np.float64)


def _axes(corners: Corners) -> NDArray[np.float64]:
    edge = corners[1] - corners[0]
    along = edge / max(float(np.linalg.norm(edge)), 1e-9)
    return np.array([along, [-along[1], along[0]]])


def size_of(corners: Corners) -> tuple[float, float]:
    """Return width along the text and height of a line, px."""
    return float(np.linalg.norm(corners[1] - corners[0])), float(np.linalg.norm(corners[3] - corners[0]))
