"""Text that a picture shows -> the TextLine that draws the same pixels, or the reason why there is none.

A line is editable when it stands on a smooth ground and some typeface, size and place redraw it. Both are measured: the ground
is a plane of colour fitted to what surrounds the line, and the redrawn ink must cover what the picture's ink covers. So a
changed line keeps the look of the old one, and where the line was, the plane is: nothing is left over and nothing smeared.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.edits import Box, intersect
from curation.errors import EditError
from curation.text_lines import Coverage, Pixels, TextLine, code, coverage
from curation.typefaces import faces_for

MAX_RESIDUAL = 2.5
"""RMS difference in levels between the ground and its plane: JPEG at quality 90 leaves about 1, film grain more than 3."""
SMOOTHING = 0.05
MIN_LIKENESS = 0.86
"""Least agreement of drawn and seen ink, sum of minima over sum of maxima.

Of 120 lines drawn by another layout engine (Raqm) in sizes of fractions, 78 % reach it in their own face and 8 % in another one;
the best of all faces is the right one for 99 %."""


@dataclass(frozen=True)
class Seen:
    """A line as found in a picture: the patch that hides it, and how to draw it again."""

    line: TextLine
    box: Box  # of the patch
    ground: Pixels  # the patch without the line
    likeness: float  # agreement of the redrawn ink with the picture's, in [0, 1]


def see(pixels: Pixels, text: str, polygon: Sequence[float], *, others: Sequence[Box] = ()) -> Seen:
    """Return the line of a picture as data, given what OCR read and where.

    polygon: x0 y0 ... x3 y3, px, clockwise. others: boxes of other lines, which the patch must not touch.
    Raises EditError: not_flat when the ground is no plane or the line is not level, no_style when no typeface draws it so.
    """
    box = _patch(pixels, polygon, others)
    ground = plane(pixels, box)
    ink = _ink(pixels, box, ground)
    colour, seen = _unmixed(pixels, box, ground, ink)
    line, likeness = _styled(text, seen, code(colour))
    if likeness < MIN_LIKENESS:
        raise EditError("no_style", f"no typeface draws {text!r} as the picture does: the best agrees to {likeness:.2f}")
    return Seen(line, box, ground, likeness)


def ground_of(pixels: Pixels, polygon: Sequence[float], *, others: Sequence[Box] = ()) -> tuple[Box, Pixels]:
    """Return the patch that hides a line of any typeface, and what is below it; raises EditError (not_flat)."""
    box = _patch(pixels, polygon, others)
    return box, plane(pixels, box)


def bounds(polygon: Sequence[float]) -> Box:
    """Return the upright box around a polygon x0 y0 ... x3 y3."""
    across, down = polygon[::2], polygon[1::2]
    return int(np.floor(min(across))), int(np.floor(min(down))), int(np.ceil(max(across))), int(np.ceil(max(down)))


def plane(pixels: Pixels, box: Box, *, rim_px: int = 3) -> Pixels:
    """Return the plane of colour that continues the rim of a box into it, uint8 (height, width, 3).

    Raises EditError (not_flat) when the rim differs from it by more than MAX_RESIDUAL levels RMS or 12 at any place.
    """
    x0, y0, x1, y1 = box
    down, across = np.mgrid[y0:y1, x0:x1].astype(np.float64)
    rim = np.ones(down.shape, bool)
    rim[rim_px:-rim_px, rim_px:-rim_px] = False
    basis = np.stack([np.ones_like(down), (across - x0) / (x1 - x0), (down - y0) / (y1 - y0)], axis=-1)
    seen = pixels[y0:y1, x0:x1][rim].astype(np.float64)
    fit, *_ = np.linalg.lstsq(basis[rim], seen, rcond=None)
    off = np.abs(seen - basis[rim] @ fit)
    rms = float(np.sqrt((off**2).mean()))
    if rms > MAX_RESIDUAL or np.percentile(off, 99) > 12:
        raise EditError("not_flat", f"the ground at {box} is off a plane by {rms:.1f} levels RMS; {MAX_RESIDUAL} are allowed")
    return np.asarray(np.clip(np.rint(basis @ fit), 0, 255), np.uint8)


def _patch(pixels: Pixels, polygon: Sequence[float], others: Sequence[Box]) -> Box:
    """Return the box of a level line with a margin for ringing and descenders."""
    corners = np.asarray(polygon, np.float64).reshape(4, 2)
    run, rise = corners[1] - corners[0]
    if abs(rise) > 0.03 * abs(run):
        raise EditError("not_flat", f"the line at {bounds(polygon)} is not level")
    x0, y0, x1, y1 = bounds(polygon)
    margin = max(4, round(0.18 * (y1 - y0)))
    height, width = pixels.shape[:2]
    box = max(0, x0 - margin), max(0, y0 - margin), min(width, x1 + margin), min(height, y1 + margin)
    if any(intersect(box, other) for other in others):
        box = max(0, x0 - 3), max(0, y0 - 3), min(width, x1 + 3), min(height, y1 + 3)
    if any(intersect(box, other) for other in others) or box[2] - box[0] < 12 or box[3] - box[1] < 10:
        raise EditError("overlap", f"the line at {box} touches another, or is too small to edit")
    return box


def _ink(pixels: Pixels, box: Box, ground: Pixels) -> NDArray[np.float32]:
    """Return how far each pixel of the patch is from the ground, in levels (Euclidean)."""
    x0, y0, x1, y1 = box
    difference = pixels[y0:y1, x0:x1].astype(np.float32) - ground
    return np.asarray(np.sqrt((difference**2).sum(axis=2)), np.float32)


def _unmixed(pixels: Pixels, box: Box, ground: Pixels, ink: NDArray[np.float32]) -> tuple[NDArray[np.float32], Coverage]:
    """Return the colour of the ink, and how much of each pixel it covers."""
    x0, y0, x1, y1 = box
    strong = ink >= 0.85 * np.percentile(ink, 99.5)
    if ink.max() < 40 or not strong.any():
        raise EditError("not_flat", f"the text at {box} hardly stands out: {ink.max():.0f} levels")
    colour = np.median(pixels[y0:y1, x0:x1][strong].astype(np.float32), axis=0)
    span = colour - ground.astype(np.float32)
    share = ((pixels[y0:y1, x0:x1] - ground.astype(np.float32)) * span).sum(axis=2) / np.maximum((span**2).sum(axis=2), 1.0)
    share = np.clip(share, 0, 1).astype(np.float32)
    solid = share > 0.15
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    place = (x0 + int(left), y0 + int(top), x0 + int(right), y0 + int(bottom))
    return colour, Coverage(share[top:bottom, left:right], place)


def _styled(text: str, seen: Coverage, colour: str) -> tuple[TextLine, float]:
    """Return the line that covers best what was seen covered, and how well it does."""
    tried = [_placed(spaced, face, seen, colour) for spaced in _spacings(text) for face in faces_for(text)]
    found = max((one for one in tried if one is not None), key=lambda one: one[1], default=None)
    if found is None:
        raise EditError("no_style", f"no typeface has the glyphs and proportions of {text!r}")
    return _refined(found, seen)


def _spacings(text: str) -> tuple[str, ...]:
    """Return the text, and with the space between Chinese and Latin characters that OCR tends to drop."""
    spaced = re.sub(r"(?<=[\u3400-\u9fff])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[\u3400-\u9fff])", " ", text)
    last = re.sub(r"(?<=[\u3400-\u9fff])(?=[0-9]+:)", " ", text)
    return tuple(dict.fromkeys((text, last, spaced)))


def _placed(text: str, face: str, seen: Coverage, colour: str) -> tuple[TextLine, float] | None:
    """Return the best line in one face that is about as wide and high as what was seen; None without one.

    Hinted letters advance by whole pixels, so the width is a step function of the size, and sizes near the right one are tried.
    """
    width, height = seen.share.shape[1], seen.share.shape[0]
    try:
        unit = coverage(TextLine(text, 0, 0, 100, colour, face)).box
    except EditError:
        return None
    size_px = 100 * width / (unit[2] - unit[0])
    if not 0.85 < (unit[3] - unit[1]) * size_px / 100 / height < 1.18 or size_px < 6:
        return None
    sizes = np.unique(np.rint(4 * size_px * np.linspace(0.96, 1.04, 9)) / 4)
    lines = [_aligned(text, face, float(size), seen, colour) for size in sizes]
    return max(((line, likeness(line, seen)) for line in lines), key=lambda one: one[1])


def _aligned(text: str, face: str, size_px: float, seen: Coverage, colour: str) -> TextLine:
    """Return the line whose ink is centred on what was seen and stands on the same foot."""
    left, _, right, bottom = coverage(TextLine(text, 0, 0, size_px, colour, face)).box
    x = round((seen.box[0] + seen.box[2] - left - right) / 2)
    return TextLine(text, x, seen.box[3] - bottom, size_px, colour, face)


def _refined(found: tuple[TextLine, float], seen: Coverage) -> tuple[TextLine, float]:
    """Move and scale the line in small steps as long as it gets more alike."""
    line, best = found
    steps = [(dx, dy, ds) for dx in (-0.5, 0, 0.5) for dy in (-1, -0.5, 0, 0.5, 1) for ds in (-0.25, 0, 0.25) if dx or dy or ds]
    for _ in range(6):
        nearby = [replace(line, x=line.x + dx, y=line.y + dy, size_px=line.size_px + ds) for dx, dy, ds in steps]
        agreed = [likeness(one, seen) for one in nearby]
        number = int(np.argmax(agreed))
        if agreed[number] <= best + 1e-4:
            break
        line, best = nearby[number], agreed[number]
    return line, best


def likeness(line: TextLine, seen: Coverage) -> float:
    """Return how well a drawn line covers what was seen covered: sum of minima over sum of maxima, 1 when equal.

    Both are smoothed by SMOOTHING of the line's height: programs place and hint the letters of one typeface differently.
    """
    drawn = coverage(line)
    x0, y0 = min(drawn.box[0], seen.box[0]), min(drawn.box[1], seen.box[1])
    x1, y1 = max(drawn.box[2], seen.box[2]), max(drawn.box[3], seen.box[3])
    planes = np.zeros((2, y1 - y0, x1 - x0), np.float32)
    for target, one in zip(planes, (drawn, seen), strict=True):
        left, top, right, bottom = one.box
        target[top - y0 : bottom - y0, left - x0 : right - x0] = one.share
    sigma = SMOOTHING * (seen.box[3] - seen.box[1])
    planes = np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in planes])
    return float(np.minimum(*planes).sum() / max(float(np.maximum(*planes).sum()), 1.0))
