"""Originals and copies that are worse than they are: what a keeper is to be chosen among.

Each photograph is shrunk a little, which makes it forget how its file was compressed, and saved as somebody would publish it:
JPEG at four qualities, PNG or WebP. From that file come the copies: the alterations of benchmarks/altered.py and those below,
saved in turn as JPEG at any quality, as WebP, and without loss, so that neither the format nor the bytes of a file tell which it
is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.altered import KINDS, STRENGTHS, Altered, Generator, Range, Ranges, alter
from benchmarks.altered_set import load, pictures

LONG_SIDES_PX = (480, 960)
EQUAL_DB = 42.0
"""Luma PSNR from which a copy of the same size cannot be told from its original by eye."""
ORIGINALS: tuple[tuple[str, dict[str, int]], ...] = (
    ("jpg", {"quality": 75}), ("jpg", {"quality": 85}), ("jpg", {"quality": 92}), ("jpg", {"quality": 95, "subsampling": 0}),
    ("png", {}), ("webp", {"quality": 90}),
)  # fmt: skip
CARRIERS: tuple[tuple[str, dict[str, Range]], ...] = (
    ("jpg", {"quality": (72, 84)}), ("jpg", {"quality": (85, 91)}), ("jpg", {"quality": (92, 97)}),
    ("png", {}), ("tiff", {}), ("bmp", {}), ("webp", {"quality": (75, 95)}),
)  # fmt: skip
KEEPS_FORMAT = ("jpeg", "format")
LOSSLESS = ("png", "tiff", "bmp")


@dataclass(frozen=True)
class Copy:
    """One file of a set: the original itself or a copy, and whether the eye takes it for the original."""

    source: int
    kind: str
    strength: str
    extension: str
    equal: bool
    content: bytes


def copies(path: Path, *, source: int, ranges: Ranges, seed: int) -> Iterator[Copy]:
    """Yield a photograph's original and then its copies, one of every kind and strength."""
    generator = np.random.default_rng([seed, source])
    image = load(path)
    side = generator.uniform(*LONG_SIDES_PX)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    extension, options = ORIGINALS[source % len(ORIGINALS)]
    content = Altered(image, extension=extension, options=options).encoded()
    yield Copy(source, "original", "", extension, True, content)
    image = Image.open(BytesIO(content)).convert("RGB")
    for kind, strength in [(kind, strength) for kind in (*KINDS, *MORE) for strength in STRENGTHS]:
        made = _altered(image, kind, strength, ranges, generator)
        content = made.encoded()
        yield Copy(source, kind, strength, made.extension, _equal(image, content), content)


def _altered(image: Image.Image, kind: str, strength: str, ranges: Ranges, generator: Generator) -> Altered:
    if kind in MORE:
        low, high = (MORE[kind][1] if ranges == "dev" else MORE[kind][2])[STRENGTHS.index(strength)]
        made = MORE[kind][0](Altered(image), generator, float(generator.uniform(low, high)))
    else:
        made = alter(image, kind=kind, strength=strength, ranges=ranges, generator=generator)
    carries = kind not in KEEPS_FORMAT and kind not in FORMATS
    return _carried(made, generator) if carries else made


def _carried(made: Altered, generator: Generator, *, among: tuple[tuple[str, dict[str, Range]], ...] = CARRIERS) -> Altered:
    extension, options = among[int(generator.integers(len(among)))]
    chosen = {name: round(float(generator.uniform(*limits))) for name, limits in options.items()}
    return replace(made, extension=extension, options=chosen)


def _equal(image: Image.Image, content: bytes) -> bool:
    copy = Image.open(BytesIO(content)).convert("RGB")
    if copy.size != image.size:
        return False
    left, right = (np.asarray(picture.convert("L"), np.float64) for picture in (image, copy))
    return bool(10 * np.log10(255**2 / max(float(((left - right) ** 2).mean()), 1e-9)) >= EQUAL_DB)


def _reopened(a: Altered, extension: str, quality: float) -> Image.Image:
    content = replace(a, extension=extension, options={"quality": round(quality)}).encoded()
    return Image.open(BytesIO(content)).convert("RGB")


def _resaved(a: Altered, generator: Generator, quality: float) -> Altered:
    """Compress as JPEG, then save without loss."""
    lossless = tuple((extension, dict[str, Range]()) for extension in LOSSLESS)
    return _carried(replace(a, image=_reopened(a, "jpg", quality)), generator, among=lossless)


def _twice(a: Altered, generator: Generator, quality: float) -> Altered:
    """Compress as JPEG, then as JPEG of high quality."""
    return replace(a, image=_reopened(a, "jpg", quality), extension="jpg", options={"quality": int(generator.integers(90, 98))})


def _cut_twice(a: Altered, generator: Generator, quality: float) -> Altered:
    """Compress as JPEG, cut off a few rows and columns, then save as JPEG of high quality."""
    image = _reopened(a, "jpg", quality)
    left, top = (int(number) for number in generator.integers(1, 8, 2))
    cut = image.crop((left, top, image.width, image.height))
    return replace(a, image=cut, extension="jpg", options={"quality": int(generator.integers(90, 98))})


def _through(a: Altered, generator: Generator, factor: float) -> Altered:
    """Shrink, then enlarge to the old size."""
    small = a.image.resize([max(8, round(side * factor)) for side in a.image.size], Image.Resampling.BICUBIC)
    return replace(a, image=small.resize(a.image.size, Image.Resampling.BICUBIC))


def _sharpen(a: Altered, generator: Generator, percent: float) -> Altered:
    return replace(a, image=a.image.filter(ImageFilter.UnsharpMask(radius=1.5, percent=round(percent), threshold=0)))


def _median(a: Altered, generator: Generator, size: float) -> Altered:
    return replace(a, image=a.image.filter(ImageFilter.MedianFilter(2 * round(size) + 1)))


def _dithered(a: Altered, generator: Generator, colours: float) -> Altered:
    palette = a.image.quantize(round(colours), dither=Image.Dither.FLOYDSTEINBERG, palette=a.image.quantize(round(colours)))
    return replace(a, image=palette, extension=str(generator.choice(["gif", "png"])), options={})


def _avif(a: Altered, generator: Generator, quality: float) -> Altered:
    return replace(a, extension="avif", options={"quality": round(quality), "speed": 9})


FORMATS = ("resaved", "twice", "cut twice", "dithered", "avif")
MORE = {
    "resaved": (_resaved, ((45, 65), (15, 30)), ((50, 70), (10, 25))),
    "twice": (_twice, ((45, 65), (15, 30)), ((50, 70), (10, 25))),
    "cut twice": (_cut_twice, ((45, 65), (15, 30)), ((50, 70), (10, 25))),
    "through": (_through, ((0.65, 0.8), (0.35, 0.5)), ((0.6, 0.75), (0.3, 0.45))),
    "sharpen": (_sharpen, ((60, 120), (180, 300)), ((50, 100), (150, 260))),
    "median": (_median, ((1, 1), (2, 2)), ((1, 1), (2, 2))),
    "dithered": (_dithered, ((200, 256), (32, 64)), ((180, 256), (24, 48))),
    "avif": (_avif, ((60, 75), (30, 45)), ((55, 80), (25, 40))),
}
"""Name -> what is done, and the ranges of its amount, weak and strong, while developing and in the published measurement."""


def sources(photos: Path, count: int | None) -> list[Path]:
    """Return `count` photographs of a folder, evenly spread over it; all without a count."""
    found = pictures(photos)
    return found if count is None else [found[place] for place in np.linspace(0, len(found) - 1, count).round().astype(int)]
