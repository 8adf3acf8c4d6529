"""Geometry of a whole picture as values of its state: tilt, mirror, quarter turns, crop; done in this order."""

import math
from collections.abc import Mapping
from typing import Any, cast

import cv2
import numpy as np

from curation.text_lines import Pixels

CROPS: dict[str, tuple[float, float, float, float]] = {
    "left": (0.0, 0.0, 0.65, 1.0),
    "right": (0.35, 0.0, 1.0, 1.0),
    "top": (0.0, 0.0, 1.0, 0.65),
    "bottom": (0.0, 0.35, 1.0, 1.0),
    "middle": (0.15, 0.15, 0.85, 0.85),
}
"""Part that stays, as shares of width and height; the opposite edit extends the picture again."""


def warped(pixels: Pixels, state: Mapping[str, Any]) -> Pixels:
    """Return the picture with the state's geometry; `tilt` is degrees clockwise, `turn` 90, 180 or 270 degrees clockwise."""
    if state.get("tilt"):
        pixels = tilted(pixels, float(state["tilt"]))
    if state.get("mirror"):
        pixels = cast(Pixels, np.flip(pixels, 1 if state["mirror"] == "horizontal" else 0))
    if state.get("turn"):
        pixels = cast(Pixels, np.rot90(pixels, -int(state["turn"]) // 90))
    if state.get("crop"):
        pixels = cropped(pixels, CROPS[str(state["crop"])])
    return np.ascontiguousarray(pixels)


def cropped(pixels: Pixels, part: tuple[float, float, float, float]) -> Pixels:
    """Return a part of the picture given in shares of its sides."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = round(part[0] * width), round(part[1] * height), round(part[2] * width), round(part[3] * height)
    return pixels[y0:y1, x0:x1]


def tilted(pixels: Pixels, degrees: float) -> Pixels:
    """Return the picture turned clockwise about its middle, cut to the largest upright rectangle of its shape without corners."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    turned = cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    angle = math.radians(abs(degrees))
    long, short = max(width, height), min(width, height)
    scale = short / (long * math.sin(angle) + short * math.cos(angle))
    inner = int(width * scale) // 2 * 2, int(height * scale) // 2 * 2
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    return cast(Pixels, turned[top : top + inner[1], left : left + inner[0]])
