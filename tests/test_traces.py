"""Edits are told by what they leave: each trace on a real photograph before and after."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from skimage import data

from curation.spectrum import detail, grain, rings
from curation.traces import clipped, layout, padding, tonal_gaps

PHOTOGRAPHS = [Image.fromarray(data.coffee()).crop((0, 0, 512, 384)), Image.fromarray(data.astronaut())]
Edit = Callable[[Image.Image], Image.Image]


def gaps(image: Image.Image) -> float:
    rgb = image.convert("RGB")
    return tonal_gaps(np.asarray(rgb), np.asarray(rgb.convert("L")))


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_a_curve_or_a_palette_leaves_gaps_among_the_levels(photograph: Image.Image) -> None:
    edits: list[Edit] = [
        lambda image: ImageEnhance.Contrast(image).enhance(1.4),
        lambda image: image.point([round(255 * (level / 255) ** 0.7) for level in range(256)] * 3),
        lambda image: image.quantize(128),
    ]
    assert gaps(photograph) < 0.2
    assert all(gaps(edit(photograph)) > 0.2 for edit in edits)


def test_a_graphic_has_few_levels_and_no_gaps() -> None:
    drawn = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(drawn).ellipse((40, 40, 200, 220), "#3070b0")
    assert gaps(drawn) == gaps(Image.new("L", (1, 1))) == 0.0


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_frames_bars_and_tilted_corners_are_padding_and_the_photograph_is_not(photograph: Image.Image) -> None:
    def share(image: Image.Image) -> float:
        return padding(np.asarray(image))

    plain = share(photograph)
    assert plain < 0.05
    assert share(ImageOps.expand(photograph, 40, "#204080")) == pytest.approx(
        1 - photograph.width * photograph.height / ((photograph.width + 80) * (photograph.height + 80)), abs=0.05
    )
    assert share(photograph.rotate(6, Image.Resampling.BICUBIC, expand=True, fillcolor="black")) > plain + 0.1
    assert share(ImageOps.expand(photograph, (0, 60, 0, 0), "white")) > plain + 0.08


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_white_letters_and_sharpening_clip_levels(photograph: Image.Image) -> None:
    written = photograph.copy()
    ImageDraw.Draw(written).rectangle((50, 50, 250, 120), "white")
    sharp = photograph.filter(ImageFilter.UnsharpMask(1.5, 250, 0))
    before = clipped(np.asarray(photograph))
    assert all(clipped(np.asarray(image)) > before + 0.015 for image in (written, sharp))


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_noise_and_sharpening_raise_the_grain_and_blur_lowers_the_detail(photograph: Image.Image) -> None:
    grey = photograph.convert("L")
    noisy = np.asarray(grey, np.float64) + np.random.default_rng(0).normal(0, 12, (grey.height, grey.width))
    sharp = grey.filter(ImageFilter.UnsharpMask(1.5, 250, 0))
    blurred = grey.filter(ImageFilter.GaussianBlur(1.5))
    before = rings(np.asarray(grey))
    assert all(grain(rings(np.clip(image, 0, 255).astype(np.uint8))) > grain(before) + 3 for image in (noisy, np.asarray(sharp)))
    assert detail(rings(np.asarray(blurred))) < 0.8 * detail(before)
    assert detail(rings(np.clip(noisy, 0, 255).astype(np.uint8))) < 1.25 * detail(before)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_an_enlargement_adds_pixels_and_hardly_any_detail(photograph: Image.Image) -> None:
    grey = photograph.convert("L").crop((50, 50, 306, 306))
    share = [detail(rings(np.asarray(grey.resize((side, side), Image.Resampling.BICUBIC)))) for side in (256, 384, 512)]
    assert share[0] / share[1] > 1.23 and share[0] / share[2] > 1.5  # 1.23: the tolerance of graph/keeper.py
    assert share[2] * 2 < 1.3 * share[0]


def test_a_layout_is_the_mean_colour_of_eight_by_eight_cells() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cells = rgb.reshape(8, 8, 8, 8, 3).mean((1, 3))
    assert np.abs(np.frombuffer(layout(rgb), np.uint8).reshape(8, 8, 3) - cells).max() <= 1
