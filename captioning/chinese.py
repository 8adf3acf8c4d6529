"""Chinese captions of one image: a function of its Facts per level, each returning clauses with their evidence.

Written as Chinese and not translated from the English ones: full-width punctuation, measure words, no plural, lists with the
enumeration comma. A label without a Chinese name stays as it is, and quoted text stays in its own language.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

from captioning.clauses import Clause, Part, Parts, choice, joined, prominent, quoted, shortened, word_count
from captioning.evidence import Colour, Facts, Quote
from captioning.spoken_entities import Entity

MARKS = ("“", "”")
NOUNS = {"photograph": "照片", "graphic": "图形", "image": "图像"}
MEASURES = {"photograph": "一张", "graphic": "一幅", "image": "一幅"}
LANGUAGES = {
    "zh": "中文",
    "en": "英文",
    "ja": "日文",
    "ko": "韩文",
    "fr": "法文",
    "de": "德文",
    "es": "西班牙文",
    "it": "意大利文",
    "pt": "葡萄牙文",
    "ru": "俄文",
    "ar": "阿拉伯文",
}
PLACES = {
    "top": "顶部",
    "top left": "左上角",
    "top right": "右上角",
    "centre": "中央",
    "left": "左侧",
    "right": "右侧",
    "bottom": "底部",
    "bottom left": "左下角",
    "bottom right": "右下角",
}


def tags(facts: Facts) -> Parts:
    """Return a list with full-width commas: subject, medium, colours, linked entities, text."""
    items: list[Parts] = []
    if "zh" in facts.sources and word_count(shortened(facts.sources["zh"], 1000)) <= 6:
        items.append([Clause(shortened(facts.sources["zh"], 6), "caption", facts.sources["zh"])])
    items += [[Clause(subject.zh, "tag", f"{subject.score:.2f}")] for subject in facts.subjects]
    items.append(_medium(facts))
    items += [[_colour(colour)] for colour in facts.colours]
    items += [[_named(entity)] for entity in _unsaid(facts, items)]
    if facts.quotes:
        items.append([Clause("文字", "ocr", f"{len(facts.quotes)} lines")])
        items += [[quoted(quote, MARKS)] for quote in prominent(facts, 1, max_words=8)]
    items += [[Clause("水印", "watermark", mark.text)] for mark in facts.marks[:1]]
    return joined(items, "，", "，")


def short(facts: Facts) -> Parts:
    """Return one phrase: the source's first sentence, or what the picture most surely is."""
    if "zh" in facts.sources:
        return [Clause(shortened(facts.sources["zh"], 15), "caption", facts.sources["zh"])]
    lines = prominent(facts, 1, max_words=7)
    if facts.subjects:
        return [*_count(facts), _subject(facts), *_medium(facts)]
    if lines:
        phrase: Parts = [*_count(facts), "写有", quoted(lines[0], MARKS), "的", *_picture(facts)]
        return [*phrase, *_in_passing(facts, phrase)]
    if foreign := facts.foreign_words("zh"):
        return [*_count(facts), *_picture(facts), "，来源描述为：", Clause(shortened(foreign, 15), "caption", foreign)]
    return [*_count(facts), *_of_colours(facts, 2), *_picture(facts)]


def medium(facts: Facts) -> Parts:
    """Return one or two sentences: the source's words, medium, subject, colours and the largest lines."""
    opening = _opening(facts)
    parts: Parts = [*opening, *(["这是"] if opening else []), *_count(facts), *_picture(facts)]
    if facts.subjects:
        parts += ["，画面内容为", _subject(facts)]
    if facts.colours and not facts.grayscale:
        parts += ["，主色为", *_listed([[_colour(colour)] for colour in facts.colours[:3]])]
    elif facts.colours:
        parts += ["，色调为", *_listed([[_colour(colour)] for colour in facts.colours[:3]])]
    if lines := prominent(facts, 3, max_words=20):
        parts += ["，上面写着", *_quotes(lines)]
    foreign = _described(facts) if facts.is_suspect or not (facts.subjects or lines) else []
    return [*parts, "。", *foreign, *_mentioned(facts, 1)]


