"""Altered copies: every kind changes the picture as its name says, the same seed gives the same bytes."""

from collections import Counter

import numpy as np
import pytest
from skimage import data

from curation.alterations import KINDS, Alteration, alter, alterations, altered, spread

PHOTO = data.coffee()[:240, :320]


@pytest.mark.parametrize("held_out", [False, True])
def test_every_alteration_gives_another_picture_of_bytes(held_out: bool) -> None:
    for alteration, pixels in altered(PHOTO, alterations(held_out=held_out), np.random.default_rng(0)):
        assert pixels.dtype == np.uint8, alteration
        assert pixels.ndim == 3 and pixels.shape[2] == 3, alteration
        assert pixels.shape != PHOTO.shape or not np.array_equal(pixels, PHOTO), alteration


def test_the_same_seed_gives_the_same_copies() -> None:
    for alteration in alterations(held_out=False):
        first, second = (alter(PHOTO, alteration, np.random.default_rng(7)) for _ in range(2))
        assert np.array_equal(first, second), alteration


def test_strengths_that_are_held_out_are_not_tuned_on() -> None:
    tuned = {(a.kind, a.strength) for a in alterations(held_out=False)}
    shared = {a.kind for a in alterations(held_out=True) if (a.kind, a.strength) in tuned}
    assert shared == {"mirror"}  # a mirror image has no strength
    assert len(KINDS) >= 12


def test_a_crop_keeps_its_share_of_the_sides() -> None:
    cut = alter(PHOTO, Alteration("crop", "strong", 0.7), np.random.default_rng(1))
    assert cut.shape == (168, 224, 3)


def test_a_mirrored_picture_mirrored_again_is_the_picture_but_for_jpeg() -> None:
    mirrored = alter(PHOTO, Alteration("mirror", "light", 1), np.random.default_rng(0))
    difference = np.abs(mirrored[:, ::-1].astype(int) - PHOTO.astype(int)).mean()
    assert difference < 4  # levels that JPEG at quality 85 costs on this picture


def test_alterations_are_spread_evenly_over_images() -> None:
    choices = alterations(held_out=False)
    counts = Counter(pick for turn in range(9) for pick in spread(choices, 8, turn=turn))
    assert set(counts.values()) == {2}
    assert len(counts) == len(choices) == 36
