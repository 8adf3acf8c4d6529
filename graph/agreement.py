"""How two aligned pictures agree, window by window: what alone decides whether a pair shows the same.

Enters: two grey pictures and a map between them. Leaves: shares of textured pixels whose surroundings correlate. Local
correlation and not a difference, because a copy may be lighter, flatter or sharper; local and not global, because posters of one
layout correlate as wholes and differ where their text is.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from graph.alignment import Frame, Map, boxed, corners, inverse
from graph.keypoints import Pixels

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

WINDOW_PX = 11
STRIDE_PX = 2
"""Correlation is read at every second pixel of every second line: windows overlap by nine pixels in eleven."""
TEXTURED_VARIANCE = 20.0
"""Grey variance in the window from which a pixel counts: below it there is noise, not structure."""
CELLS = 8
"""`worst_cell` looks at CELLS x CELLS cells of the area seen in both."""
MIN_CELL_TEXTURE = 0.1
"""Share of a cell that texture must fill for the cell to count."""


@dataclass(frozen=True)
class Agreement:
    """How two aligned pictures agree where both are seen."""

    share: float  # of the pixels with texture in either picture, those whose window correlates above `min_correlation`
    share_a: float  # the same among pixels with texture in picture a: 1 when b only adds something
    share_b: float
    worst_cell: float  # the lowest `share` among the cells of an 8 x 8 grid that hold texture
    worst_cell_a: float  # the same for `share_a`: 1 when everything in a is found again in b, whatever b adds
    worst_cell_b: float
    good_cells: float  # share of the cells that hold texture in which at least half of it agrees
    textured: float  # share of the seen area with texture
    seen_px: int  # area seen in both, in px of the coarser picture


@dataclass(frozen=True)
class Overlay:
    """Two pictures on one raster, that of the coarser one."""

    a: Pixels
    b: Pixels
    seen: Mask  # where both are seen, less half a window along the edges
    swapped: bool  # a is the second of the pictures that were given


NOTHING = Agreement(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)


def agree(
    a: Pixels,
    b: Pixels,
    matrix: Map,
    *,
    frame_a: Frame | None = None,
    frame_b: Frame | None = None,
    min_correlation: float = 0.6,
) -> Agreement:
    """Return how picture a, mapped by `matrix`, agrees with picture b.

    frame_a, frame_b: what of either picture counts; all of it by default. min_correlation: of a window that agrees.
    The finer picture is warped onto the coarser one, so nothing is invented by enlarging. Correlation is taken in windows of
    11 px after a blur of 1 px; a gain or an offset of brightness leaves it unchanged.
    """
    return agreement(overlaid(a, b, matrix, frame_a=frame_a, frame_b=frame_b), min_correlation=min_correlation)


def agreement(over: Overlay | None, *, min_correlation: float = 0.6) -> Agreement:
    """Return how two grey pictures on one raster agree; `agree` for those who have no raster yet."""
    if over is None:
        return NOTHING
    seen = over.seen[::STRIDE_PX, ::STRIDE_PX]
    seen_px = int(np.count_nonzero(seen)) * STRIDE_PX**2
    if seen_px < 400:
        return NOTHING
    correlation, *variances = _local(_smooth(over.a), _smooth(over.b))
    texture_a, texture_b = (seen & (variance > TEXTURED_VARIANCE) for variance in variances)
    good, textured = correlation > min_correlation, texture_a | texture_b
    one, other, both = (_shares(good, texture) for texture in (texture_a, texture_b, textured))
    first, second = (other, one) if over.swapped else (one, other)
    filled = np.count_nonzero(textured) * STRIDE_PX**2 / seen_px
    return Agreement(both[0], first[0], second[0], both[1], first[1], second[1], both[2], filled, seen_px)


def overlaid(a: Pixels, b: Pixels, matrix: Map, *, frame_a: Frame | None = None, frame_b: Frame | None = None) -> Overlay | None:
    """Return the finer of two pictures, grey or in colour, warped onto the coarser one; None when too little is seen in both."""
    swapped = _enlarges(matrix, a.shape)
    if swapped:
        a, b, matrix, frame_a, frame_b = b, a, inverse(matrix), frame_b, frame_a
    counted = frame_a or (0, 0, a.shape[1], a.shape[0])
    (left, top, right, bottom), matrix = boxed(counted, frame_b or (0, 0, b.shape[1], b.shape[0]), matrix)
    b = b[top:bottom, left:right]  # work only where both are seen
    if min(b.shape[:2]) < WINDOW_PX:
        return None
    return Overlay(_warp(a, b.shape, matrix), b, _seen(counted, b.shape[:2], matrix), swapped)


def _enlarges(matrix: Map, shape: tuple[int, ...]) -> bool:
    """Say whether a picture of `shape` covers more pixels after the map than before."""
    frame = (0, 0, shape[1], shape[0])
    return bool(cv2.contourArea(corners(frame, matrix)) > shape[0] * shape[1])


def _shares(good: Mask, among: Mask) -> tuple[float, float, float]:
    """Return the share of `among` that is good, in all, in the worst cell, and the share of cells that are at least half good."""
    total, agreeing = _per_cell(among), _per_cell(among & good)
    if not total.any():
        return 0.0, 0.0, 0.0
    full = total >= MIN_CELL_TEXTURE * among.size / CELLS**2
    shares = agreeing[full] / total[full]
    worst, mostly = (float(shares.min()), float((shares >= 0.5).mean())) if full.any() else (0.0, 0.0)
    return float(agreeing.sum() / total.sum()), worst, mostly


def _per_cell(mask: Mask) -> Floats:
    """Return how many pixels of a mask are set in each of CELLS x CELLS cells; whole numbers, exact in float32."""
    counts = _membership(mask.shape[0]).T @ mask.astype(np.float32) @ _membership(mask.shape[1])
    return np.asarray(counts.ravel(), np.float32)


@lru_cache(maxsize=1024)
def _membership(side: int) -> Floats:
    """Return (side, CELLS): 1 where a pixel lies in a cell."""
    return np.asarray(np.arange(side)[:, None] * CELLS // side == np.arange(CELLS), np.float32)


def _seen(frame: Frame, shape: tuple[int, ...], matrix: Map) -> Mask:
    """Return where in a picture of `shape` the mapped frame lies, less half a window along the frame's edges."""
    mask = np.zeros(shape, np.uint8)
    left, top, right, bottom = frame
    shrink = float(np.sqrt(cv2.contourArea(corners(frame, matrix)) / ((right - left) * (bottom - top))))
    inset = round((WINDOW_PX // 2) / max(shrink, 1e-3))
    inner: Frame = (left + inset, top + inset, right - 1 - inset, bottom - 1 - inset)
    if inner[2] > inner[0] and inner[3] > inner[1]:
        cv2.fillConvexPoly(mask, np.rint(corners(inner, matrix)).astype(np.int32), 1)
    return mask.astype(bool)


def _warp(a: Pixels, shape: tuple[int, ...], matrix: Map) -> Pixels:
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    sharp = cv2.GaussianBlur(a, (0, 0), 0.5 / shrink) if shrink < 0.7 else a  # against aliasing
    size = (shape[1], shape[0])
    if np.allclose(matrix[2], (0, 0, 1)):
        warped = cv2.warpAffine(sharp, matrix[:2], size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    else:
        warped = cv2.warpPerspective(sharp, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _smooth(picture: Pixels) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.0), np.float32)


def _local(a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
    """Return correlation in windows, and the variance of each picture in them, at every STRIDE_PX-th pixel."""

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, (WINDOW_PX, WINDOW_PX))[::STRIDE_PX, ::STRIDE_PX], np.float32)

    mean_a, mean_b = mean(a), mean(b)
    variance_a = mean(a * a) - mean_a * mean_a
    variance_b = mean(b * b) - mean_b * mean_b
    covariance = mean(a * b) - mean_a * mean_b
    correlation = covariance / np.sqrt(np.maximum(variance_a, 1) * np.maximum(variance_b, 1))
    return correlation, variance_a, variance_b
