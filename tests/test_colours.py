"""Colour names: the CSS table is complete, and everyday names are what a person would say."""

import colorsys
import re

import pytest
from PIL import ImageColor

from captioning.colours import GREYS, colour_name

CSS = {name: code for name, code in ImageColor.colormap.items() if "grey" not in name}


def test_every_css_colour_is_called_by_its_own_name() -> None:
    twins = {"aqua": "cyan", "fuchsia": "magenta"}
    for name, code in CSS.items():
        found = colour_name(code).css
        assert twins.get(found, found) == twins.get(name, name)


def test_every_name_has_chinese() -> None:
    for code in CSS.values():
        name = colour_name(code)
        assert re.search("[\u4e00-\u9fff]", name.css_zh) and re.fullmatch("[\u4e00-\u9fff]+", name.zh)


@pytest.mark.parametrize(
    ("code", "english", "chinese"),
    [
        ("#000000", "black", "黑色"),
        ("#ffffff", "white", "白色"),
        ("#e12d2d", "red", "红色"),
        ("#37b946", "green", "绿色"),
        ("#3c5ae6", "blue", "蓝色"),
        ("#ebdc37", "yellow", "黄色"),
        ("#9b41c3", "purple", "紫色"),
        ("#808080", "grey", "灰色"),
        ("#3b2a1e", "dark brown", "深棕色"),
        ("#2d6a4f", "dark green", "深绿色"),
        ("#fdf6e3", "cream", "奶油色"),
    ],
)
def test_plain_colours_have_plain_names(code: str, english: str, chinese: str) -> None:
    assert (colour_name(code).en, colour_name(code).zh) == (english, chinese)


def test_a_grey_picture_is_described_in_greys() -> None:
    for level in range(0, 256, 5):
        assert colour_name(f"#{level:02x}{level:02x}{level:02x}", grayscale=True).en in GREYS


def test_saturated_hues_are_never_called_grey() -> None:
    for step in range(72):
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(step / 72, 0.9, 0.8))
        assert colour_name(f"#{red:02x}{green:02x}{blue:02x}").en not in GREYS


@pytest.mark.parametrize("code", ["red", "#fff", "#gggggg", "#1234567", ""])
def test_other_notations_are_refused(code: str) -> None:
    with pytest.raises(ValueError, match="no colour of the form"):
        colour_name(code)
