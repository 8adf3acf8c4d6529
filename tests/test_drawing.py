"""Drawn matches: for a known map between two pictures every line joins a point with its image under that map."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_rows import image_rows, save
from skimage import data

from graph.drawing import matched_lines, side_by_side
from graph.keypoints import Description, describe, unpack

Points = np.ndarray

MAPS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[Points], Points]]] = {
    "same": (lambda p: p, lambda xy: xy),
    "mirrored": (lambda p: p[:, ::-1], lambda xy: np.stack([1 - xy[:, 0], xy[:, 1]], 1)),
    "turned": (np.rot90, lambda xy: np.stack([xy[:, 1], 1 - xy[:, 0]], 1)),
    "right half": (lambda p: p[:, p.shape[1] // 2 :], lambda xy: np.stack([2 * xy[:, 0] - 1, xy[:, 1]], 1)),
}
"""Alterations with the map of a point, both as shares of width and height."""


def descriptions(folder: Path, *pictures: np.ndarray) -> list[Description]:
    paths = [save(folder, f"{i}.png", np.ascontiguousarray(picture)) for i, picture in enumerate(pictures)]
    return [unpack(row) for row in describe(images=image_rows(paths)).to_pylist()]


@pytest.mark.parametrize("name", MAPS)
def test_lines_join_each_point_with_its_image(tmp_path: Path, name: str) -> None:
    alter, mapped = MAPS[name]
    photo = data.astronaut()
    lines = matched_lines(*descriptions(tmp_path, photo, alter(photo)), max_lines=40)
    assert len(lines) > 10
    away = np.abs(mapped(lines[:, :2]) - lines[:, 2:])
    assert np.quantile(away, 0.9) < 0.02  # the threshold of an inlier is 3 / 256 of the long side


def test_different_pictures_have_next_to_no_lines(tmp_path: Path) -> None:
    assert len(matched_lines(*descriptions(tmp_path, data.astronaut(), data.coffee()))) < 8


def test_a_picture_without_keypoints_has_no_lines(tmp_path: Path) -> None:
    grey = np.full((128, 128, 3), 90, np.uint8)
    lines = matched_lines(*descriptions(tmp_path, data.astronaut(), grey))
    assert lines.shape == (0, 4)


def test_lines_are_few_and_the_same_every_time(tmp_path: Path) -> None:
    both = descriptions(tmp_path, data.astronaut(), data.astronaut())
    assert len(matched_lines(*both, max_lines=7)) == 7
    assert np.array_equal(matched_lines(*both), matched_lines(*both))


def test_the_drawing_holds_both_pictures_and_the_lines(tmp_path: Path) -> None:
    photo = data.astronaut()
    plain = side_by_side(photo, photo[:256], np.empty((0, 4)), height_px=200, gap_px=10)
    assert plain.shape == (200, 200 + 10 + 400, 3)
    drawn = side_by_side(photo, photo[:256], np.array([[0.5, 0.5, 0.5, 0.5]]), height_px=200, gap_px=10)
    changed = np.flatnonzero((drawn != plain).any((0, 2)))
    assert (changed.min(), changed.max()) == (pytest.approx(100, abs=6), pytest.approx(410, abs=6))


def test_a_panorama_does_not_stretch_the_page() -> None:
    assert side_by_side(np.zeros((10, 900, 3), np.uint8), np.zeros((10, 10, 3), np.uint8), np.empty((0, 4))).shape[1] < 1000
