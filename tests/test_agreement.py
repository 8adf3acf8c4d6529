"""Local correlation of aligned pictures, against closed forms."""

import numpy as np
import pytest
from skimage import data

from graph.agreement import agree
from graph.alignment import coverage, homogeneous, inverse, whole

ASTRONAUT = np.ascontiguousarray(data.astronaut()[..., 1])
IDENTITY = np.eye(3)


def test_a_picture_agrees_with_itself_and_with_a_lighter_self_everywhere():
    lighter = (ASTRONAUT * 0.7 + 60).astype(np.uint8)
    for other in (ASTRONAUT, lighter):
        found = agree(ASTRONAUT, other, IDENTITY)
        assert (found.share, found.worst_cell, found.good_cells) == pytest.approx((1, 1, 1), abs=1e-3)


def test_noise_agrees_with_nothing():
    noise = np.random.default_rng(0).integers(0, 255, ASTRONAUT.shape).astype(np.uint8)
    assert agree(ASTRONAUT, noise, IDENTITY).share < 0.02


def test_agreement_does_not_depend_on_the_order_of_the_pair():
    smaller = np.ascontiguousarray(ASTRONAUT[40:400:2, 60:460:2])
    there = agree(ASTRONAUT, smaller, homogeneous(np.array([[0.5, 0, -30], [0, 0.5, -20]])))
    back = agree(smaller, ASTRONAUT, homogeneous(np.array([[2.0, 0, 60], [0, 2, 40]])))
    assert (there.share, there.share_a, there.share_b) == pytest.approx((back.share, back.share_b, back.share_a))
    assert there.share > 0.99


def test_what_only_one_picture_adds_leaves_the_share_of_the_other_alone():
    plain = np.full((256, 256), 120, np.uint8)
    plain[40:120, 40:120] = ASTRONAUT[100:180, 200:280]
    added = plain.copy()
    added[150:240, 150:240] = ASTRONAUT[300:390, 100:190]
    found = agree(plain, added, IDENTITY)
    assert found.share_a > 0.95 > 0.6 > found.share_b


def test_only_what_lies_in_the_frames_counts():
    framed = ASTRONAUT.copy()
    framed[:100] = np.random.default_rng(0).integers(0, 255, (100, 512))
    assert agree(ASTRONAUT, framed, IDENTITY).share < 0.9
    assert agree(ASTRONAUT, framed, IDENTITY, frame_b=(0, 110, 512, 512)).share > 0.99


def test_coverage_is_the_share_of_each_frame_in_the_other():
    half = np.array([[1.0, 0, -256], [0, 1, 0], [0, 0, 1]])
    assert coverage((0, 0, 512, 512), (0, 0, 512, 512), half) == pytest.approx((0.5, 0.5))
    np.testing.assert_allclose(half @ inverse(half), IDENTITY)
    assert coverage((0, 0, 512, 512), (0, 0, 256, 128), whole(ASTRONAUT, ASTRONAUT[:128, :256])) == pytest.approx(
        (1, 1), abs=0.01
    )
