"""Edits in words: one imperative sentence in English and one in Chinese that name exactly the operations of an edit.

Several wordings exist for each operation; which one is taken depends on the pair's name alone. Quoted text is verbatim. A line
that changes in several ways is named once. The order is that in which a person would go: what goes away, what changes, what
comes, and then the picture as a whole.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from captioning.chinese import PLACES as PLACES_ZH
from captioning.colours import colour_name
from captioning.english import PLACES as PLACES_EN
from captioning.evidence import place
from curation.edits import Edit, Operation
from curation.grading import IDENTITY
from curation.stickers import SHAPES
from curation.text_lines import coverage, line_of
from curation.typefaces import TYPEFACES

TASKS = ("addition", "removal", "swap", "background", "environment", "style", "attribute")
"""OmniEdit's seven tasks (https://arxiv.org/abs/2411.07199); of several the first one named here speaks for a pair on a tie."""


class Said(NamedTuple):
    """One operation in words, with its name, its task, and what it rests on."""

    name: str  # replace_text, add_text, ...
    task: str
    en: str
    zh: str
    value: str


def say(change: Edit, *, size_px: tuple[int, int], salt: str) -> list[Said]:
    """Return the operations of an edit in words, in the order in which they are told.

    size_px: width and height of the base, for words of place. salt: chooses the wordings.
    """
    return [_say_one(operation, size_px, f"{salt}/{operation.subject}") for operation in in_order(change)]


def in_order(change: Edit) -> list[Operation]:
    """Return the operations in the order in which they are told and would be made."""
    return sorted(change, key=_rank)


def instruction(said: Sequence[Said], language: str) -> str:
    """Return the sentence of several operations; "" without any."""
    texts = [one.en if language == "en" else one.zh for one in said]
    if not texts:
        return ""
    if language == "en":
        joined = texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])}, and {texts[-1]}"
        return f"{joined[0].upper()}{joined[1:]}."
    return f"{texts[0]}。" if len(texts) == 1 else f"{'，'.join(texts[:-1])}，并且{texts[-1]}。"


def task_of(said: Sequence[Said]) -> str:
    """Return the most frequent task of the operations, the earlier in TASKS on a tie."""
    counted = [one.task for one in said]
    return min(set(counted), key=lambda task: (-counted.count(task), TASKS.index(task)))


def _rank(operation: Operation) -> tuple[int, str]:
    if ":" not in operation.subject:
        return (3 if operation.subject in ("crop", "turn", "mirror", "tilt") else 2), operation.subject
    return (0 if operation.after is None else 1), operation.subject


def _say_one(operation: Operation, size_px: tuple[int, int], salt: str) -> Said:
    kind = operation.subject.partition(":")[0]
    if kind == "line":
        return _line(operation, size_px, salt)
    if kind in ("sticker", "hole"):
        return {"sticker": _sticker, "hole": _hole}[kind](operation, size_px, salt)
    if kind == "background":
        english, chinese = _colour(operation.after)
        variants = [
            (f"change the background to {english}", f"把背景换成{chinese}"),
            (f"make the background {english}", f"将背景颜色改为{chinese}"),
            (f"put everything on a {english} background", f"换成{chinese}的背景"),
        ]
        return Said("change_background", "background", *_pick(variants, salt), value=f"{operation.before} to {operation.after}")
    return _picture(operation, salt)


def _line(operation: Operation, size_px: tuple[int, int], salt: str) -> Said:
    before, after = operation.before, operation.after
    if before is None:
        return _added(after, size_px, salt)
    if after is None:
        text, text_zh = quote(before["text"], "en"), quote(before["text"], "zh")
        variants = [
            (f"remove the text {text}", f"去掉文字{text_zh}"),
            (f"erase {text}", f"擦除{text_zh}这行字"),
            (f"delete the line {text}", f"删除文字{text_zh}"),
        ]
        return Said("remove_text", "removal", *_pick(variants, salt), value=before["text"])
    parts = [part for part in _changes(before, after, size_px, salt) if part]
    names, texts_en, texts_zh = "+".join(p.name for p in parts), [p.en for p in parts], [p.zh for p in parts]
    english = texts_en[0] if len(texts_en) == 1 else f"{texts_en[0]} and {' and '.join(texts_en[1:])}"
    task = "swap" if parts[0].name == "replace_text" else "attribute"
    return Said(names, task, english, "，".join(texts_zh), value="; ".join(part.value for part in parts))


