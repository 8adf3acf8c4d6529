"""A line of text as data, and its pixels: where, in what typeface, size and colour, and what is drawn of it.

Enters: pixels and a TextLine. Leaves: pixels with the line, or its coverage, which is the share of each pixel that ink covers.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from curation.edits import Box
from curation.errors import EditError
from curation.typefaces import font, require_glyphs

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class TextLine:
    """One line; (x, y) is the left end or the middle of its baseline, px."""

    text: str
    x: float
    y: float
    size_px: float
    colour: str  # '#rrggbb'
    face: str  # name in TYPEFACES
    anchor: Literal["l", "m"] = "l"

    def plain(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        return asdict(self)


def line_of(values: Mapping[str, Any]) -> TextLine:
    """Return the line that `plain` described."""
    return TextLine(**values)


@dataclass(frozen=True)
class Coverage:
    """How much of each pixel ink covers, and where that rectangle lies in the picture."""

    share: NDArray[np.float32]  # (height, width) in [0, 1]
    box: Box


def coverage(line: TextLine) -> Coverage:
    """Return what the line covers, cut to its ink.

    Raises EditError: missing_glyph when the typeface lacks a character, no_change when nothing would be seen.
    """
    require_glyphs(line.text, line.face)
    chosen, anchor = font(line.face, line.size_px), f"{line.anchor}s"
    left, top, right, bottom = chosen.getbbox(line.text, anchor=anchor)
    origin = int(np.floor(line.x + left)) - 2, int(np.floor(line.y + top)) - 2
    size = int(np.ceil(right - left)) + 6, int(np.ceil(bottom - top)) + 6
    canvas = Image.new("L", size, 0)
    ImageDraw.Draw(canvas).text((line.x - origin[0], line.y - origin[1]), line.text, fill=255, font=chosen, anchor=anchor)
    ink = np.asarray(canvas)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        raise EditError("no_change", f"{line.text!r} draws nothing")
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    share = ink[top:bottom, left:right].astype(np.float32) / np.float32(255)
    return Coverage(share, (origin[0] + left, origin[1] + top, origin[0] + right, origin[1] + bottom))


def fitted(line: TextLine, *, width_px: int, height_px: int, margin_px: int = 2) -> Coverage:
    """Return the line's coverage.

    Raises EditError: too_wide when the line is longer than the picture, no_room when it hangs over a border.
    """
    drawn = coverage(line)
    x0, y0, x1, y1 = drawn.box
    if x1 - x0 > width_px - 2 * margin_px:
        raise EditError("too_wide", f"{line.text!r} is {x1 - x0} px wide at {line.size_px:.0f} px; the picture has {width_px} px")
    if x0 < margin_px or y0 < margin_px or x1 > width_px - margin_px or y1 > height_px - margin_px:
        raise EditError("no_room", f"{line.text!r} at {drawn.box} hangs over the border of {width_px} x {height_px} px")
    return drawn


def draw(pixels: Pixels, line: TextLine) -> None:
    """Draw the line onto uint8 (H, W, 3) pixels in place; raises EditError as `fitted` does."""
    drawn = fitted(line, width_px=pixels.shape[1], height_px=pixels.shape[0])
    x0, y0, x1, y1 = drawn.box
    share = drawn.share[:, :, None]
    below = pixels[y0:y1, x0:x1].astype(np.float32)
    pixels[y0:y1, x0:x1] = np.rint(below * (1 - share) + levels(line.colour) * share).astype(np.uint8)


def levels(colour: str) -> NDArray[np.float32]:
    """Return the sRGB levels (3,) of '#rrggbb'."""
    return np.array(list(bytes.fromhex(colour[1:])), np.float32)


def code(colour: NDArray[np.floating] | NDArray[np.uint8]) -> str:
    """Return '#rrggbb' of sRGB levels (3,)."""
    return "#" + bytes(np.clip(np.rint(colour), 0, 255).astype(np.uint8)).hex()


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    share = levels(colour).astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
