"""Image size -> resolution bucket, the shape in which the trainer will see the image.

A bucket is 'WIDTHxHEIGHT', both multiples of 16 (an 8-fold autoencoder times patches of 2), with an area just below that of
a square base. Images of one bucket form batches without padding; the trainer scales an image until it covers its bucket and
crops the rest. Aspect buckets of constant area lose less of the picture than square crops (NovelAI, "Aspect Ratio
Bucketing", 2022, https://github.com/NovelAI/novelai-aspect-ratio-bucketing). A ladder of bases, and not one, because
enlarging a thumbnail to 1024 px would teach the model blur: a small image falls to the largest base that it can fill.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import log

BASES_PX = (32, 64, 128, 256, 512, 1024)


def bucket(
    width_px: int,
    height_px: int,
    *,
    bases_px: Sequence[int] = BASES_PX,
    multiple_px: int = 16,
    max_aspect: float = 4.0,
    max_enlargement: float = 1.1,
) -> str:
    """Return the resolution bucket 'WIDTHxHEIGHT' of an image.

    bases_px: sides of the squares whose areas buckets may have; the largest that the image fills is taken.
    multiple_px: both sides of a bucket are multiples of it.
    max_aspect: longest bucket, long side over short side; a longer image is cropped.
    max_enlargement: how far an image may be scaled up to reach a base; below the smallest base there is no limit.
    Raises ValueError when a size is not positive or a base is no multiple of `multiple_px`.
    """
    if width_px <= 0 or height_px <= 0:
        raise ValueError(f"an image of {width_px} x {height_px} px has no bucket")
    return _bucket(int(width_px), int(height_px), tuple(sorted(bases_px)), multiple_px, max_aspect, max_enlargement)


def area_px(name: str) -> int:
    """Return the number of pixels of a bucket 'WIDTHxHEIGHT'."""
    width, height = name.split("x")
    return int(width) * int(height)


@lru_cache(maxsize=1 << 16)
def _bucket(
    width_px: int,
    height_px: int,
    bases_px: tuple[int, ...],
    multiple_px: int,
    max_aspect: float,
    max_enlargement: float,
) -> str:
    for base_px in reversed(bases_px):
        shapes = _shapes(base_px, multiple_px, max_aspect)
        width, height = min(shapes, key=lambda shape: _misfit(shape, width_px, height_px))
        if max(width / width_px, height / height_px) <= max_enlargement:
            break
    return f"{width}x{height}"


def _misfit(shape: tuple[int, int], width_px: int, height_px: int) -> tuple[float, int]:
    """Rank a shape: smallest share cropped away, then the larger area."""
    width, height = shape
    return round(abs(log(width * height_px / (height * width_px))), 9), -width * height


@lru_cache(maxsize=64)
def _shapes(base_px: int, multiple_px: int, max_aspect: float) -> tuple[tuple[int, int], ...]:
    """Return every (width, height) of a base: for each side the longest other side within the base's area."""
    if base_px <= 0 or base_px % multiple_px:
        raise ValueError(f"base {base_px} px is no multiple of {multiple_px} px")
    sides = range(multiple_px, int(base_px * max_aspect) + 1, multiple_px)
    pairs = ((side, base_px**2 // side // multiple_px * multiple_px) for side in sides)
    fitting = {(a, b) for a, b in pairs if b and max(a / b, b / a) <= max_aspect}
    return tuple(sorted(fitting | {(b, a) for a, b in fitting}))
