"""Drawn matches: for a known map between two pictures every line joins a point with its image under that map."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_rows import image_rows, save
from skimage import data

from graph.drawing import matched, side_by_side
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
    lines = matched(*descriptions(tmp_path, photo, alter(photo)), max_lines=40).lines
    assert len(lines) > 10
    away = np.abs(mapped(lines[:, :2]) - lines[:, 2:])
    assert np.quantile(away, 0.9) < 0.02  # the threshold of an inlier is 3 / 256 of the long side


def test_different_pictures_have_next_to_no_lines(tmp_path: Path) -> None:
    assert len(matched(*descriptions(tmp_path, data.astronaut(), data.coffee())).lines) < 8


def test_a_picture_without_keypoints_has_no_lines(tmp_path: Path) -> None:
    grey = np.full((128, 128, 3), 90, np.uint8)
    found = matched(*descriptions(tmp_path, data.astronaut(), grey))
    assert found.lines.shape == (0, 4)
    assert not found.differs.any()


@pytest.mark.parametrize("mirrored", [False, True])
def test_what_was_painted_over_is_where_the_pictures_differ(tmp_path: Path, mirrored: bool) -> None:
    photo, painted = data.astronaut(), data.astronaut()
    painted[60:160, 300:420] = data.coffee()[100:200, 200:320]
    found = matched(*descriptions(tmp_path, photo, painted[:, ::-1] if mirrored else painted))
    scale = found.differs.shape[0] / 512
    top, bottom, left, right = (round(side * scale) for side in (60, 160, 300, 420))
    differs = found.differs[:, ::-1] if mirrored else found.differs
    inside = differs[top:bottom, left:right]
    assert inside.mean() > 0.5
    near = differs[top - 8 : bottom + 8, left - 8 : right + 8]  # windows of 11 px reach over the edge
    assert differs.sum() - near.sum() < 0.002 * differs.size


def test_a_copy_differs_nowhere(tmp_path: Path) -> None:
    both = descriptions(tmp_path, data.astronaut(), np.ascontiguousarray(data.astronaut()[::2, ::2]))
    assert matched(*both).differs.mean() < 0.02


def test_lines_are_few_and_the_same_every_time(tmp_path: Path) -> None:
    both = descriptions(tmp_path, data.astronaut(), data.astronaut())
    assert len(matched(*both, max_lines=7).lines) == 7
    assert np.array_equal(matched(*both).lines, matched(*both).lines)


def test_the_drawing_holds_both_pictures_and_the_lines(tmp_path: Path) -> None:
    photo = data.astronaut()
    plain = side_by_side(photo, photo[:256], np.empty((0, 4)), height_px=200, gap_px=10)
    assert plain.shape == (200, 200 + 10 + 400, 3)
    drawn = side_by_side(photo, photo[:256], np.array([[0.5, 0.5, 0.5, 0.5]]), height_px=200, gap_px=10)
    changed = np.flatnonzero((drawn != plain).any((0, 2)))
    assert (changed.min(), changed.max()) == (pytest.approx(100, abs=6), pytest.approx(410, abs=6))


def test_what_differs_is_tinted_on_the_right_only() -> None:
    grey = np.full((100, 100, 3), 128, np.uint8)
    where = np.zeros((50, 50), bool)
    where[:25] = True
    page = side_by_side(grey, grey, np.empty((0, 4)), differs=where, height_px=100, gap_px=0)
    assert (page[:, :100] == 128).all()
    assert page[10, 150, 0] > 160 > 100 > page[10, 150, 1]
    assert (page[90, 150] == 128).all()


def test_a_panorama_does_not_stretch_the_page() -> None:
    assert side_by_side(np.zeros((10, 900, 3), np.uint8), np.zeros((10, 10, 3), np.uint8), np.empty((0, 4))).shape[1] < 1000
