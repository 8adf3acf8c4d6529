"""Where in a picture there is anything to see, on a coarse grid.

Enters: a grey picture. Leaves: structure and smoothness per cell. A blurred border, a mat or the fill of a tilted picture adds
area and no structure, so how much of a picture another one shows is told better by structure than by area.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from graph.alignment import Frame
from graph.keypoints import Pixels

Grid = NDArray[np.float32]

SIDE = 48
SMOOTH_LEVELS = 2
"""A pixel is smooth when its 3 x 3 surroundings span no more grey levels: most of a drawn graphic is, little of a photograph."""
STRUCTURE_LEVELS = (10, 60)
"""A span of surroundings below the first is no structure (blur, noise), above the second no more of it than at the second."""


@dataclass(frozen=True)
class Part:
    """What of a picture lies inside a polygon."""

    structure: float  # share of the picture's structure
    smooth: float  # share of smooth pixels inside


@dataclass(frozen=True)
class Content:
    """SIDE x SIDE cells of a picture."""

    structure_SS: Grid
    smooth_SS: Grid
    plain: float  # share of the two fullest of 32 grey bins: paper and ink, a window's background
    width_px: int
    height_px: int

    @property
    def smooth(self) -> float:
        """Share of smooth pixels in all of the picture."""
        return float(self.smooth_SS.mean())

    def inside(self, polygon: NDArray[np.float32], *, mirrored: bool = False) -> Part:
        """Return what lies inside a convex polygon (4, 2) in px of the picture, or of the picture mirrored."""
        points = polygon * np.array([SIDE / self.width_px, SIDE / self.height_px], np.float32)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillConvexPoly(mask, np.rint(np.clip(points, -4 * SIDE, 5 * SIDE)).astype(np.int32), 1)
        chosen = (mask[:, ::-1] if mirrored else mask).astype(bool)
        total = float(self.structure_SS.sum())
        if not chosen.any():
            return Part(0.0, self.smooth)
        structure = float(self.structure_SS[chosen].sum()) / total if total > 0 else 0.0
        return Part(structure, float(self.smooth_SS[chosen].mean()))


def content(picture: Pixels, frame: Frame) -> Content:
    """Return the grid of a grey picture (H, W), and how plain it is inside `frame`."""
    left, top, right, bottom = frame
    bins = np.bincount(picture[top:bottom, left:right].ravel() >> 3, minlength=32)
    plain = float(np.sort(bins)[-2:].sum() / max(bins.sum(), 1))
    square = np.ones((3, 3), np.uint8)
    span = np.asarray(cv2.subtract(cv2.dilate(picture, square), cv2.erode(picture, square)), np.uint8)
    low, high = STRUCTURE_LEVELS
    structure = cv2.subtract(np.minimum(span, high), low)
    smooth = (span <= SMOOTH_LEVELS).view(np.uint8) * np.uint8(255)
    cells = [
        np.asarray(cv2.resize(plane, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float32) for plane in (structure, smooth)
    ]
    return Content(cells[0], cells[1] / np.float32(255), plain, picture.shape[1], picture.shape[0])