def _added(after: Mapping[str, Any], size_px: tuple[int, int], salt: str) -> Said:
    where_en, where_zh = _place(after, size_px)
    text, text_zh = quote(after["text"], "en"), quote(after["text"], "zh")
    english, chinese = _colour(after["colour"])
    variants = [
        (f"add the text {text} in {english} {where_en}", f"在{where_zh}添加{chinese}文字{text_zh}"),
        (f"write {text} {where_en} in {english}", f"在{where_zh}用{chinese}写上{text_zh}"),
        (f"insert a {english} line reading {text} {where_en}", f"在{where_zh}加一行{chinese}的字{text_zh}"),
    ]
    return Said("add_text", "addition", *_pick(variants, salt), value=after["text"])


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], size_px: tuple[int, int], salt: str) -> list[Said]:
    """Return what differs between two states of a line; only the first names it, the others say "it"."""
    said: list[Said] = []
    old, old_zh = quote(before["text"], "en"), quote(before["text"], "zh")
    if before["text"] != after["text"]:
        new, new_zh = quote(after["text"], "en"), quote(after["text"], "zh")
        variants = [
            (f"replace the text {old} with {new}", f"把文字{old_zh}替换为{new_zh}"),
            (f"change {old} to {new}", f"将{old_zh}改成{new_zh}"),
            (f"make the line {old} read {new}", f"把{old_zh}这行字改为{new_zh}"),
        ]
        said.append(Said("replace_text", "swap", *_pick(variants, salt), value=f"{before['text']} to {after['text']}"))
    for name, differs, words in _ASPECTS:
        if not differs(before, after):
            continue
        it, it_zh = ("it", "它") if said else (f"the text {old}", f"文字{old_zh}")
        said.append(
            Said(name, "attribute", *_pick(words(it, it_zh, before, after, size_px), salt), value=_value(name, before, after))
        )
    return said


Words = list[tuple[str, str]]
Aspect = Mapping[str, Any]


def _recolour(it: str, it_zh: str, before: Aspect, after: Aspect, size_px: tuple[int, int]) -> Words:
    english, chinese = _colour(after["colour"])
    return [
        (f"make {it} {english}", f"把{it_zh}变成{chinese}"),
        (f"change {_its(it, 'colour')} to {english}", f"将{it_zh}的颜色改为{chinese}"),
        (f"set {it} in {english}", f"用{chinese}显示{it_zh}"),
    ]


def _its(it: str, what: str) -> str:
    return f"its {what}" if it == "it" else f"the {what} of {it}"


def _resize(it: str, it_zh: str, before: Aspect, after: Aspect, size_px: tuple[int, int]) -> Words:
    larger = after["size_px"] > before["size_px"]
    share = f"{max(after['size_px'], before['size_px']) / min(after['size_px'], before['size_px']):.1f}"
    if larger:
        return [
            (f"make {it} larger, about {share} times its size", f"把{it_zh}放大到约{share}倍"),
            (f"enlarge {it}", f"放大{it_zh}"),
        ]
    return [(f"make {it} smaller", f"把{it_zh}缩小一些"), (f"shrink {it}", f"缩小{it_zh}")]


def _move(it: str, it_zh: str, before: Aspect, after: Aspect, size_px: tuple[int, int]) -> Words:
    where_en, where_zh = _place(after, size_px)
    where_to = where_en.replace("at the ", "to the ").replace("in the ", "to the ").replace("on the ", "to the ")
    return [
        (f"move {it} {where_to}", f"把{it_zh}移到{where_zh}"),
        (f"place {it} {where_en} instead", f"将{it_zh}改放在{where_zh}"),
    ]


def _refont(it: str, it_zh: str, before: Aspect, after: Aspect, size_px: tuple[int, int]) -> Words:
    face = TYPEFACES[after["face"]]
    return [
        (f"set {it} in {face.en}", f"把{it_zh}换成{face.zh}"),
        (f"change {_its(it, 'typeface')} to {face.en}", f"将{it_zh}的字体改为{face.zh}"),
    ]


_ASPECTS: tuple[tuple[str, Callable[[Aspect, Aspect], bool], Callable[..., Words]], ...] = (
    ("recolour", lambda a, b: a["colour"] != b["colour"], _recolour),
    ("resize", lambda a, b: a["size_px"] != b["size_px"], _resize),
    ("refont", lambda a, b: a["face"] != b["face"], _refont),
    ("move", lambda a, b: (a["x"], a["y"], a["anchor"]) != (b["x"], b["y"], b["anchor"]), _move),
)


def _value(name: str, before: Aspect, after: Aspect) -> str:
    key = {"recolour": "colour", "resize": "size_px", "refont": "face"}.get(name)
    return f"{before[key]} to {after[key]}" if key else f"({before['x']}, {before['y']}) to ({after['x']}, {after['y']})"


