"""Exact copies are found completely, and by what they share."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from image_rows import image_rows

from curation.metrics import profile
from graph.exact import exact


def tables(ids: list[str], hashes: list[str | None], errors: list[str | None] | None = None) -> dict[str, pa.Table]:
    error = pa.array(errors or [None] * len(ids), pa.string())
    return {
        "images": pa.table({"id": ids, "error": error}),
        "metrics": pa.table({"id": ids, "pixel_hash": pa.array(hashes, pa.string())}),
    }


def test_same_bytes_and_same_pixels_are_told_apart() -> None:
    found = exact(**tables(["a", "b", "a", "c", "d"], ["x", "y", "x", "x", None]))
    assert found["representative"].to_pylist() == [0, 1, 0, 0, 4]
    assert found["how"].to_pylist() == [None, None, "same_bytes", "same_pixels", None]


def test_failed_images_equal_nothing() -> None:
    found = exact(**tables(["a", "a", "a"], [None, None, None], [None, "truncated", None]))
    assert found["representative"].to_pylist() == [0, 1, 0]


def test_bytes_join_what_pixels_could_not() -> None:
    found = exact(**tables(["a", "a", "b"], ["x", None, "x"]))
    assert found["representative"].to_pylist() == [0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=30), st.integers(1, 4))
def test_all_copies_share_a_representative_and_no_others_do(names: list[int], pictures: int) -> None:
    found = exact(**tables([str(name) for name in names], [str(name % pictures) for name in names]))
    representative = found["representative"].to_numpy()
    expected = np.array([min(j for j, other in enumerate(names) if other % pictures == name % pictures) for name in names], int)
    assert np.array_equal(representative, expected)


def test_a_png_and_a_webp_of_one_picture_have_the_same_pixel_hash(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    cv2.imwrite(str(tmp_path / "b.webp"), pixels, [cv2.IMWRITE_WEBP_QUALITY, 101])  # lossless
    cv2.imwrite(str(tmp_path / "c.png"), cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST))
    images = image_rows([tmp_path / name for name in ("a.png", "b.webp", "c.png")])
    first, second, enlarged = profile(images=images)["pixel_hash"].to_pylist()
    assert first == second != enlarged
