"""The default order keeps a real photograph rather than what was made of it, whatever the copy was saved as."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps
from skimage import data

from curation.ingest import ingest
from curation.metrics import profile
from curation.sources import list_source
from graph.keeper import DEFAULT, preference

Saved = tuple[str, dict[str, object]]
ORIGINALS: dict[str, Saved] = {"jpeg": ("jpg", {"quality": 92}), "png": ("png", {})}


def made(image: Image.Image, folder: Path) -> dict[str, tuple[Image.Image, Saved]]:
    """Return copies by name: pixels, and how they are saved, mostly in ways that beat the original by bytes or pixels."""
    low = folder.parent / "low.jpg"
    image.save(low, quality=30)
    again = Image.open(low).convert("RGB")
    width, height = image.size
    png: Saved = ("png", {})
    return {
        "compressed": (image, ("jpg", {"quality": 40})),
        "compressed, then png": (again, png),
        "compressed, then compressed less": (again, ("jpg", {"quality": 97})),
        "half": (image.resize((width // 2, height // 2), Image.Resampling.LANCZOS), png),
        "enlarged": (image.resize((width * 2, height * 2), Image.Resampling.BICUBIC), png),
        "blurred": (image.filter(ImageFilter.GaussianBlur(2)), png),
        "palette": (image.quantize(64), ("gif", {})),
        "framed": (ImageOps.expand(image, 40, "black"), png),
        "crop": (image.crop((width // 6, height // 6, width, height)), png),
    }


@pytest.mark.parametrize("original", list(ORIGINALS))
@pytest.mark.parametrize("photograph", ["coffee", "astronaut", "rocket"])
def test_the_original_is_kept_against_every_copy_and_all_of_them(tmp_path: Path, photograph: str, original: str) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    image = Image.fromarray(getattr(data, photograph)())
    image.thumbnail((480, 480), Image.Resampling.LANCZOS)
    extension, options = ORIGINALS[original]
    image.save(folder / f"original.{extension}", **options)
    copies = made(Image.open(folder / f"original.{extension}").convert("RGB"), folder)
    for name, (pixels, (extension, options)) in copies.items():
        pixels.save(folder / f"{name}.{extension}", **options)
    images = ingest(list_source(str(folder)).chunks[0])
    metrics = profile(images=images)
    names = [Path(key).stem for key in images["key"].to_pylist()]
    order = preference(images=images, metrics=metrics, keeper=DEFAULT, groups=np.zeros(len(names), np.int64))
    assert names[int(np.argmin(order))] == "original"
    for row in range(len(names)):
        pair = [names.index("original"), row]
        kept = preference(images=images.take(pair), metrics=metrics.take(pair), keeper=DEFAULT, groups=np.zeros(2, np.int64))
        assert kept[0] == 0 or row == pair[0], names[row]
