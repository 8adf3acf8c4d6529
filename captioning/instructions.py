"""Edits in words: one imperative sentence in English and one in Chinese that name exactly the operations of an edit.

Several wordings exist for each operation; which one is taken depends on the pair's name alone. Quoted text is verbatim. A line
that changes in several ways is named once. The order is that in which a person would go: what goes away, geometry that is
undone, what changes and comes, light and colour, and geometry that is made.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from captioning.chinese import PLACES as PLACES_ZH
from captioning.colours import colour_name
from captioning.english import PLACES as PLACES_EN
from captioning.evidence import place
from captioning.picture_words import PICTURE_WORDS, Words, word_keys
from curation.edits import Edit, Operation
from curation.picture_edits import GEOMETRY
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
    """Order operations so that places are true: told before a warp is made, and after one is undone."""
    subject = operation.subject
    if subject in GEOMETRY:
        return (4 if operation.before is None else 1), subject
    if ":" not in subject:
        return 3, subject
    return (0 if operation.after is None else 2), subject


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


def _picture(operation: Operation, salt: str) -> Said:
    said = [PICTURE_WORDS[key] for key in word_keys(operation.subject, operation.before, operation.after)]
    texts = [_pick(words, salt) for _, _, words in said]
    return Said(
        "+".join(name for name, _, _ in said),
        said[0][1],
        " and ".join(english for english, _ in texts),
        "，再".join(chinese for _, chinese in texts),
        value=f"{operation.subject} {operation.before} to {operation.after}",
    )


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
