"""Structure and smoothness per cell."""

import cv2
import numpy as np
import pytest
from skimage import data

from graph.content import content

ASTRONAUT = np.ascontiguousarray(data.astronaut()[..., 1])


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def test_all_structure_lies_inside_the_whole_and_none_outside():
    found = content(ASTRONAUT, (0, 0, 512, 512))
    assert found.inside(box(0, 0, 512, 512)).structure == pytest.approx(1)
    assert found.inside(box(600, 0, 700, 512)).structure == 0


def test_halves_share_the_structure_and_mirroring_exchanges_them():
    found = content(ASTRONAUT, (0, 0, 512, 512))
    left, right = (found.inside(box(x, 0, x + 255, 511)).structure for x in (0, 256))
    assert left + right == pytest.approx(1, abs=0.05)
    assert found.inside(box(0, 0, 255, 511), mirrored=True).structure == pytest.approx(
        right, abs=0.06
    )  # one of 48 columns of cells


def test_a_blurred_border_adds_no_structure():
    wide = cv2.GaussianBlur(cv2.resize(ASTRONAUT, (900, 900)), (0, 0), 25)
    wide[194:706, 194:706] = ASTRONAUT
    assert content(wide, (0, 0, 900, 900)).inside(box(194, 194, 706, 706)).structure > 0.95


def test_a_page_is_plain_and_a_photograph_is_not():
    page = np.full((400, 300), 255, np.uint8)
    cv2.putText(page, "plain paper", (20, 200), cv2.FONT_HERSHEY_SIMPLEX, 1, 0, 2)
    drawn, photograph = content(page, (0, 0, 300, 400)), content(ASTRONAUT, (0, 0, 512, 512))
    assert min(drawn.plain, drawn.smooth) > 0.8 > 0.5 > max(photograph.plain, photograph.smooth)
