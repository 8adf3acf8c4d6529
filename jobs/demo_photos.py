"""Real photographs out of installed packages: scikit-image and scikit-learn carry them, so nothing is downloaded.

Each photo names its source and licence in a JSON sidecar, or in the list that names it, so that credit travels with the image
to the shard; some have a text caption.
"""

import json
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from PIL import Image

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

LISTED = ("astronaut", "chelsea", "coffee", "rocket")
"""The photos that paths.jsonl names instead of sidecars."""


def write_photos(folder: Path) -> dict[str, Path]:
    """Write every photo, its sidecars, CREDITS.txt and a list beside the folder; return name -> path of the image.

    The photos named in LISTED have no sidecars: `paths.jsonl`, in the folder above, gives their path, caption and credit.
    """
    folder.mkdir(parents=True)
    paths = {photo.name: _write_pixels(photo, folder) for photo in PHOTOS}
    listed = []
    for photo in PHOTOS:
        if photo.name in LISTED:
            fields = {"path": f"{folder.name}/{paths[photo.name].name}", "caption": photo.caption}
            listed.append(json.dumps(fields | _credit(photo)))
        else:
            _write_sidecars(photo, paths[photo.name])
    (folder.parent / "paths.jsonl").write_text("\n".join(listed) + "\n", encoding="utf-8")
    lines = [f"{paths[photo.name].name}: {photo.credit}; {photo.licence} ({photo.package})" for photo in PHOTOS]
    head = "Copied from the installed packages scikit-image and scikit-learn.\n\n"
    (folder / "CREDITS.txt").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return paths


def _write_pixels(photo: Photo, folder: Path) -> Path:
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
    return path


def _credit(photo: Photo) -> dict[str, str]:
    return {"credit": photo.credit, "licence": photo.licence, "package": photo.package.split(".")[0]}


def _write_sidecars(photo: Photo, path: Path) -> None:
    path.with_suffix(".json").write_text(json.dumps(_credit(photo), indent=1) + "\n", encoding="utf-8")
    if photo.caption:
        path.with_suffix(".txt").write_text(photo.caption + "\n", encoding="utf-8")
