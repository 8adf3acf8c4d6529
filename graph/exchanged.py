"""A numeral, a word or a mark that was exchanged for another one of the same make: one template, two contents.

Enters: two pictures on one raster. Leaves: how strongly they differ so, or nothing. Covers of one
series, captions of one photograph and dials of one panel agree in all but a glyph, and no share of what agrees can say that the
glyph matters. What was laid over a picture says so itself: there is ink in one of the two, and in the other what the ink hides,
which is anything. An exchanged glyph has ink in both, in other places of one window. So there are pixels where only the first has
ink and pixels where only the second has; the inks are equal, and so are the grounds. That is asked for here, after tones were
fitted and away from places that a shift of a few pixels explains; strongly different places must be rarer than textured ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from graph.agreement import Floats, Mask, Overlay
from graph.keypoints import Pixels

MIN_SHARE_OF_CONTRAST = 0.025
"""The same as a share of the contrast in the window: less of it is what sharpening and scaling leave along edges."""
MIN_ABOVE_REST = 4.0
"""How many times stronger the place must be than the median of windows of its contrast: elsewhere the pictures agree."""
MIN_DEPTH = 25.0
"""Grey levels between ink and ground."""
MAX_APART, MAX_SPREAD = 0.3, 0.45
"""Shares of that depth by which the two inks, or the two grounds, may differ, and by which either may spread (in the median)."""
MIN_TWO_TONED = 0.75
"""Share of the window that is ink or ground: photographs have all between."""
MAX_CHROMA_APART = 24.0
"""By so much (0 to 255, after grey) may the colours of the inks or of the grounds differ."""
MAX_CORRELATION = 0.9
"""Windows that correlate so after a small shift show the same."""
WINDOW_PX = 11
MAX_SHIFT_PX = 5
WIDE_PX = 22
"""Half a side of the wider window that must not fit elsewhere much better than in place: there the map is wrong."""
NUM_PLACES = 6
MIN_SHARE_OF_STRONGEST = 0.3
"""So many of the strongest places are looked at, down to this share of the strongest."""
MIN_SHARE_OF_PLACES = 0.25
"""Share of them that must show an exchange: letters laid over a striped shirt do so in one place by chance."""

_SQUARE = np.ones((3, 3), np.uint8)
_HALF_WINDOW = np.ones((5, 5), np.uint8)


@dataclass(frozen=True)
class _Place:
    """A window of the common raster, and where in it only one picture has ink."""

    strength: float
    x: int
    y: int
    rows: slice
    columns: slice
    only_a: Mask  # (h, w) of the window: brighter in a
    only_b: Mask


@dataclass(frozen=True)
class _Pair:
    """Two pictures on one raster, in one tone, and how they differ."""

    a: Pixels
    b: Pixels
    seen: Mask
    brighter: Pixels  # by so many grey levels b is brighter than a
    darker: Pixels
    strength: Floats  # at every second pixel of every second line: mean of either in a window, the lesser of both


def exchanged(over: Overlay | None, *, colours: Callable[[], Overlay | None], min_strength: float = 2.0) -> float:
    """Return how strongly marks of one picture were exchanged for others of their style in the other picture on its raster.

    Grey levels, the mean of the strongest window; 0 when nothing was exchanged. over: both in grey. colours: returns both in
    colour on the same raster; asked only when greys show an exchange. min_strength: of a window by which either picture must be
    darker and brighter than the other.
    """
    if over is None or np.count_nonzero(over.seen) < 400:
        return 0.0
    pair = _pair(over.a, over.b, over.seen, min_strength)
    strongest = 0.0 if pair is None else float(pair.strength.max(initial=0))
    if pair is None or strongest < min_strength:
        return 0.0
    places = _strongest(pair.strength, max(min_strength, MIN_SHARE_OF_STRONGEST * strongest))
    found = [place for place in map(partial(_in_one_style, pair), _unusual(pair, places)) if place is not None]
    found = [place for place in found if not _shifted(pair, place)]
    if len(found) < MIN_SHARE_OF_PLACES * len(places):
        return 0.0
    tinted = colours()
    alike = [place for place in found if tinted is not None and _alike(place, tinted.a, tinted.b)]
    return max(place.strength for place in alike) if len(alike) >= MIN_SHARE_OF_PLACES * len(places) else 0.0


def _pair(a: Pixels, b: Pixels, seen: Mask, min_strength: float) -> _Pair | None:
    """Return two pictures in one tone; None where b is nowhere brighter by `min_strength`, as in most pairs."""
    one, other = (cv2.GaussianBlur(picture, (5, 5), 0.8) for picture in (a, b))
    one = _toned(one, other, seen)
    brighter = _outside(one, other, seen)
    up = _in_windows(brighter)
    if up.max(initial=0) < min_strength:
        return None
    darker = _outside(other, one, seen)
    strength = np.asarray(cv2.min(up, _in_windows(darker)), np.float32)
    return _Pair(one, np.asarray(other, np.uint8), seen, brighter, darker, strength)


def _alike(place: _Place, a: Pixels, b: Pixels) -> bool:
    """Say whether the inks and the grounds of a place are alike in colour."""
    one, other = (picture[place.rows, place.columns] for picture in (a, b))
    bright = np.abs(_tint(one[place.only_a]) - _tint(other[place.only_b])).max()
    dark = np.abs(_tint(other[place.only_a]) - _tint(one[place.only_b])).max()
    return bool(max(bright, dark) <= MAX_CHROMA_APART)


def _tint(pixels: Pixels) -> NDArray[np.float64]:
    """Return the median colour of pixels (n, 3), less its grey."""
    middle = np.median(pixels, axis=0)
    return np.asarray(middle - middle.mean(), np.float64)


def _toned(a: Pixels, b: Pixels, seen: Mask) -> Pixels:
    """Return picture a in the tones of picture b: by medians in 32 steps of grey, then by means over a fifth of the picture."""
    few = np.ascontiguousarray(seen[::2, ::2])
    steps, tones = a[::2, ::2][few].astype(np.int32) >> 3, b[::2, ::2][few]
    joint = np.bincount(steps * 256 + tones, minlength=32 * 256).reshape(32, 256)
    counts = joint.sum(1)
    known = counts >= max(8, 5e-4 * counts.sum())
    if known.sum() >= 2:
        medians = (joint.cumsum(1) >= counts[:, None] / 2).argmax(1)
        curve = np.interp(np.arange(256), np.arange(32)[known] * 8 + 3.5, medians[known])
        a = np.asarray(cv2.LUT(a, np.rint(curve).astype(np.uint8)), np.uint8)
    counted = np.ascontiguousarray(seen[::4, ::4]).astype(np.float32)
    apart = (b[::4, ::4].astype(np.float32) - a[::4, ::4]) * counted
    side = max(9, max(apart.shape) // 5) | 1
    local = cv2.blur(apart, (side, side)) / np.maximum(cv2.blur(counted, (side, side)), 0.02)
    grown = cv2.resize(np.asarray(local), a.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.add(a, grown, dtype=cv2.CV_8U), np.uint8)


def _outside(a: Pixels, b: Pixels, seen: Mask) -> Pixels:
    """Return by how much b is brighter than all of a around it, or a darker than all of b around it; 0 where unseen."""
    brighter = cv2.max(cv2.subtract(b, cv2.dilate(a, _SQUARE)), cv2.subtract(cv2.erode(b, _SQUARE), a))
    return np.asarray(brighter * seen.view(np.uint8), np.uint8)


def _in_windows(levels: Pixels) -> Floats:
    """Return the means of windows of 10 px, at every second pixel of every second line."""
    half = cv2.resize(levels, (levels.shape[1] // 2, levels.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.boxFilter(half, cv2.CV_32F, (5, 5)), np.float32)


def _contrast(picture: Pixels, shape: tuple[int, ...]) -> Pixels:
    half = cv2.resize(picture, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.subtract(cv2.dilate(half, _HALF_WINDOW), cv2.erode(half, _HALF_WINDOW)), np.uint8)


def _strongest(strength: Floats, least: float) -> list[tuple[int, int, float]]:
    """Return x and y, in px of the raster, and strength of the strongest places, each a window away from the others."""
    left = strength.copy()
    places: list[tuple[int, int, float]] = []
    while len(places) < NUM_PLACES:
        y, x = (int(v) for v in np.unravel_index(left.argmax(), left.shape))
        here = float(left[y, x])
        if here < least:
            break
        left[max(0, y - 5) : y + 6, max(0, x - 5) : x + 6] = 0
        places.append((2 * x + 1, 2 * y + 1, here))
    return places


def _unusual(pair: _Pair, places: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Return the places that differ as windows of their contrast do not in general."""
    shape = pair.strength.shape
    contrast = cv2.min(_contrast(pair.a, shape), _contrast(pair.b, shape))
    counted = cv2.resize(pair.seen.view(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    unusual = []
    for x, y, here in places:
        depth = float(contrast[y // 2, x // 2])
        rest = pair.strength[counted & (contrast >= 0.5 * depth)]
        usual = float(np.median(rest)) if rest.size else 0.0
        if here >= MIN_ABOVE_REST * (usual + 0.5) and here >= MIN_SHARE_OF_CONTRAST * depth:
            unusual.append((x, y, here))
    return unusual


def _shifted(pair: _Pair, place: _Place) -> bool:
    """Say whether a shift of a few pixels explains what differs around a place, in the window or in a wider one."""
    moved, fits, _ = _fit(pair.a, pair.b, place.x, place.y, WINDOW_PX)
    if fits >= MAX_CORRELATION or (moved and fits >= 0.8):
        return True
    moved, fits, gain = _fit(pair.a, pair.b, place.x, place.y, WIDE_PX)
    return moved and fits >= 0.75 and gain >= 0.1


def _fit(one: Pixels, other: Pixels, x: int, y: int, half_px: int) -> tuple[bool, float, float]:
    """Return whether a window fits best when shifted, its correlation there, and how much better that is than in place."""
    rows, columns = _span(y, half_px, one.shape[0]), _span(x, half_px, one.shape[1])
    s = MAX_SHIFT_PX
    wide = cv2.copyMakeBorder(one, s, s, s, s, cv2.BORDER_REPLICATE)
    within = wide[rows.start : rows.stop + 2 * s, columns.start : columns.stop + 2 * s]
    fits = cv2.matchTemplate(within, np.ascontiguousarray(other[rows, columns]), cv2.TM_CCOEFF_NORMED)
    down, right = (int(v) for v in np.unravel_index(int(fits.argmax()), fits.shape))
    return (down, right) != (s, s), float(fits[down, right]), float(fits[down, right] - fits[s, s])


def _span(middle: int, half_px: int, length: int) -> slice:
    return slice(max(0, middle - half_px), min(length, middle + half_px + 1))


def _in_one_style(pair: _Pair, place: tuple[int, int, float]) -> _Place | None:
    """Return what is at a place when both pictures have one ink there on one ground and little else."""
    x, y, strength = place
    rows, columns = _span(y, WINDOW_PX, pair.a.shape[0]), _span(x, WINDOW_PX, pair.a.shape[1])
    a, b = (picture[rows, columns].astype(np.float32) for picture in (pair.a, pair.b))
    up, down = pair.brighter[rows, columns], pair.darker[rows, columns]
    least = max(4.0, 0.3 * max(int(up.max()), int(down.max())))
    only_a, only_b = down > least, up > least
    if min(np.count_nonzero(only_a), np.count_nonzero(only_b)) < 4:
        return None
    levels = (a[only_a], b[only_b], b[only_a], a[only_b])  # both bright sides, both dark ones
    bright_a, bright_b, dark_a, dark_b = map(_middle, levels)
    depth = min(bright_a - dark_a, bright_b - dark_b)
    apart = max(abs(bright_a - bright_b), abs(dark_a - dark_b))
    if depth < MIN_DEPTH or apart > MAX_APART * depth or max(map(_spread, levels)) > MAX_SPREAD * depth:
        return None
    tones = (bright_a + bright_b) / 2, (dark_a + dark_b) / 2
    if sum(_near(picture, tones) for picture in (a, b)) / 2 < MIN_TWO_TONED:
        return None
    return _Place(strength, x, y, rows, columns, only_a, only_b)


def _middle(values: NDArray[np.float32]) -> float:
    """Return the median; of few values much faster than np.median."""
    ordered = np.sort(values)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _spread(values: NDArray[np.float32]) -> float:
    return _middle(np.abs(values - np.float32(_middle(values))))


def _near(picture: Floats, tones: tuple[float, float]) -> float:
    """Return the share of pixels within .3 of the depth of one of two tones."""
    away = np.minimum(np.abs(picture - tones[0]), np.abs(picture - tones[1]))
    return float((away <= 0.3 * (tones[0] - tones[1])).mean())
