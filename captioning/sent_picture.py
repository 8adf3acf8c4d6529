"""Pictures as they are sent to a model: decoded here, upright, RGB, inside a budget of pixels, and encoded anew as JPEG.

Servers answer 500 to pictures that they cannot decode, and a model pays for every pixel; so nobody else's decoder meets the
file as it lies on disk.
"""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 92
SHORTEST_SIDE_PX = 28
"""Vision encoders cut a picture into patches of 14 or 16 px, joined two by two."""
LONGEST_ASPECT = 150
"""Qwen's processor refuses pictures above 200 to 1."""


def sent_size(width_px: int, height_px: int, *, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Return the size at which a picture is sent: its aspect kept where the budget and the shortest side allow."""
    pixels = width_px * height_px
    scale = math.sqrt(max_pixels / pixels) if pixels > max_pixels else math.sqrt(max(1.0, min_pixels / pixels))
    scale = max(scale, min(SHORTEST_SIDE_PX / min(width_px, height_px), math.sqrt(max_pixels / pixels)))
    width, height = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    low = max(SHORTEST_SIDE_PX, math.ceil(max(width, height) / LONGEST_ASPECT))
    return max(width, low), max(height, low)


def sent_picture(pixels: NDArray[np.uint8], *, min_pixels: int, max_pixels: int) -> bytes:
    """Return uint8 (H, W, 3) sRGB pixels as a JPEG without colour subsampling, of `sent_size`; letters stay sharp so."""
    image = Image.fromarray(pixels)
    size = sent_size(image.width, image.height, min_pixels=min_pixels, max_pixels=max_pixels)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS if size[0] < image.width else Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