def long(facts: Facts) -> Parts:
    """Return every fact: size, colours, subject, light, the source's words, and all text by place."""
    size = Clause(f"{facts.width_px}×{facts.height_px}像素", "metric", f"{facts.width_px}x{facts.height_px}")
    parts: Parts = [*_opening(facts), "这是", *_count(facts), *_picture(facts), "，尺寸为", size, "。"]
    if facts.colours:
        listed = [[_colour(colour, share=True)] for colour in facts.colours]
        parts += ["主要色调为" if facts.grayscale else "主要颜色为", *_listed(listed), "。"]
    if facts.subjects:
        listed = [[Clause(subject.zh, "tag", f"{subject.score:.2f}")] for subject in facts.subjects if not subject.implied]
        parts += ["画面内容为", *_listed(listed), "。"]
    parts += _light(facts)
    parts += _described(facts)
    return parts + _all_text(facts) + _watermark(facts) + _mentioned(facts, 3)


def prompt(facts: Facts) -> Parts:
    """Return what a user might type for this picture: one or two of its facts, in one of three manners by the id."""
    source = facts.sources.get("zh", "")
    manners: tuple[Parts, ...] = (_medium(facts),)
    if source:
        words = Clause(shortened(source, 8), "caption", source)
        manners = ([words], ["画一幅图：", words], [words, *_tones(facts)])
    elif facts.subjects:
        manners = ([_subject(facts)], [_subject(facts), "的", *_medium(facts)], [_subject(facts), *_tones(facts)])
    elif lines := prominent(facts, 1, max_words=8):
        words = quoted(lines[0], MARKS)
        manners = (["写着", words, "的", *_medium(facts)], [words, *_tones(facts)], ["图上写", words, *_tones(facts)])
        if spoken := facts.told_entities:
            manners = (*manners, [_named(spoken[0]), "，", *_medium(facts)], [_named(spoken[0]), *_tones(facts)])
    elif foreign := facts.foreign_words("zh"):
        manners = (["画一幅图：", Clause(shortened(foreign, 8), "caption", foreign)],)
    elif facts.colours and not facts.grayscale:
        manners = ([*_of_colours(facts, 2), *_medium(facts)], [*_medium(facts), *_tones(facts)], _tones(facts)[1:])
    return manners[choice(facts, "prompt", len(manners))]


LEVELS: dict[str, Callable[[Facts], Parts]] = {
    "tags": tags,
    "short": short,
    "medium": medium,
    "long": long,
    "prompt": prompt,
}


def _count(facts: Facts) -> Parts:
    return [MEASURES[facts.medium]]


def _picture(facts: Facts) -> Parts:
    """Return 竖版图形."""
    shape = Clause(_orientation(facts), "metric", f"{facts.width_px}x{facts.height_px}")
    return [shape, *_medium(facts)]


def _orientation(facts: Facts) -> str:
    aspect = facts.width_px / facts.height_px
    if 0.95 <= aspect <= 1.05:
        return "方形"
    if not 0.4 <= aspect <= 2.5:
        return "超宽" if aspect > 1 else "超长竖版"
    return "横版" if aspect > 1 else "竖版"


def _medium(facts: Facts) -> Parts:
    measured = "unknown" if facts.flatness is None else f"flatness {facts.flatness:.2f}"
    noun = Clause(NOUNS[facts.medium], "metric", measured)
    if not facts.grayscale:
        return [noun]
    return [Clause("黑白" if facts.medium == "photograph" else "灰度", "metric", "is_grayscale true"), noun]


def _colour(colour: Colour, *, share: bool = False) -> Clause:
    text = f"{colour.zh}（{max(1, round(100 * colour.share))}%）" if share else colour.zh
    return Clause(text, "colour", f"{colour.hex} {colour.share:.3f}")


def _of_colours(facts: Facts, number: int) -> Parts:
    if not facts.colours or facts.grayscale:
        return []
    return [*_listed([[_colour(colour)] for colour in facts.colours[:number]]), "的"]


