"""Earlier compression is found again: what a file states against what its pixels show."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, features
from skimage import data

from curation.decode import decode
from curation.quantisation import comb_step, table_step, webp_step

COFFEE = Image.fromarray(data.coffee()).crop((0, 0, 592, 400)).resize((444, 300), Image.Resampling.LANCZOS)


def saved(image: Image.Image, extension: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, extension, **options)
    return stream.getvalue()


def luma(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


@pytest.mark.parametrize("quality", [15, 40, 60, 75, 85])
@pytest.mark.parametrize("again", [("png", {}), ("tiff", {}), ("webp", {"lossless": True}), ("jpeg", {"quality": 98})])
def test_the_step_of_a_jpeg_that_was_saved_again_is_that_of_its_first_table(
    quality: int, again: tuple[str, dict[str, object]]
) -> None:
    first = Image.open(BytesIO(saved(COFFEE, "jpeg", quality=quality)))
    second = Image.open(BytesIO(saved(first.convert("RGB"), again[0], **again[1])))
    assert comb_step(luma(second)) == pytest.approx(table_step(first.quantization[0]), rel=0.15)


@pytest.mark.parametrize("how", [{"box": (3, 5, 444, 300)}, {"mirror": True}])
def test_the_blocks_are_found_where_they_begin_in_a_cut_or_mirrored_copy(how: dict[str, object]) -> None:
    first = Image.open(BytesIO(saved(COFFEE, "jpeg", quality=50)))
    rgb = first.convert("RGB")
    moved = rgb.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if "mirror" in how else rgb.crop(how["box"])  # type: ignore[arg-type]
    assert comb_step(luma(moved)) == pytest.approx(table_step(first.quantization[0]), rel=0.15)


@pytest.mark.parametrize("make", ["none", "enlarged", "noise", "plain"])
def test_a_picture_that_was_never_compressed_shows_no_step(make: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    pictures = {
        "none": COFFEE,
        "enlarged": COFFEE.resize((600, 410)),
        "noise": noise,
        "plain": Image.new("RGB", (300, 200), "red"),
    }
    assert comb_step(luma(pictures[make])) < 2.5


def test_a_tiny_picture_is_no_error() -> None:
    assert comb_step(np.zeros((3, 5), np.float32)) == comb_step(np.zeros((8, 8), np.float32)) == 1.0


@pytest.mark.skipif(not features.check("webp"), reason="Pillow was built without WebP")
def test_a_lossy_webp_states_a_step_that_falls_with_its_quality() -> None:
    steps = [webp_step(saved(COFFEE, "webp", quality=quality)) for quality in (5, 30, 60, 80, 90, 100)]
    assert steps == sorted(steps, reverse=True) and steps[0] > 20 and steps[-1] == 1.0
    assert webp_step(saved(COFFEE, "webp", lossless=True)) == 1.0
    assert webp_step(saved(COFFEE, "webp", quality=60, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")) == steps[2]  # VP8X first


@pytest.mark.parametrize("length", [0, 11, 20, 30, 34, 60])
def test_a_webp_that_is_cut_off_is_no_error(length: int) -> None:
    assert webp_step(saved(COFFEE, "webp", quality=50)[:length]) >= 1.0


def test_decoding_returns_the_middle_in_its_own_pixels_from_the_corner_of_a_block() -> None:
    large = COFFEE.resize((1500, 1100), Image.Resampling.BICUBIC)
    encoded = saved(large, "jpeg", quality=75)
    found = decode(encoded, max_side_px=1024, middle_px=512)
    whole = np.asarray(Image.open(BytesIO(encoded)))
    assert found.middle is not None and found.pixels.shape == (751, 1024, 3)
    assert np.array_equal(found.middle, whole[288:800, 488:1000])  # (1100 - 512) / 2 and (1500 - 512) / 2, down to eights
    assert found.stated_step == table_step(Image.open(BytesIO(encoded)).quantization[0]) > 6
