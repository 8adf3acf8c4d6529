"""Edits of whole photographs: known truth, exact inverses, one look per state."""

import numpy as np
import pytest
from skimage import data

from captioning.colours import colour_name
from captioning.instructions import in_order, instruction, say, task_of
from captioning.picture_words import PICTURE_WORDS
from curation.edits import Operation, between, edit
from curation.pairs import Version, generator_of, pairs_of, picture_edits, versions
from curation.picture_edits import ALL_KINDS, propose_picture
from curation.scene import Scene, render
from curation.text_edits import PALETTE, Desk
from curation.warps import CROPS, warped

PHOTO = np.ascontiguousarray(data.astronaut()[:384, :400])
SCENE = Scene("astronaut", PHOTO, {}, row=0)


def desk(name: str) -> Desk:
    return Desk(SCENE, {}, generator_of("test", name))


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_kind_is_proposed_changes_the_picture_and_is_named_both_ways(kind: str) -> None:
    change = edit([propose_picture(kind, desk(kind))])
    assert not np.array_equal(render(SCENE, change), PHOTO)
    for one in (change, between(change, ())):
        said = say(one, size_px=(400, 384), salt="x")
        assert len(said) == 1 and instruction(said, "en").endswith(".") and instruction(said, "zh").endswith("。")
    names = [say(one, size_px=(400, 384), salt="x")[0].name for one in (change, between(change, ()))]
    assert names[0] != names[1] or kind in ("turn", "mirror")


def test_geometry_is_numpys_flip_and_turn_and_slices() -> None:
    assert np.array_equal(warped(PHOTO, {"mirror": "horizontal"}), PHOTO[:, ::-1])
    assert np.array_equal(warped(PHOTO, {"turn": 90}), np.rot90(PHOTO, 3))
    assert np.array_equal(warped(PHOTO, {"crop": "left"}), PHOTO[:, :260])
    assert all(warped(PHOTO, {"crop": name}).shape < PHOTO.shape for name in CROPS)


def test_a_tilt_leaves_no_empty_corner() -> None:
    white = np.full((300, 400, 3), 255, np.uint8)
    canvas = np.zeros((900, 1200, 3), np.uint8)
    canvas[300:600, 400:800] = white
    for degrees in (-8.0, 5.0):
        tilted = warped(white, {"tilt": degrees})
        assert tilted.min() == 255 and tilted.shape[0] < 300


def test_n_versions_and_the_base_give_n_times_n_plus_one_pairs_and_masks_that_are_exact() -> None:
    kinds = ("sticker", "hole", "brightness", "mirror")
    kept, refused = versions(SCENE, picture_edits(desk("all"), kinds, count=4, max_operations=2), read=None)
    assert not refused and len(kept) == 5
    pairs = pairs_of(kept)
    assert len(pairs) == 4 * 5
    for pair in pairs:
        source, target = kept[pair.source].pixels, kept[pair.target].pixels
        if pair.mask is not None:
            assert ((source != target).any(axis=2) == (pair.mask > 0)).all()
    assert any(pair.mask is not None for pair in pairs) and any(pair.mask is None for pair in pairs)


def test_an_instruction_names_exactly_the_operations_that_differ() -> None:
    star = Operation("sticker:star", None, {"shape": "star", "colour": "#e02020", "box": [10, 10, 90, 90]}, (10, 10, 90, 90))
    dark, blurred = Operation("brightness", None, 0.6), Operation("blur", None, 0.01)
    first, second = edit([star, dark]), edit([blurred, dark])
    said = say(between(first, second), size_px=(400, 384), salt="x")
    assert [one.name for one in said] == ["erase", "blur"]  # both are dark: light is not spoken of
    back = say(between(second, first), size_px=(400, 384), salt="x")
    assert sorted(one.name for one in back) == ["deblur", "paste"]
    assert "red star" in instruction(back, "en") and "红色的星星" in instruction(back, "zh")
    assert task_of(said) == "removal" and task_of(back) == "addition"


def test_places_are_told_in_the_frame_in_which_they_are_true() -> None:
    star = edit([Operation("sticker:star", None, {"shape": "star", "colour": "#e02020", "box": [10, 10, 90, 90]})])
    turned = edit([Operation("turn", None, 180)])
    assert [one.subject for one in in_order(between(turned, star))] == ["turn", "sticker:star"]  # upright first, then "top left"
    assert [one.subject for one in in_order(between(star, turned))] == ["sticker:star", "turn"]


def test_one_state_has_one_look_whatever_the_order_of_operations() -> None:
    operations = [Operation("saturation", None, 0.4), Operation("brightness", None, 1.4), Operation("grain", None, 14.0)]
    assert np.array_equal(render(SCENE, edit(operations)), render(SCENE, edit(operations[::-1])))


def test_a_version_that_equals_another_is_refused() -> None:
    same = [edit([Operation("brightness", None, 0.6)])] * 2
    kept, refused = versions(SCENE, same, read=None)
    assert [one.error.code for one in refused] == ["no_change"] and len(kept) == 2


def test_every_wording_is_in_both_languages_and_colours_that_edits_set_have_their_own_names() -> None:
    for name, task, words in PICTURE_WORDS.values():
        assert name and task and all(english.isascii() and not chinese.isascii() for english, chinese in words)
    names = [colour_name(colour).en for colour in PALETTE]
    assert len(set(names)) == len(PALETTE), names


def test_pairs_of_one_base_alone_are_none() -> None:
    assert pairs_of([Version((), PHOTO, [])]) == []
