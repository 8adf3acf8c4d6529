"""Real photographs out of installed packages, and altered copies of them whose truth is known.

Nothing is downloaded: scikit-image and scikit-learn carry the pictures. Each one gets a JSON sidecar with its source and
licence, so that credit travels with the image to the shard, and some get a text caption. The altered copies are what people
do to pictures before they post them again; `altered/truth.csv` names the original and the alteration of each.
"""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from jobs.demo_text import latin_font

MAX_SIDE_PX = 1024


@dataclass(frozen=True)
class Photo:
    """One bundled picture: where it lies, whose it is, and what it shows."""

    name: str
    package: str  # of the data folder, for importlib.resources
    file: str
    credit: str
    licence: str
    caption: str = ""


SKIMAGE = "skimage.data"
SKLEARN = "sklearn.datasets.images"
NOT_STATED = "not stated by the package"

PHOTOS = (
    Photo(
        "astronaut",
        SKIMAGE,
        "astronaut.png",
        "NASA Great Images, portrait of Eileen Collins",
        "public domain",
        "An astronaut in an orange suit smiles in front of a flag and a model of the space shuttle.",
    ),
    Photo("brick", SKIMAGE, "brick.png", "CC0Textures, Bricks25", "CC0-1.0"),
    Photo(
        "camera",
        SKIMAGE,
        "camera.png",
        "Lav Varshney",
        "CC0-1.0",
        "A man in a dark coat looks through a film camera on a tripod.",
    ),
    Photo("cell", SKIMAGE, "cell.png", "Mueller et al. 2018, doi:10.1364/OE.26.010729", "CC0-1.0"),
    Photo("chelsea", SKIMAGE, "chelsea.png", "Stefan van der Walt", "CC0-1.0", "The face of a ginger tabby cat."),
    Photo(
        "clock",
        SKIMAGE,
        "clock_motion.png",
        "Stefan van der Walt",
        "public domain",
        "A wall clock, blurred by the movement of the camera.",
    ),
    Photo(
        "coffee",
        SKIMAGE,
        "coffee.png",
        "Rachel Michetti, Pikolo Espresso Bar",
        "CC0-1.0",
        "A cup of espresso with a spoon on its saucer, on a wooden table.",
    ),
    Photo("coins", SKIMAGE, "coins.png", "Brooklyn Museum", "no known restrictions", "Greek coins in four rows."),
    Photo("grass", SKIMAGE, "grass.png", "linolafett", "CC0-1.0"),
    Photo("gravel", SKIMAGE, "gravel.png", "CC0Textures, Gravel04", "CC0-1.0"),
    Photo("horse", SKIMAGE, "horse.png", "Andreas Preuss", "CC0-1.0", "The black silhouette of a horse."),
    Photo(
        "hubble",
        SKIMAGE,
        "hubble_deep_field.jpg",
        "NASA, Hubble eXtreme Deep Field",
        "public domain",
        "Many galaxies in front of black space.",
    ),
    Photo("histology", SKIMAGE, "ihc.png", "Center for Microscopy and Molecular Imaging", "no known restrictions"),
    Photo("logo", SKIMAGE, "logo.png", "the scikit-image project", NOT_STATED, "The logo of scikit-image."),
    Photo("moon", SKIMAGE, "moon.png", "scikit-image", NOT_STATED),
    Photo(
        "motorcycle-left",
        SKIMAGE,
        "motorcycle_left.png",
        "Middlebury stereo 2014, Scharstein et al.",
        NOT_STATED,
        "A motorcycle in a workshop.",
    ),
    Photo("motorcycle-right", SKIMAGE, "motorcycle_right.png", "Middlebury stereo 2014, Scharstein et al.", NOT_STATED),
    Photo("page", SKIMAGE, "page.png", "scikit-image", NOT_STATED),
    Photo("retina", SKIMAGE, "retina.jpg", "Mikael Haeggstroem, doi:10.15347/wjm/2014.008", "CC0-1.0"),
    Photo(
        "rocket",
        SKIMAGE,
        "rocket.jpg",
        "SpaceX, launch of DSCOVR",
        "public domain",
        "A rocket rises from its launch pad at dusk.",
    ),
    Photo("text", SKIMAGE, "text.png", "Wikipedia, Corner.png", "public domain"),
    Photo("wheel", SKIMAGE, "color.png", "scikit-image", NOT_STATED, "A wheel of colours."),
    Photo(
        "china",
        SKLEARN,
        "china.jpg",
        "danielbuechele, https://www.flickr.com/photos/danielbuechele/6061409035",
        "CC-BY-2.0",
        "颐和园里一座色彩鲜艳的宝塔。",
    ),
    Photo(
        "flower",
        SKLEARN,
        "flower.jpg",
        "the package names danielbuechele and links https://www.flickr.com/photos/vultilion/6056698931",
        "CC-BY-2.0",
        "A red flower with long petals before a green background.",
    ),
)


def write_photos(folder: Path) -> dict[str, Path]:
    """Write every photo with its sidecars and CREDITS.txt; return name -> path of the written image."""
    folder.mkdir(parents=True)
    paths = {photo.name: _write_photo(photo, folder) for photo in PHOTOS}
    lines = [f"{paths[photo.name].name}: {photo.credit}; {photo.licence} ({photo.package})" for photo in PHOTOS]
    head = "Copied from the installed packages scikit-image and scikit-learn.\n\n"
    (folder / "CREDITS.txt").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return paths


def _write_photo(photo: Photo, folder: Path) -> Path:
    """Copy grey, transparent and JPEG files byte for byte; write other colour pictures as JPEG, as cameras do."""
    with files(photo.package).joinpath(photo.file).open("rb") as stream, Image.open(stream) as image:
        small = max(image.size) <= MAX_SIDE_PX
        keep = small and (image.format == "JPEG" or image.mode != "RGB")
        path = folder / (photo.name + (Path(photo.file).suffix if keep else ".jpg"))
        if keep:
            stream.seek(0)
            with path.open("wb") as copy:
                shutil.copyfileobj(stream, copy)
        else:
            image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
            image.save(path, quality=95, subsampling=0)
    credit = {"credit": photo.credit, "licence": photo.licence, "package": photo.package.split(".")[0]}
    path.with_suffix(".json").write_text(json.dumps(credit, indent=1) + "\n", encoding="utf-8")
    if photo.caption:
        path.with_suffix(".txt").write_text(photo.caption + "\n", encoding="utf-8")
    return path


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
        csv.writer(stream, lineterminator="\n").writerows([("file", "original", "alteration"), *sorted(truth)])
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
