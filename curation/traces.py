"""What an edit leaves behind: gaps among the levels, clipped levels, and one-coloured ground around the picture.

A curve drawn through the levels of an 8-bit picture skips some and doubles others, and so does a palette (Stamm and Liu 2010,
https://doi.org/10.1109/TIFS.2010.2053202). More contrast, sharpening and white letters push pixels to the ends of the scale. A
frame, a bar, a page or the corners of a tilted picture are of exactly one colour up to the edge, which sky and walls are not.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SEEN = 2e-4
"""Share of the pixels that a level's neighbours must have for its own to be expected."""
SEEN_PIXELS = 20
FLAT = 0.9
"""Share of neighbours of the same grey from which a picture is a graphic, whose levels are its colours."""
GROUND_SIDE_PX = 256
GROUND_LEVELS = 2
GROUND_SHARE = 0.004
LAYOUT_SIDE = 8


def tonal_gaps(rgb: Pixels, grey: Pixels) -> float:
    """Return how far a level is from the mean of its neighbours, as a share of the larger, for the channel where most.

    About .1 for a photograph, .2 to 1 after a change of light or contrast saved without loss, or for a palette. 0 for graphics.
    """
    if grey.shape[1] < 2 or (grey[:, 1:] == grey[:, :-1]).mean() > FLAT:
        return 0.0
    return max(_gaps(count) for count in _counts(rgb))


def _gaps(count: NDArray[np.float64]) -> float:
    expected = np.zeros(256)
    expected[1:-1] = (count[:-2] + count[2:]) / 2
    inside = np.flatnonzero(count)
    seen = expected > max(SEEN_PIXELS, SEEN * count.sum())
    seen[: inside[0] + 1] = seen[inside[-1] :] = False
    if not seen.any():
        return 0.0
    return float((np.abs(count - expected)[seen] / (np.maximum(count, expected)[seen] + 1)).mean())


def clipped(rgb: Pixels) -> float:
    """Return the share of pixels at 0 or 255, of the channel with most of them."""
    return max(float((count[0] + count[255]) / count.sum()) for count in _counts(rgb[::2]))  # every second row is enough


def _counts(rgb: Pixels) -> list[NDArray[np.float64]]:
    return [cv2.calcHist([rgb], [channel], None, [256], [0, 256]).ravel().astype(np.float64) for channel in range(3)]


def padding(rgb: Pixels) -> float:
    """Return the share of the picture that is connected to a corner and of its very colour, small patches left out."""
    scale = min(1.0, GROUND_SIDE_PX / max(rgb.shape[:2]))
    size = tuple(max(8, round(side * scale)) for side in rgb.shape[1::-1])
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_NEAREST)
    height, width = small.shape[:2]
    mask, found = np.zeros((height + 2, width + 2), np.uint8), 0
    levels = (GROUND_LEVELS,) * 3
    how = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | 1 << 8
    for x, y in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        if not mask[y + 1, x + 1]:
            area = cv2.floodFill(small, mask, (x, y), 0, levels, levels, how)[0]
            found += area if area >= GROUND_SHARE * width * height else 0
    return float(found / (width * height))


def layout(rgb: Pixels) -> bytes:
    """Return the picture squeezed to LAYOUT_SIDE x LAYOUT_SIDE pixels, uint8 RGB by rows."""
    size = (LAYOUT_SIDE, LAYOUT_SIDE)
    return np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)).tobytes()