def _sticker(operation: Operation, size_px: tuple[int, int], salt: str) -> Said:
    sticker = operation.after or operation.before
    where_en, where_zh = _box_place(sticker["box"], size_px)
    thing, thing_zh = _thing(sticker)
    article = _article(thing)
    if operation.after is not None:
        variants = [
            (f"add {article} {thing} {where_en}", f"在{where_zh}添加一{thing_zh}"),
            (f"put {article} {thing} {where_en}", f"在{where_zh}放一{thing_zh}"),
            (f"paste {article} {thing} {where_en}", f"在{where_zh}贴上一{thing_zh}"),
        ]
        return Said("paste", "addition", *_pick(variants, salt), value=thing)
    variants = [
        (f"remove the {thing} {where_en}", f"去掉{where_zh}的那{thing_zh}"),
        (f"erase the {thing} {where_en}", f"擦除{where_zh}的那{thing_zh}"),
    ]
    return Said("erase", "removal", *_pick(variants, salt), value=thing)


def _hole(operation: Operation, size_px: tuple[int, int], salt: str) -> Said:
    box = operation.after or operation.before
    where_en, where_zh = _box_place(box, size_px)
    if operation.after is not None:
        variants = [
            (f"blank out a square {where_en} with grey", f"用灰色遮住{where_zh}的一块方形区域"),
            (f"cover a square {where_en} in plain grey", f"把{where_zh}的一块方形区域涂成灰色"),
        ]
        return Said("cut_hole", "removal", *_pick(variants, salt), value=f"box {box}")
    variants = [
        (f"fill in the grey square {where_en} so that the picture is complete", f"补全{where_zh}的灰色方块，使画面完整"),
        (f"restore what the grey square {where_en} hides", f"还原{where_zh}灰色方块遮住的内容"),
    ]
    return Said("fill_hole", "addition", *_pick(variants, salt), value=f"box {box}")


PICTURE_WORDS: dict[str, tuple[str, str, Words]] = {
    "brightness+": ("brighten", "environment", [("make the picture brighter", "把画面调亮"), ("brighten the scene", "提高画面亮度")]),
    "brightness-": ("darken", "environment", [("make the picture darker", "把画面调暗"), ("darken the scene", "降低画面亮度")]),
    "warmth+": ("warm", "environment", [("give the light a warmer tone", "让光线更暖"), ("make the colours warmer", "把色调调暖")]),
    "warmth-": ("cool", "environment", [("give the light a cooler tone", "让光线更冷"), ("make the colours cooler", "把色调调冷")]),
    "saturation+": ("saturate", "style", [("make the colours stronger", "让色彩更鲜艳"), ("raise the saturation", "提高饱和度")]),
    "saturation-": ("desaturate", "style", [("make the colours paler", "让色彩更淡"), ("lower the saturation", "降低饱和度")]),
    "grey": ("grayscale", "style", [("turn the picture black and white", "把画面变成黑白"), ("remove all colour", "去掉所有色彩")]),
    "colour": (
        "colourise",
        "style",
        [("colourise the black-and-white picture", "给黑白画面上色"), ("bring back natural colours", "恢复自然的色彩")],
    ),
    "blur+": ("blur", "style", [("blur the picture", "把画面变模糊"), ("make everything soft and out of focus", "让整个画面失焦变柔")]),
    "blur-": ("deblur", "style", [("sharpen the blurred picture", "让模糊的画面变清晰"), ("remove the blur", "去除模糊")]),
    "grain+": ("add_grain", "style", [("add film grain", "添加胶片颗粒"), ("make the picture grainy", "让画面带有颗粒感")]),
    "grain-": ("denoise", "style", [("remove the grain", "去除画面颗粒"), ("denoise the picture", "给画面降噪")]),
    "mirror horizontal": ("mirror", "attribute", [("mirror the picture left to right", "左右翻转画面"), ("flip it horizontally", "水平翻转画面")]),
    "mirror vertical": ("mirror", "attribute", [("turn the picture upside down by mirroring it", "上下翻转画面"), ("flip it vertically", "垂直翻转画面")]),
    "turn 90": ("rotate", "attribute", [("rotate the picture 90 degrees clockwise", "把画面顺时针旋转90度"), ("turn it a quarter to the right", "将画面向右转90度")]),
    "turn 180": ("rotate", "attribute", [("rotate the picture by 180 degrees", "把画面旋转180度"), ("turn it by half a turn", "将画面转半圈")]),
    "turn 270": ("rotate", "attribute", [("rotate the picture 90 degrees counter-clockwise", "把画面逆时针旋转90度"), ("turn it a quarter to the left", "将画面向左转90度")]),
    "tilt +": ("tilt", "attribute", [("tilt the picture slightly clockwise", "把画面稍微顺时针倾斜"), ("lean it a little to the right", "让画面略向右倾")]),
    "tilt -": ("tilt", "attribute", [("tilt the picture slightly counter-clockwise", "把画面稍微逆时针倾斜"), ("lean it a little to the left", "让画面略向左倾")]),
    "straighten": ("straighten", "attribute", [("straighten the tilted picture", "把倾斜的画面扶正"), ("level it again", "让画面恢复水平")]),
    "crop left": ("crop", "attribute", [("crop the picture to its left part", "裁剪画面，只保留左边部分")]),
    "crop right": ("crop", "attribute", [("crop the picture to its right part", "裁剪画面，只保留右边部分")]),
    "crop top": ("crop", "attribute", [("crop the picture to its upper part", "裁剪画面，只保留上半部分")]),
    "crop bottom": ("crop", "attribute", [("crop the picture to its lower part", "裁剪画面，只保留下半部分")]),
    "crop middle": ("crop", "attribute", [("crop the picture closer to its middle", "裁剪画面，只保留中间部分"), ("zoom in on the middle", "放大画面中间")]),
    "extend left": ("extend", "background", [("extend the picture to the right", "向右扩展画面")]),
    "extend right": ("extend", "background", [("extend the picture to the left", "向左扩展画面")]),
    "extend top": ("extend", "background", [("extend the picture downwards", "向下扩展画面")]),
    "extend bottom": ("extend", "background", [("extend the picture upwards", "向上扩展画面")]),
    "extend middle": ("extend", "background", [("extend the picture on all sides", "向四周扩展画面"), ("zoom out to show more around it", "拉远镜头，露出更多周围的内容")]),
}  # fmt: skip
"""What a picture-level change is called: its name, task and wordings."""


