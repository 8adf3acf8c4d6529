"""What verification keeps of an image, on the photographs of scikit-image."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from image_rows import image_rows
from PIL import Image
from skimage import data

from curation import schema
from graph.alignment import consensus, fit, match, mirror
from graph.keypoints import Description, describe, unpack


def write(picture: Image.Image, path: Path, **options: int) -> Path:
    picture.save(path, **options)
    return path


def broken(path: Path) -> Path:
    path.write_bytes(b"not a picture")
    return path


def describe_pictures(pictures: list[Image.Image], folder: Path) -> pa.Table:
    return describe(images=image_rows([write(p, folder / f"{i}.png") for i, p in enumerate(pictures)]))


def descriptions(table: pa.Table) -> list[Description]:
    return [unpack(row) for row in table.to_pylist()]


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return Image.fromarray(data.astronaut())


def test_a_photograph_has_keypoints_inside_its_picture(astronaut, tmp_path):
    table = describe_pictures([astronaut], tmp_path)
    assert table.schema.equals(schema.KEYPOINTS)
    (found,) = descriptions(table)
    assert found.picture.shape == (384, 384)
    assert 100 < table["count"][0].as_py() == len(found.points) <= 250
    assert (found.points[:, :2] >= 0).all() and (found.points[:, :2] < 384).all()
    lengths = np.linalg.norm(found.descriptors.astype(float), axis=1)
    np.testing.assert_allclose(lengths, 255, rtol=0.03)  # RootSIFT vectors are unit; one byte holds 1/255 of that
    assert table["scale"][0].as_py() == pytest.approx(384 / 512)


def test_a_tiny_picture_is_kept_whole_without_keypoints(astronaut, tmp_path):
    tiny = astronaut.resize((32, 32))
    (found,) = descriptions(describe_pictures([tiny], tmp_path))
    assert len(found.points) == 0
    np.testing.assert_array_equal(found.picture.shape, (32, 32))


def test_a_failed_image_is_a_row_with_its_error(astronaut, tmp_path):
    table = describe(images=image_rows([broken(tmp_path / "gone.png"), write(astronaut, tmp_path / "here.png")]))
    assert table["error"].to_pylist() == ["not_an_image", None]
    assert table["count"][0].as_py() is None and table["picture"][0].as_py() is None


def test_the_pixel_hash_is_that_of_the_pixels_not_the_file(astronaut, tmp_path):
    other = astronaut.copy()
    other.putpixel((100, 100), (0, 0, 0))
    small, other_small = astronaut.crop((50, 50, 250, 250)), other.crop((50, 50, 250, 250))
    paths = [
        write(small, tmp_path / "a.png"),
        write(small, tmp_path / "a.bmp"),
        write(other_small, tmp_path / "b.png"),
    ]
    hashes = describe(images=image_rows(paths))["pixel_hash"].to_pylist()
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_same_image_is_described_the_same_twice(astronaut, tmp_path):
    images = image_rows([write(astronaut, tmp_path / "a.jpg", quality=80)])
    assert describe(images=images).equals(describe(images=images))


def test_mirrored_descriptors_match_those_of_the_mirrored_picture(astronaut, tmp_path):
    flipped = astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    upright, mirrored = descriptions(describe_pictures([astronaut, flipped], tmp_path))
    predicted = mirror(upright)
    assert np.abs(predicted.picture.astype(int) - mirrored.picture).mean() < 1.0
    assert len(match(upright, mirrored)) < 40 < 120 < len(match(predicted, mirrored))
    fitted = fit(predicted, mirrored, consensus(predicted, mirrored, match(predicted, mirrored)))
    assert fitted is not None
    np.testing.assert_allclose(fitted.matrix, [[1, 0, 0], [0, 1, 0]], atol=1.0)  # a pixel of shift, a hundredth of turn
    assert np.abs(fitted.matrix[:, :2] - np.eye(2)).max() < 0.01


def test_a_known_rotation_and_scale_are_recovered(astronaut, tmp_path):
    turned = astronaut.rotate(20, Image.Resampling.BICUBIC, expand=False)
    upright, other = descriptions(describe_pictures([astronaut, turned], tmp_path))
    fitted = fit(upright, other, consensus(upright, other, match(upright, other)))
    assert fitted is not None and fitted.inliers > 50
    angle = np.rad2deg(np.arctan2(fitted.matrix[1, 0], fitted.matrix[0, 0]))
    assert angle == pytest.approx(-20, abs=0.5)  # y points down
    assert np.sqrt(np.linalg.det(fitted.matrix[:, :2])) == pytest.approx(1, abs=0.01)
