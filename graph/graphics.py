"""Drawn graphics: which pictures are filled with few flat colours, and whether two aligned ones are drawn the same.

Enters: pictures in colour. Leaves: a share, and the largest difference that a small window shows. A photograph with another
colour balance, a corner turned or a sticker on it is a copy, because no second photograph shares the thousand details below.
A red triangle has none: whoever draws it in blue, turned or beside another one has drawn another picture, and grey keypoints
and correlations, blind to gain and hue, agree on nearly all of it. So drawn pictures must agree in colour, and in every place.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from graph.agreement import Mask, overlaid
from graph.alignment import Frame, Map
from graph.keypoints import Pixels

NUM_COLOURS = 6
"""Fullest colours, in steps of 8 per channel, that may fill what lies on the background: more are shades."""
EDGE_LEVELS = 14
"""A span above this is an edge, whose surroundings (5 x 5) say nothing about what it encloses."""
MIN_INNER = 0.01
"""Share of a picture that must lie off the background and off edges to be judged by its fill."""
MAX_STROKES = 0.03
"""With less of it: a picture whose remainder lies so close to the background is made of strokes, as text is."""
WINDOW_PX = 9
CHROMA_WEIGHT = 1.5
"""A difference of chroma counts more than one of luma: JPEG and scaling change it less."""
MIN_CHROMA = 8
"""A picture whose colours are nowhere further from grey has none: it may be a grey copy of a rich drawing."""
MIN_GROUND = 64
"""Grey level from which paper shows in what light it is; black shows nothing."""
MIN_PAPER = 0.1
"""Share of a picture that is paper, or it has none."""
BLACK, WHITE = 24, 245
"""Grey levels at which light is no longer to be read."""
MAX_FACTOR = 2.0
MAX_LEVELS = 100
"""Differences beyond count as so many, so that a speck needs an area."""

_SQUARE = np.ones((3, 3), np.uint8)
_SURROUNDINGS = np.ones((5, 5), np.uint8)


def filled(picture: Pixels) -> float:
    """Return the share of a picture (H, W, 3), BGR, off its background and off edges, that a few flat colours fill.

    A colour is flat where 3 x 3 pixels are equal. Above .5 for drawings, signs, charts, flags and text, .3 after strong
    compression; below .2 for nearly all photographs, whose surfaces have shades and grain. NaN where all lies close to edges
    and is no text: a detailed thing on white, a drawing of 100 px.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    span = cv2.subtract(cv2.dilate(grey, _SQUARE), cv2.erode(grey, _SQUARE))
    flat = span == 0  # drawn: a photograph's smooth sky has noise, or a slope
    blue, green, red = (picture[..., channel].astype(np.int32) >> 3 for channel in range(3))
    colour = (red << 10) | (green << 5) | blue
    background = colour == np.bincount(colour[flat], minlength=1).argmax()
    near_edge = cv2.dilate((span > EDGE_LEVELS).view(np.uint8), _SURROUNDINGS).astype(bool)
    inner = ~near_edge & ~background
    if inner.mean() < MIN_INNER:
        near_background = cv2.dilate(background.view(np.uint8), _SURROUNDINGS).astype(bool)
        return 1.0 if (~near_background).mean() < MAX_STROKES else float("nan")
    counts = np.bincount(colour[flat & inner], minlength=NUM_COLOURS)
    return float(np.sort(counts)[-NUM_COLOURS:].sum() / inner.sum())


def deviation(
    a: Pixels, b: Pixels, matrix: Map, *, frame_a: Frame | None = None, frame_b: Frame | None = None, rich: bool = False
) -> float:
    """Return the largest mean difference (0 to 150) of a small window of picture a, mapped by `matrix`, and picture b.

    A pixel differs by how far it lies outside the range of the 3 x 3 surroundings of the other, so that a map that is wrong by
    a pixel costs nothing. One factor of light on everything, the paper included, is forgiven. rich: so are light that
    leaves the paper at white, and the loss of all colours: details enough say that it is the same drawing.
    a, b: (H, W, 3), BGR.
    """
    over = overlaid(a, b, matrix, frame_a=frame_a, frame_b=frame_b)
    if over is None:
        return 0.0
    one, other = (cv2.GaussianBlur(picture, (0, 0), 0.8) for picture in (over.a, over.b))
    return min(_difference(*_lit(one, other, factor), over.seen, rich) for factor in _factors(one, other, over.seen, rich))


def _difference(a: Pixels, b: Pixels, seen: Mask, rich: bool) -> float:
    one, other = (cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb) for picture in (a, b))
    if rich and min(_strongest(picture, seen) for picture in (one, other)) < MIN_CHROMA:
        one[..., 1:], other[..., 1:] = 128, 128
    outside = np.maximum(_outside(one, other), _outside(other, one))
    weighted = np.maximum(outside[..., 0], CHROMA_WEIGHT * outside[..., 1:].max(2)).astype(np.float32)
    weighted[~seen] = 0
    return float(cv2.blur(np.minimum(weighted, MAX_LEVELS), (WINDOW_PX, WINDOW_PX)).max())


def _factors(a: Pixels, b: Pixels, seen: Mask, rich: bool) -> list[float]:
    """Return 1 and the factors of light that may lie between two pictures: of the paper, and of what is not white or black."""
    grounds, tones = zip(*(_paper(picture, seen) for picture in (a, b)), strict=True)
    factors = [1.0]
    if min(grounds) > 0:
        factors.append(grounds[1] / grounds[0])
    between = (np.minimum(*tones) > BLACK) & (np.maximum(*tones) < WHITE)
    if rich and between.mean() >= MIN_INNER:
        factors.append(float(np.median(tones[1][between] / tones[0][between])))
    return [f for n, f in enumerate(factors) if MAX_FACTOR >= max(f, 1 / f) and all(abs(f - g) > 0.03 for g in factors[:n])]


def _paper(picture: Pixels, seen: Mask) -> tuple[float, NDArray[np.float32]]:
    """Return the grey level of what is bright and colourless, 0 where there is little of it, and the grey level of all seen."""
    planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb)[seen].astype(np.int16)
    colourless = (planes[:, 0] >= MIN_GROUND) & (np.abs(planes[:, 1:] - 128).max(1) <= MIN_CHROMA)
    tone = planes[:, 0].astype(np.float32)
    enough = len(tone) > 0 and colourless.mean() >= MIN_PAPER
    return float(np.median(tone[colourless])) if enough else 0.0, tone


def _lit(a: Pixels, b: Pixels, factor: float) -> tuple[Pixels, Pixels]:
    """Return both pictures with the darker one in the light of the other."""
    if factor >= 1:
        return cv2.convertScaleAbs(a, alpha=factor), b
    return a, cv2.convertScaleAbs(b, alpha=1 / factor)


def _strongest(picture: Pixels, seen: Mask) -> float:
    """Return how far from grey the strongest colours of a picture in YCrCb lie: of all but a thousandth of what is seen."""
    away = np.abs(picture[..., 1:].astype(np.int16) - 128).max(2)[seen]
    return float(np.quantile(away, 0.999)) if away.size else 0.0


def _outside(picture: Pixels, other: Pixels) -> Pixels:
    """Return how far each pixel of a picture lies outside the range of the other's surroundings, channel by channel."""
    above = cv2.subtract(picture, cv2.dilate(other, _SQUARE))
    return np.asarray(np.maximum(above, cv2.subtract(cv2.erode(other, _SQUARE), picture)), np.uint8)
