"""What changes of a whole picture are called, in English and Chinese: light, colour, sharpness, geometry, frame.

A subject with its values before and after enters; names, tasks and wordings leave.
"""

from typing import Any

from curation.grading import IDENTITY

Words = list[tuple[str, str]]
"""Wordings of one change: English and Chinese."""

PICTURE_WORDS: dict[str, tuple[str, str, Words]] = {
    "brightness+": (
        "brighten",
        "environment",
        [("make the picture brighter", "把画面调亮"), ("brighten the scene", "提高画面亮度")],
    ),
    "brightness-": ("darken", "environment", [("make the picture darker", "把画面调暗"), ("darken the scene", "降低画面亮度")]),
    "warmth+": (
        "warm",
        "environment",
        [("give the light a warmer tone", "让光线更暖"), ("make the colours warmer", "把色调调暖")],
    ),
    "warmth-": (
        "cool",
        "environment",
        [("give the light a cooler tone", "让光线更冷"), ("make the colours cooler", "把色调调冷")],
    ),
    "saturation+": ("saturate", "style", [("make the colours stronger", "让色彩更鲜艳"), ("raise the saturation", "提高饱和度")]),
    "saturation-": ("desaturate", "style", [("make the colours paler", "让色彩更淡"), ("lower the saturation", "降低饱和度")]),
    "grey": (
        "grayscale",
        "style",
        [("turn the picture black and white", "把画面变成黑白"), ("remove all colour", "去掉所有色彩")],
    ),
    "colour": (
        "colourise",
        "style",
        [("colourise the black-and-white picture", "给黑白画面上色"), ("bring back natural colours", "恢复自然的色彩")],
    ),
    "blur+": (
        "blur",
        "style",
        [("blur the picture", "把画面变模糊"), ("make everything soft and out of focus", "让整个画面失焦变柔")],
    ),
    "blur-": ("deblur", "style", [("sharpen the blurred picture", "让模糊的画面变清晰"), ("remove the blur", "去除模糊")]),
    "grain+": ("add_grain", "style", [("add film grain", "添加胶片颗粒"), ("make the picture grainy", "让画面带有颗粒感")]),
    "grain-": ("denoise", "style", [("remove the grain", "去除画面颗粒"), ("denoise the picture", "给画面降噪")]),
    "mirror horizontal": (
        "mirror",
        "attribute",
        [("mirror the picture left to right", "左右翻转画面"), ("flip the picture horizontally", "水平翻转画面")],
    ),
    "mirror vertical": (
        "mirror",
        "attribute",
        [("turn the picture upside down by mirroring it", "上下翻转画面"), ("flip the picture vertically", "垂直翻转画面")],
    ),
    "turn 90": (
        "rotate",
        "attribute",
        [
            ("rotate the picture 90 degrees clockwise", "把画面顺时针旋转90度"),
            ("turn the picture a quarter to the right", "将画面向右转90度"),
        ],
    ),
    "turn 180": (
        "rotate",
        "attribute",
        [("rotate the picture by 180 degrees", "把画面旋转180度"), ("turn the picture by half a turn", "将画面转半圈")],
    ),
    "turn 270": (
        "rotate",
        "attribute",
        [
            ("rotate the picture 90 degrees counter-clockwise", "把画面逆时针旋转90度"),
            ("turn the picture a quarter to the left", "将画面向左转90度"),
        ],
    ),
    "tilt +": (
        "tilt",
        "attribute",
        [
            ("tilt the picture slightly clockwise", "把画面稍微顺时针倾斜"),
            ("lean the picture a little to the right", "让画面略向右倾"),
        ],
    ),
    "tilt -": (
        "tilt",
        "attribute",
        [
            ("tilt the picture slightly counter-clockwise", "把画面稍微逆时针倾斜"),
            ("lean the picture a little to the left", "让画面略向左倾"),
        ],
    ),
    "straighten": (
        "straighten",
        "attribute",
        [("straighten the tilted picture", "把倾斜的画面扶正"), ("level the picture again", "让画面恢复水平")],
    ),
    "crop left": ("crop", "attribute", [("crop the picture to its left part", "裁剪画面，只保留左边部分")]),
    "crop right": ("crop", "attribute", [("crop the picture to its right part", "裁剪画面，只保留右边部分")]),
    "crop top": ("crop", "attribute", [("crop the picture to its upper part", "裁剪画面，只保留上半部分")]),
    "crop bottom": ("crop", "attribute", [("crop the picture to its lower part", "裁剪画面，只保留下半部分")]),
    "crop middle": (
        "crop",
        "attribute",
        [("crop the picture closer to its middle", "裁剪画面，只保留中间部分"), ("zoom in on the middle", "放大画面中间")],
    ),
    "extend left": ("extend", "background", [("extend the picture to the right", "向右扩展画面")]),
    "extend right": ("extend", "background", [("extend the picture to the left", "向左扩展画面")]),
    "extend top": ("extend", "background", [("extend the picture downwards", "向下扩展画面")]),
    "extend bottom": ("extend", "background", [("extend the picture upwards", "向上扩展画面")]),
    "extend middle": (
        "extend",
        "background",
        [
            ("extend the picture on all sides", "向四周扩展画面"),
            ("zoom out to show more around it", "拉远镜头，露出更多周围的内容"),
        ],
    ),
}
"""What a picture-level change is called: its name, task and wordings."""


def word_keys(subject: str, before: Any, after: Any) -> list[str]:
    """Return the entries of PICTURE_WORDS for a change; geometry that was set is undone first, then set anew."""
    if subject in IDENTITY:
        old, new = (IDENTITY[subject] if value is None else value for value in (before, after))
        if subject == "saturation" and 0.0 in (old, new):
            return ["grey" if new == 0.0 else "colour", *(["saturation+"] if old == 0.0 and new > 1 else [])]
        return [f"{subject}{'+' if new > old else '-'}"]
    if subject == "turn":
        return [f"turn {((after or 0) - (before or 0)) % 360}"]
    if subject == "mirror":
        return [f"mirror {value}" for value in (before, after) if value]
    if subject == "tilt":
        return ["straighten"] if not after else [f"tilt {'+' if after > (before or 0) else '-'}"]
    return [*([f"extend {before}"] if before else []), *([f"crop {after}"] if after else [])]
