"""One decoded image and the derived pictures its metrics share, each made at most once.

Some metrics depend on scale (a sharp picture is less sharp when enlarged), so they are measured on pictures of a stated size:
values of different images then compare.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from curation import spectrum
from curation.hashing import Floats, pdq_coefficients
from curation.quantisation import UNQUANTISED

Pixels = NDArray[np.uint8]

ANALYSED_SIDE_PX = 1024
"""Long side at most of the decoded picture everything is measured on."""
DETAIL_SIDE_PX = 512
"""Long side of the picture for sharpness, and at most of the one for noise and PDQ."""
COMPLEXITY_SIDE_PX = 256
"""Long side of the picture that is encoded again as JPEG, and at most of the one for the grey flag."""
MIDDLE_SIDE_PX = 512
"""Sides at most of the part whose single pixels are looked at, cut out of the middle before any shrinking."""
THUMBNAIL_SIDE_PX = 64
"""Long side at most of the picture for colours."""


def resized(pixels: Pixels, side_px: int, *, enlarge: bool) -> Pixels:
    """Return the picture with long side `side_px` (area average down, bilinear up); smaller ones stay unless `enlarge`."""
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    if scale == 1 or (scale > 1 and not enlarge):
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cast(Pixels, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))


@dataclass(frozen=True)
class Picture:
    """What a metric may look at."""

    rgb: Pixels
    """(H, W, 3) sRGB, long side at most ANALYSED_SIDE_PX."""
    width_px: int
    """Width of the image itself, after EXIF orientation."""
    height_px: int
    """Height of the image itself, after EXIF orientation."""
    size_bytes: int
    """Length of the encoded file."""
    full: Pixels | None = None
    """The middle of the picture before shrinking, sides at most MIDDLE_SIDE_PX; None: that of `rgb` is all there is."""
    stated_step: float = UNQUANTISED
    """Quantisation step that the file states, see curation/quantisation.py."""

    @cached_property
    def middle(self) -> Pixels:
        """The middle of the picture, (h, w, 3), of the image's own pixels where they are known."""
        if self.full is not None:
            return self.full
        top, left = (max(0, (length - MIDDLE_SIDE_PX) // 2) for length in self.rgb.shape[:2])
        return np.ascontiguousarray(self.rgb[top : top + MIDDLE_SIDE_PX, left : left + MIDDLE_SIDE_PX])

    @cached_property
    def middle_grey(self) -> Pixels:
        """BT.601 luma of `middle`, (h, w)."""
        return cast(Pixels, cv2.cvtColor(self.middle, cv2.COLOR_RGB2GRAY))

    @cached_property
    def spectrum(self) -> NDArray[np.float64]:
        """Power of `middle_grey` by frequency, see curation/spectrum.py."""
        return spectrum.rings(self.middle_grey)

    @cached_property
    def grey(self) -> Pixels:
        """BT.601 luma of `rgb`, (H, W)."""
        return cast(Pixels, cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY))

    @cached_property
    def histogram(self) -> NDArray[np.float64]:
        """Share of the 256 grey levels; sums to 1."""
        counts = cv2.calcHist([self.grey], [0], None, [256], [0, 256])  # float32, exact up to 4096 x 4096 px
        return np.asarray(counts.ravel(), np.float64) / self.grey.size

    @cached_property
    def detail(self) -> Pixels:
        """Grey picture with long side at most DETAIL_SIDE_PX."""
        return resized(self.grey, DETAIL_SIDE_PX, enlarge=False)

    @cached_property
    def small(self) -> Pixels:
        """Colour picture with long side at most COMPLEXITY_SIDE_PX."""
        return resized(self.rgb, COMPLEXITY_SIDE_PX, enlarge=False)

    @cached_property
    def thumbnail(self) -> Pixels:
        """Colour picture with long side at most THUMBNAIL_SIDE_PX."""
        return resized(self.small, THUMBNAIL_SIDE_PX, enlarge=False)

    @cached_property
    def pdq(self) -> tuple[Floats, int]:
        """PDQ coefficients and quality of `detail`."""
        return pdq_coefficients(self.detail)

    @cached_property
    def borders_px(self) -> dict[str, int]:
        """Width of the uniform border on each side, in px of the image; of a wholly uniform picture top is all of it."""
        height, width = self.rgb.shape[:2]
        top = uniform_rows(self.rgb)
        if top == height:
            return {"left": 0, "right": 0, "top": self.height_px, "bottom": 0}
        turned = self.rgb.transpose(1, 0, 2)
        found = {
            "left": uniform_rows(turned) * self.width_px / width,
            "right": uniform_rows(turned[::-1]) * self.width_px / width,
            "top": top * self.height_px / height,
            "bottom": uniform_rows(self.rgb[::-1]) * self.height_px / height,
        }
        return {side: round(value) for side, value in found.items()}


def uniform_rows(rgb: Pixels, *, tolerance: int = 10, min_share: float = 0.99) -> int:
    """Return how many rows from the top hold one colour, the median of the first row.

    tolerance: levels each channel may be off, enough for JPEG ringing. min_share: share of a row's pixels that must agree.
    """
    colour = np.median(rgb[0], axis=0)
    low, high = np.clip(colour - tolerance, 0, 255), np.clip(colour + tolerance, 0, 255)
    start, step = 0, 1
    while start < len(rgb):
        inside = cv2.inRange(np.ascontiguousarray(rgb[start : start + step]), low, high)
        broken = np.flatnonzero(inside.mean(axis=1) < 255 * min_share)
        if broken.size:
            return start + int(broken[0])
        start, step = start + step, 2 * step  # most pictures have no border: look at few rows first
    return len(rgb)
