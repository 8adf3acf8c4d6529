import io

import cv2
import numpy as np
import pytest
from image_rows import image_rows, save
from PIL import Image, ImageDraw
from skimage import data

from curation.hashing import hamming
from curation.metrics import METRICS, METRICS_SCHEMA, Picture, detail, measure, profile
from curation.palette import oklab, to_srgb_bytes

ASTRONAUT = data.astronaut()
RNG = np.random.default_rng(0)


def picture(pixels, size_bytes=1000):
    rgb = np.ascontiguousarray(pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2))
    return Picture(rgb, rgb.shape[1], rgb.shape[0], size_bytes)


def metric(name, pixels, **options):
    return METRICS[name].function(picture(pixels, **options))


def shape_on_white(side=64, colour=(220, 30, 30)):
    image = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).rectangle((side // 4, side // 4, side // 2, side // 2), fill=colour)
    return np.asarray(image)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


def test_profile_gives_every_metric_for_every_readable_row(folder):
    broken = folder / "broken.jpg"
    broken.write_bytes(b"no picture")
    paths = [save(folder, "a.png", ASTRONAUT), broken, save(folder, "b.jpg", data.coffee(), quality=90)]
    table = profile(images=image_rows(paths))
    assert table.schema.equals(METRICS_SCHEMA, check_metadata=True)
    rows = table.to_pylist()
    assert rows[1]["error"] == "not_an_image"
    assert all(rows[1][name] is None for name in METRICS)
    assert all(rows[row][name] is not None for name in METRICS for row in (0, 2))
    assert (rows[2]["width_px"], rows[2]["height_px"], rows[2]["size_bytes"]) == (600, 400, paths[2].stat().st_size)


def test_a_vanished_file_is_a_row_with_an_error(folder):
    path = save(folder, "gone.png", data.coffee())
    images = image_rows([path])
    path.unlink()
    assert profile(images=images)["error"].to_pylist() == ["ValueError: cannot be decoded"]


def test_large_photographs_keep_their_own_size(folder):
    pixels = cv2.resize(data.coffee(), (2400, 1600))
    row = profile(images=image_rows([save(folder, "large.jpg", pixels, quality=80)])).to_pylist()[0]
    assert (row["width_px"], row["height_px"], row["aspect"]) == (2400, 1600, 1.5)


def test_border_widths_are_exact_on_lossless_frames():
    framed = np.pad(ASTRONAUT, ((10, 40), (25, 5), (0, 0)), constant_values=255)
    found = picture(framed).borders_px
    assert found == {"left": 25, "right": 5, "top": 10, "bottom": 40}


def test_border_widths_survive_jpeg_within_two_pixels():
    framed = np.pad(ASTRONAUT, ((64, 64), (0, 0), (0, 0)), constant_values=0)
    encoded = io.BytesIO()
    Image.fromarray(framed).save(encoded, "jpeg", quality=50)
    found = picture(np.asarray(Image.open(encoded))).borders_px
    assert found["left"] == found["right"] == 0
    assert found["top"] == pytest.approx(64, abs=2) and found["bottom"] == pytest.approx(64, abs=2)


def test_border_widths_are_in_pixels_of_the_image_not_of_the_analysed_picture():
    framed = np.pad(ASTRONAUT, ((64, 64), (64, 64), (0, 0)), constant_values=0)
    assert Picture(framed, 1280, 1280, 1).borders_px == {"left": 128, "right": 128, "top": 128, "bottom": 128}


def test_photographs_have_no_border_and_a_uniform_picture_is_all_top_border():
    assert set(picture(data.coffee()).borders_px.values()) == {0}
    assert picture(np.full((40, 30, 3), 7, np.uint8)).borders_px == {"left": 0, "right": 0, "top": 40, "bottom": 0}


def test_border_variance_is_that_of_the_frame_alone():
    framed = np.pad(ASTRONAUT, ((40, 40), (40, 40), (0, 0)), constant_values=200)
    assert metric("border_variance", framed) == 0
    edge = np.zeros((100, 100), np.uint8)
    edge[:, 50:] = 100
    assert metric("border_variance", edge) == pytest.approx(2500)  # half 0, half 100


def test_entropy_of_known_histograms():
    assert metric("entropy", np.full((16, 16), 9, np.uint8)) == 0
    assert metric("entropy", np.arange(256, dtype=np.uint8).reshape(16, 16)) == pytest.approx(8)


def test_sharpness_falls_with_blur_and_with_enlargement():
    blurred = cv2.GaussianBlur(ASTRONAUT, (0, 0), 3)
    enlarged_thumbnail = cv2.resize(ASTRONAUT, (48, 48), interpolation=cv2.INTER_AREA)
    assert metric("sharpness", ASTRONAUT) > 20 * metric("sharpness", blurred)
    assert metric("sharpness", ASTRONAUT) > 20 * metric("sharpness", enlarged_thumbnail)


def test_sharpness_of_one_picture_at_two_sizes_compares():
    twice = cv2.resize(ASTRONAUT, (1024, 1024), interpolation=cv2.INTER_CUBIC)
    # interpolating up and averaging down again is a slight blur
    assert metric("sharpness", twice) == pytest.approx(metric("sharpness", ASTRONAUT), rel=0.4)


@pytest.mark.parametrize("sigma", [2, 5, 10, 20])
def test_noise_recovers_the_sigma_of_added_noise(sigma):
    smooth = np.broadcast_to(np.linspace(60, 190, 400), (300, 400))
    noisy = np.rint(smooth + RNG.normal(0, sigma, smooth.shape)).clip(0, 255).astype(np.uint8)
    assert metric("noise", noisy) == pytest.approx(sigma, rel=0.06)


def test_noise_ignores_edges_and_is_defined_for_the_smallest_pictures():
    assert metric("noise", shape_on_white()) == 0
    assert metric("noise", np.zeros((2, 2, 3), np.uint8)) == 0


def test_bits_per_pixel_orders_flat_text_and_texture():
    flat, text, texture = shape_on_white(), data.page(), data.grass()
    values = [metric("bits_per_pixel", pixels) for pixels in (flat, text, texture)]
    assert values == sorted(values) and values[2] > 5 * values[0]


def test_compression_ratio_is_file_bytes_over_raw_bytes():
    assert metric("compression_ratio", np.zeros((10, 20, 3), np.uint8), size_bytes=300) == 0.5


def test_grey_flag_survives_jpeg_and_sees_a_small_coloured_spot():
    encoded = io.BytesIO()
    Image.fromarray(np.stack([data.camera()] * 3, axis=2)).save(encoded, "jpeg", quality=60)
    assert metric("is_grayscale", np.asarray(Image.open(encoded)))
    spotted = np.stack([data.coins()] * 3, axis=2)
    spotted[100:120, 100:120] = (255, 0, 0)
    assert not metric("is_grayscale", spotted)
    assert not metric("is_grayscale", ASTRONAUT)


def test_flatness_tells_graphics_from_photographs():
    photographs = [ASTRONAUT, data.coffee(), data.chelsea(), data.stereo_motorcycle()[0]]
    assert all(metric("flatness", pixels) < 0.5 for pixels in photographs)
    assert metric("flatness", shape_on_white()) == 1


def test_clipped_shares_brightness_and_contrast_of_a_known_picture():
    grey = np.zeros((10, 10), np.uint8)
    grey[:, 5:] = 255
    found = measure(picture(grey))
    assert (found["clipped_dark"], found["clipped_bright"]) == (0.5, 0.5)
    assert (found["brightness"], found["contrast"]) == pytest.approx((0.5, 0.5))


def test_a_tint_raises_the_colour_cast():
    neutral = np.stack([data.camera()] * 3, axis=2)
    tinted = (neutral * np.array([1.0, 0.8, 0.6])).astype(np.uint8)
    assert metric("colour_cast", neutral) < 0.002
    assert metric("colour_cast", tinted) > 0.04


def test_colourfulness_and_saturation_are_zero_for_grey_and_one_for_pure_red():
    grey, red = np.full((8, 8, 3), 90, np.uint8), np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert (metric("colourfulness", grey), metric("saturation", grey)) == (0, 0)
    assert metric("saturation", red) == 1
    assert metric("colourfulness", red) == pytest.approx(0.3 * np.hypot(255, 127.5))


def test_dominant_colours_of_a_flag_are_its_three_colours():
    flag = np.zeros((60, 90, 3), np.uint8)
    flag[:, :30], flag[:, 30:60], flag[:, 60:] = (0, 85, 164), (255, 255, 255), (239, 65, 53)
    found = metric("dominant_colours", flag)
    assert {colour["hex"] for colour in found} == {"#0055a4", "#ffffff", "#ef4135"}
    assert all(colour["share"] == pytest.approx(1 / 3, abs=0.03) for colour in found)


def test_dominant_colours_begin_with_the_largest_and_do_not_change_between_calls():
    first, second = metric("dominant_colours", ASTRONAUT), metric("dominant_colours", ASTRONAUT)
    assert first == second and 3 <= len(first) <= 6
    shares = [colour["share"] for colour in first]
    assert shares == sorted(shares, reverse=True) and 0.9 < sum(shares) <= 1.0001


def test_oklab_of_white_and_red_are_ottossons():
    found = oklab(np.array([[255, 255, 255], [255, 0, 0]], np.uint8))
    np.testing.assert_allclose(found, [[1, 0, 0], [0.628, 0.225, 0.126]], atol=1e-3)


def test_oklab_round_trip_keeps_every_byte():
    colours = RNG.integers(0, 256, (2000, 3), dtype=np.uint8)
    difference = to_srgb_bytes(oklab(colours)).astype(int) - colours
    assert np.abs(difference).max() <= 1  # float32


def test_a_mirrored_copy_has_the_predicted_pdq():
    original, mirrored = measure(picture(ASTRONAUT)), measure(picture(ASTRONAUT[:, ::-1]))
    assert min(hamming(mirrored["pdq"], turned) for turned in original["pdq_dihedral"]) <= 10
    assert original["pdq_dihedral"][0] == original["pdq"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3), (16, 320)])
def test_every_metric_is_finite_for_extreme_shapes(shape):
    found = measure(picture(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)))
    assert all(np.isfinite(value) for value in found.values() if isinstance(value, float))


def test_an_enlarged_copy_has_no_more_detail_than_its_original() -> None:
    scene = np.random.default_rng(3).standard_normal((400, 400)).astype(np.float32)
    spectrum = np.fft.fft2(scene) / np.maximum(1, np.hypot(np.fft.fftfreq(400, 1 / 400)[:, None], np.fft.fftfreq(400, 1 / 400)))
    field = np.fft.ifft2(spectrum).real  # amplitude 1/f, as natural scenes have it
    grey = np.clip(127 + 40 * field / field.std(), 0, 255).astype(np.uint8)
    original = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    shares = [
        detail(Picture(pixels, pixels.shape[1], pixels.shape[0], 1))
        for pixels in (original, *(cv2.resize(original, None, fx=2, fy=2, interpolation=how) for how in (1, 2, 4)))
    ]
    assert shares[0] > 0.7
    assert all(0.35 < share < 0.6 for share in shares[1:])


def test_a_plain_picture_has_no_detail() -> None:
    assert detail(Picture(np.full((64, 64, 3), 90, np.uint8), 64, 64, 1)) == 0.0