def _tones(facts: Facts) -> Parts:
    if not facts.colours or facts.grayscale:
        return []
    return ["，", *_listed([[_colour(colour)] for colour in facts.colours[:2]]), "调"]


def _subject(facts: Facts) -> Clause:
    return Clause(facts.subjects[0].zh, "tag", f"{facts.subjects[0].score:.2f}")


def _light(facts: Facts) -> Parts:
    light = facts.light()
    word = {"dark": "偏暗", "bright": "明亮"}.get(light or "", "")
    return ["画面整体", Clause(word, "metric", f"brightness {facts.brightness:.2f}"), "。"] if light else []


def _opening(facts: Facts) -> Parts:
    """Return the source's own words as a first sentence; words that read like orders are not taken over but reported."""
    text = facts.sources.get("zh", "")
    if not text or facts.is_suspect:
        return []
    return [Clause(text, "caption", text), "" if text[-1] in ".!?。！？…" else "。"]


def _described(facts: Facts) -> Parts:
    """Return what the source says where it cannot simply be said: in another language, or suspect."""
    text = facts.reported_words("zh")
    if not text:
        return []
    stop = "" if text[-1] in ".!?。！？…" else "。"
    return ["来源描述：", Clause(text, "caption", text), stop]


def _named(entity: Entity) -> Clause:
    """Return the Chinese title, a person as the source spells the name, and the English title where there is no other."""
    return Clause(entity.text if entity.is_person else entity.title_zh or entity.title, "entity", entity.value)


def _unsaid(facts: Facts, items: Sequence[Sequence[Part]]) -> list[Entity]:
    said = "\n".join(part if isinstance(part, str) else part.text for item in items for part in item)
    return [entity for entity in facts.told_entities if _named(entity).text not in said]


def _in_passing(facts: Facts, phrase: Sequence[Part]) -> Parts:
    return [part for entity in _unsaid(facts, [phrase])[:1] for part in ("，提及", _named(entity))]


def _mentioned(facts: Facts, number: int) -> Parts:
    """Return a sentence for each way of being mentioned; descriptions are English and stay out."""
    parts: Parts = []
    for source, carrier in (("ocr", "文字中提到"), ("caption", "描述中提到"), ("metadata", "来源中提到")):
        named = [[_named(entity)] for entity in facts.told_entities[:number] if entity.source == source]
        parts += [carrier, *_listed(named), "。"] if named else []
    return parts


def _all_text(facts: Facts) -> Parts:
    """Return every line verbatim, lines that share a place and follow each other in one clause."""
    if not facts.quotes:
        return []
    number = len(facts.quotes)
    parts: Parts = ["画面中有", Clause(f"{number}行文字", "ocr", f"{number} lines")]
    used = sorted({quote.language for quote in facts.quotes} & set(LANGUAGES), reverse=True)
    if used:
        parts += ["（", *_listed([[Clause(LANGUAGES[name], "ocr", f"language {name}")] for name in used]), "）"]
    verb = ("写着", "的文字是")[choice(facts, "verb", 2)]
    parts += ["："]
    groups = [(place, list(group)) for place, group in groupby(facts.quotes, key=lambda quote: quote.place)]
    said = [[Clause(PLACES[place], "ocr", f"place {place}"), verb, *_quotes(lines)] for place, lines in groups]
    return [*parts, *joined(said, "；", "；"), "。"]


def _watermark(facts: Facts) -> Parts:
    """Return a sentence that names the source's mark, verbatim, as what it is."""
    marks: list[Parts] = [[quoted(mark, MARKS, "watermark")] for mark in facts.marks]
    return ["带有水印", *joined(marks, "", "和"), "。"] if marks else []


def _quotes(lines: list[Quote]) -> Parts:
    # GB/T 15834-2011, 4.5.3.5: no enumeration comma between quotations that stand side by side.
    return joined([[quoted(line, MARKS)] for line in lines], "", "和")


def _listed(items: Sequence[Sequence[Part]]) -> Parts:
    return joined(items, "、", "和")
