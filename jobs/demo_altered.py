"""Altered copies of the photographs: what people do to pictures before they post them again, with the truth of each.

`truth.csv` has the columns name, original and alteration. Its first column is called so that ingest takes the file for no list
of images: the truth is for checking, and no stage may see it.
"""

import csv
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from jobs.demo_text import latin_font

Alter = Callable[[Image.Image, np.random.Generator], Image.Image]


def _same(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return image


def _resize(factor: float) -> Alter:
    return lambda image, generator: ImageOps.scale(image, factor, Image.Resampling.LANCZOS)


def _crop(share: float) -> Alter:
    """Cut out a window at a random place whose sides are `share` of the picture's."""

    def crop(image: Image.Image, generator: np.random.Generator) -> Image.Image:
        width, height = (round(side * share) for side in image.size)
        left = int(generator.integers(image.width - width + 1))
        top = int(generator.integers(image.height - height + 1))
        return image.crop((left, top, left + width, top + height))

    return crop


def _rotate(degrees: float) -> Alter:
    return lambda image, generator: image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white")


def _border(colour: str, share: float) -> Alter:
    return lambda image, generator: ImageOps.expand(image, round(max(image.size) * share), colour)


def _text_bar(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Put a white bar with a line of text above the picture."""
    bar_px = max(image.height // 6, 24)
    canvas = ImageOps.expand(image, (0, bar_px, 0, 0), "white")
    font = latin_font(bar_px * 0.5)
    ImageDraw.Draw(canvas).text((canvas.width / 2, bar_px / 2), "WHEN YOU SEE IT", "black", font, "mm")
    return canvas


def _watermark(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Lay a half transparent word over the middle, as stock agencies do."""
    layer = Image.new("RGBA", image.size, (255, 255, 255, 0))
    font = latin_font(max(image.width / 8, 12))
    ImageDraw.Draw(layer).text((image.width / 2, image.height / 2), "SAMPLE", (255, 255, 255, 110), font, "mm")
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _brightness(factor: float) -> Alter:
    return lambda image, generator: ImageEnhance.Brightness(image).enhance(factor)


ALTERATIONS: dict[str, tuple[Alter, str, dict[str, int]]] = {
    "jpeg-q75": (_same, "jpg", {"quality": 75}),
    "jpeg-q30": (_same, "jpg", {"quality": 30}),
    "jpeg-q10": (_same, "jpg", {"quality": 10}),
    "half": (_resize(0.5), "jpg", {"quality": 85}),
    "quarter": (_resize(0.25), "jpg", {"quality": 85}),
    "enlarged": (_resize(1.4), "jpg", {"quality": 85}),
    "crop-90": (_crop(0.9), "jpg", {"quality": 90}),
    "crop-75": (_crop(0.75), "jpg", {"quality": 90}),
    "crop-60": (_crop(0.6), "png", {}),
    "mirror": (lambda image, generator: ImageOps.mirror(image), "jpg", {"quality": 90}),
    "rotate-90": (_rotate(90), "jpg", {"quality": 90}),
    "rotate-4": (_rotate(4), "jpg", {"quality": 90}),
    "rotate-12": (_rotate(-12), "jpg", {"quality": 90}),
    "border-white": (_border("white", 0.06), "jpg", {"quality": 90}),
    "border-black": (_border("black", 0.12), "png", {}),
    "text-bar": (_text_bar, "jpg", {"quality": 90}),
    "watermark": (_watermark, "jpg", {"quality": 90}),
    "brighter": (_brightness(1.3), "jpg", {"quality": 90}),
    "darker": (_brightness(0.7), "jpg", {"quality": 90}),
    "grey": (lambda image, generator: ImageOps.grayscale(image).convert("RGB"), "jpg", {"quality": 90}),
    "blur": (lambda image, generator: image.filter(ImageFilter.GaussianBlur(1.5)), "jpg", {"quality": 90}),
    "to-webp": (_same, "webp", {"quality": 80}),
    "to-avif": (_same, "avif", {"quality": 65, "speed": 8}),
    "to-gif": (_same, "gif", {}),
    "to-bmp": (_resize(0.8), "bmp", {}),
    "to-tiff": (_resize(0.8), "tiff", {}),
}
"""Name -> (what is done to the RGB pixels, file extension, options of the encoder)."""


def write_altered(folder: Path, photos: dict[str, Path], *, per_photo: int, seed: int) -> int:
    """Write `per_photo` altered copies of each photo, two byte-identical ones and truth.csv; return how many images.

    Which alterations a photo gets is drawn from `seed` and the photo's place in the list; each at most once.
    """
    folder.mkdir(parents=True)
    truth = [_copy_bytes(photos[name], folder) for name in ("chelsea", "page")]
    for index, path in enumerate(photos.values()):
        generator = np.random.default_rng([seed, 1, index])
        chosen = generator.permutation(len(ALTERATIONS))[:per_photo]
        with Image.open(path) as opened:
            image = _flatten(opened)
        truth += [_write_alteration(path, image, list(ALTERATIONS)[which], folder, generator) for which in chosen]
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([("name", "original", "alteration"), *sorted(truth)])
    return len(truth)


def _flatten(image: Image.Image) -> Image.Image:
    """Return RGB pixels; transparency becomes white, as a viewer shows it."""
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _copy_bytes(path: Path, folder: Path) -> tuple[str, str, str]:
    copy = folder / f"{path.stem}__same-bytes{path.suffix}"
    shutil.copyfile(path, copy)
    return copy.name, path.name, "same-bytes"


def _write_alteration(
    path: Path, image: Image.Image, name: str, folder: Path, generator: np.random.Generator
) -> tuple[str, str, str]:
    """Write one altered copy; return its line of the truth."""
    alter, extension, options = ALTERATIONS[name]
    altered, encoded = alter(image, generator), BytesIO()
    altered.save(encoded, Image.registered_extensions()["." + extension], **options)
    copy = folder / f"{path.stem}__{name}.{extension}"
    copy.write_bytes(encoded.getvalue())
    return copy.name, path.name, name