def _picture(operation: Operation, salt: str) -> Said:
    said = [PICTURE_WORDS[key] for key in _keys(operation.subject, operation.before, operation.after)]
    texts = [_pick(words, salt) for _, _, words in said]
    return Said(
        "+".join(name for name, _, _ in said),
        said[0][1],
        " and ".join(english for english, _ in texts),
        "，再".join(chinese for _, chinese in texts),
        value=f"{operation.subject} {operation.before} to {operation.after}",
    )


def _keys(subject: str, before: Any, after: Any) -> list[str]:
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


def quote(text: str, language: str) -> str:
    """Return a text verbatim between the quotation marks of a language."""
    return f'"{text}"' if language == "en" else f"“{text}”"


def _colour(code: str) -> tuple[str, str]:
    name = colour_name(code)
    return name.en, name.zh if name.zh.endswith("色") else f"{name.zh}色"


def _place(line: Mapping[str, Any], size_px: tuple[int, int]) -> tuple[str, str]:
    return _box_place(coverage(line_of(line)).box, size_px)


def _box_place(box: Sequence[float], size_px: tuple[int, int]) -> tuple[str, str]:
    x0, y0, x1, y1 = box
    word = place([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], *size_px)
    return PLACES_EN[word], PLACES_ZH[word]


def _pick(variants: Words, salt: str) -> tuple[str, str]:
    """Return one wording in both languages, chosen by the salt."""
    return variants[zlib.crc32(salt.encode()) % len(variants)]


def standing(state: Mapping[str, Any], size_px: tuple[int, int]) -> list[tuple[str, str]]:
    """Return a sentence in English and Chinese for every sticker and hole of a state."""
    said = []
    for subject in sorted(state):
        if subject.startswith("sticker:"):
            thing, thing_zh = _thing(state[subject])
            where, where_zh = _box_place(state[subject]["box"], size_px)
            said.append((f"There is {_article(thing)} {thing} {where}.", f"{where_zh}有一{thing_zh}。"))
        if subject.startswith("hole:"):
            where, where_zh = _box_place(state[subject], size_px)
            said.append((f"A grey square hides a part {where}.", f"{where_zh}被一块灰色方块遮住。"))
    return said


def _thing(sticker: Mapping[str, Any]) -> tuple[str, str]:
    english, chinese = _colour(sticker["colour"])
    shape = SHAPES[sticker["shape"]]
    return f"{english} {shape.en}", shape.zh.format(colour=chinese)


def _article(thing: str) -> str:
    return "an" if thing[0] in "aeiou" else "a"
