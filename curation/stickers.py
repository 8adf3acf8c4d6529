"""Cut-outs that edits add and remove: shapes with an outline, drawn smoothly, each with its name in English and Chinese."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from curation.text_lines import Pixels, levels

OVERSAMPLING = 4


@dataclass(frozen=True)
class Shape:
    """A closed outline in the unit square, and its name."""

    en: str
    zh: str  # with its measure word
    outline: tuple[tuple[float, float], ...]


def _star(points: int, inner: float) -> tuple[tuple[float, float], ...]:
    radii = [0.5 if corner % 2 == 0 else 0.5 * inner for corner in range(2 * points)]
    angles = [math.pi * (corner / points - 0.5) for corner in range(2 * points)]
    return tuple((0.5 + r * math.cos(a), 0.52 + r * math.sin(a)) for r, a in zip(radii, angles, strict=True))


def _circle() -> tuple[tuple[float, float], ...]:
    return tuple((0.5 + 0.5 * math.cos(a), 0.5 + 0.5 * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 96, endpoint=False))


def _heart() -> tuple[tuple[float, float], ...]:
    """Return the heart curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, scaled."""
    turns = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    x = 16 * np.sin(turns) ** 3
    y = 13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns)
    return tuple((float(0.5 + a / 34), float(0.46 - b / 34)) for a, b in zip(x, y, strict=True))


ARROW = ((0.0, 0.36), (0.55, 0.36), (0.55, 0.12), (1.0, 0.5), (0.55, 0.88), (0.55, 0.64), (0.0, 0.64))
TRIANGLE = ((0.5, 0.05), (1.0, 0.95), (0.0, 0.95))
BOLT = ((0.62, 0.0), (0.18, 0.56), (0.46, 0.56), (0.34, 1.0), (0.82, 0.4), (0.53, 0.4))

SHAPES: dict[str, Shape] = {
    "star": Shape("star", "颗{colour}的星星", _star(5, 0.42)),
    "disc": Shape("circle", "个{colour}的圆形", _circle()),
    "heart": Shape("heart", "颗{colour}的爱心", _heart()),
    "arrow": Shape("arrow", "个{colour}的箭头", ARROW),
    "triangle": Shape("triangle", "个{colour}的三角形", TRIANGLE),
    "bolt": Shape("lightning bolt", "道{colour}的闪电", BOLT),
}


def draw_sticker(pixels: Pixels, sticker: Mapping[str, Any]) -> None:
    """Draw a sticker {shape, colour, box} onto uint8 (H, W, 3) pixels in place, with a white rim so that it stands out."""
    x0, y0, x1, y1 = sticker["box"]
    for colour, rim in (("#ffffff", 0.0), (sticker["colour"], 0.06)):
        alpha = _alpha(SHAPES[sticker["shape"]], x1 - x0, y1 - y0, rim)[:, :, None]
        below = pixels[y0:y1, x0:x1].astype(np.float32)
        pixels[y0:y1, x0:x1] = np.rint(below * (1 - alpha) + levels(colour) * alpha).astype(np.uint8)


def _alpha(shape: Shape, width: int, height: int, rim: float) -> NDArray[np.float32]:
    """Return the coverage of the shape shrunk by `rim` of its size, (height, width) in [0, 1]."""
    size = width * OVERSAMPLING, height * OVERSAMPLING
    points = np.array(shape.outline) - 0.5
    points = points * (0.92 - 2 * rim) + 0.5
    canvas = Image.new("L", size, 0)
    ImageDraw.Draw(canvas).polygon([(x * size[0], y * size[1]) for x, y in points], fill=255)
    small = canvas.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)
