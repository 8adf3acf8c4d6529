"""What differs between two pictures, and the instruction that turns one into the other.

Two ways, one result. From facts: the differences of what was measured of both (subjects, text lines, colours, light, size), each
with its evidence, told in one sentence per language. From a model: one structured answer in three steps, which are the
difference captioner's of Z-Image (arXiv 2511.22699, section 3.3): both pictures described, the differences listed by kind, one
instruction. The order of the JSON makes the model take the steps in order; one request costs a third of three. What the model
says passes the checks that captions pass, with the evidence of both pictures; if it does not, the facts speak, and the row
says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from captioning.answer import Ask, Backend, Message, Reply
from captioning.chinese import PLACES as PLACES_ZH
from captioning.english import PLACES as PLACES_EN
from captioning.evidence import Facts, Quote
from captioning.instructions import quote
from captioning.prompting import Prompts
from captioning.structured import read_object
from captioning.validate import WORDS, Evidence, faults
from curation.errors import EditError

KINDS = ("subject", "text", "colour", "light", "style", "position", "number", "background", "frame")
TEMPLATES = ("difference_system.j2", "difference.j2")
MAX_WORDS = 60
MAX_TOLD = 5
"""Differences that one instruction tells, all of them; with more it is another picture, not an edit."""
TASKS = {
    "subject": "swap",
    "text": "swap",
    "colour": "attribute",
    "light": "environment",
    "style": "style",
    "frame": "background",
}


class Difference(NamedTuple):
    """One difference: its kind, how to make it in English and Chinese, its task, and the values it rests on."""

    kind: str
    en: str
    zh: str
    task: str
    value: str


@dataclass(frozen=True)
class Side:
    """One picture of a pair: its facts, its encoded bytes, and captions it has already."""

    facts: Facts
    picture: bytes = b""
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """The instruction of a pair in each language, what it rests on, and who wrote it.

    fault: why a model's answer was not taken. described: the model's captions of source and target.
    """

    instruction: Mapping[str, str]
    evidence: tuple[Mapping[str, str], ...]
    task: str
    backend: str
    fault: str | None = None
    described: tuple[str, str] | None = None


def differences(source: Facts, target: Facts) -> list[Difference]:
    """Return what was measured to differ, the most telling first; empty when nothing was."""
    found = [*_subjects(source, target), *_texts(source, target)]
    found += [*_colours(source, target), *_light(source, target), *_style(source, target), *_frame(source, target)]
    return found


def from_facts(source: Facts, target: Facts) -> Told | EditError:
    """Return the instruction that the facts of two pictures give.

    An EditError is returned, not raised: no_difference when facts do not tell the pictures apart, too_different beyond MAX_TOLD.
    """
    found = differences(source, target)
    if not found:
        return EditError("no_difference", "nothing that was measured tells the two pictures apart")
    if len(found) > MAX_TOLD:
        return EditError("too_different", f"{len(found)} differences are no edit; {MAX_TOLD} are allowed")
    english, chinese = [one.en for one in found], [one.zh for one in found]
    sentence = english[0] if len(english) == 1 else f"{', '.join(english[:-1])}, and {english[-1]}"
    return Told(
        {"en": f"{sentence[0].upper()}{sentence[1:]}.", "zh": f"{'，'.join(chinese)}。"},
        tuple({"clause": one.en, "source": one.kind, "value": one.value} for one in found),
        found[0].task,
        "facts",
    )


def from_model(
    pairs: Sequence[tuple[Side, Side]], backend: Backend, prompts: Prompts, *, name: str, seed: int = 0
) -> list[Told | EditError]:
    """Return the instruction of each pair by a model, or by facts where its answer does not pass, or why there is none.

    name: what the row says of who wrote it: vlm or endpoint.
    """
    asks = [difference_ask(f"pair-{number}", *pair, prompts, seed=seed) for number, pair in enumerate(pairs)]
    return [_told(reply, *pair, name=name) for reply, pair in zip(backend.answer(asks), pairs, strict=True)]


def difference_ask(key: str, source: Side, target: Side, prompts: Prompts, *, max_tokens: int = 1024, seed: int = 0) -> Ask:
    """Return the question for the difference of two pictures; the source's bytes come first."""
    values = {
        "source": _values(source),
        "target": _values(target),
        "kinds": list(KINDS),
        "languages": ["en", "zh"],
        "max_words": MAX_WORDS,
    }
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": prompts.render("difference.j2", **values)}]
    messages: list[Message] = [
        {"role": "system", "content": prompts.render("difference_system.j2", **values)},
        {"role": "user", "content": content},
    ]
    return Ask(key, messages, (source.picture, target.picture), max_tokens, 0.0, seed, SCHEMA)


def read_difference(text: str, source: Side, target: Side) -> tuple[dict[str, str], list[dict[str, str]], tuple[str, str]]:
    """Return instruction by language, differences and the two descriptions of a model's answer.

    Raises ValueError, one line, when it cannot be read or says what it must not.
    """
    value, _ = read_object(text)
    told = value.get("instruction")
    if not isinstance(told, Mapping) or not all(isinstance(told.get(name), str) and told[name].strip() for name in ("en", "zh")):
        raise ValueError("no_instruction: the answer lacks an instruction in English or Chinese")
    described = tuple(str(value.get(side) or "").strip() for side in ("source", "target"))
    evidence = Evidence(_both(source.facts, target.facts))
    for language in ("en", "zh"):
        found = faults(told[language], language=language, level="prompt", evidence=evidence, words=INSTRUCTION_WORDS)
        if found:
            raise ValueError(f"{language}: {found[0]}")
    listed = [one for one in value.get("differences") or [] if isinstance(one, Mapping) and isinstance(one.get("what"), str)]
    if not listed:
        raise ValueError("no_differences: the answer lists no difference")
    evidence_rows = [{"clause": one["what"], "source": str(one.get("kind") or "other"), "value": "model"} for one in listed]
    return {name: told[name].strip() for name in ("en", "zh")}, evidence_rows, (described[0], described[1])


INSTRUCTION_WORDS = {**WORDS, "prompt": (2, MAX_WORDS)}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "source": {"type": "string"},
        "target": {"type": "string"},
        "differences": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"kind": {"enum": list(KINDS)}, "what": {"type": "string"}},
                "required": ["kind", "what"],
            },
        },
        "instruction": {
            "type": "object",
            "properties": {"en": {"type": "string"}, "zh": {"type": "string"}},
            "required": ["en", "zh"],
        },
    },
    "required": ["source", "target", "differences", "instruction"],
}


def _told(reply: Reply, source: Side, target: Side, *, name: str) -> Told | EditError:
    fallback = from_facts(source.facts, target.facts)
    try:
        if reply.text is None:
            raise ValueError(": ".join(reply.error or ("error", "no answer")))
        if reply.finish_reason == "length":
            raise ValueError("cut: the answer reached the limit of tokens")
        instruction, evidence, described = read_difference(reply.text, source, target)
    except ValueError as error:
        if isinstance(fallback, EditError):
            return EditError(fallback.code, f"{fallback.detail}; the model's answer: {error}")
        return replace(fallback, fault=str(error))
    kinds = [row["source"] for row in evidence]
    task = TASKS.get(kinds[0], "attribute")
    return Told(instruction, tuple(evidence), task, name, described=described)


def _values(side: Side) -> dict[str, Any]:
    return {
        "width": side.facts.width_px,
        "height": side.facts.height_px,
        "lines": [{"text": line.text, "place": line.place} for line in side.facts.quotes],
        "captions": [*side.facts.sources.values(), *side.captions],
    }


def _both(source: Facts, target: Facts) -> Facts:
    """Return what an instruction may speak of: the lines, words and entities of both pictures."""
    words = {
        name: " ".join(text for text in (source.sources.get(name), target.sources.get(name)) if text) for name in ("en", "zh")
    }
    return replace(
        target,
        quotes=(*source.quotes, *target.quotes),
        sources={**source.sources, **target.sources, **{name: text for name, text in words.items() if text}},
        subjects=(*source.subjects, *target.subjects),
        entities=(*source.entities, *target.entities),
    )


def _subjects(source: Facts, target: Facts) -> list[Difference]:
    """Return the change of what is shown: by labels the tagger is sure of, else by the source's own words."""
    before = [one for one in source.subjects if not one.implied]
    after = [one for one in target.subjects if not one.implied]
    if before and after and before[0].en != after[0].en:
        value = f"{before[0].en} {before[0].score:.2f} to {after[0].en} {after[0].score:.2f}"
        old, new = before[0], after[0]
        return [Difference("subject", f"replace the {old.en} with the {new.en}", f"把{old.zh}换成{new.zh}", "swap", value)]
    english = source.sources.get("en", ""), target.sources.get("en", "")
    if all(english) and english[0] != english[1] and not any(set(text) & set('"“”') for text in english):
        shown = english[1].strip().rstrip(".")
        shown = shown[0].lower() + shown[1:] if shown[1:2].islower() or shown.startswith("A ") else shown
        shown_zh = target.sources.get("zh", "").rstrip("。") or shown
        return [Difference("subject", f"make it show {shown}", f"让画面变成：{shown_zh}", "swap", f"caption: {english[1]}")]
    return []


def _texts(source: Facts, target: Facts) -> list[Difference]:
    """Return the changes of text: moved lines, lines that took another's place, removed and added ones."""
    before, after, found = list(source.quotes), list(target.quotes), []
    for line in source.quotes:
        same = next((other for other in after if other.text == line.text), None)
        if same is None:
            continue
        before.remove(line)
        after.remove(same)
        if same.place != line.place:
            text, text_zh = quote(line.text, "en"), quote(line.text, "zh")
            english = f"move the text {text} so that it stands {PLACES_EN[same.place]}"
            value = f"{line.place} to {same.place}"
            found.append(Difference("position", english, f"把文字{text_zh}移到{PLACES_ZH[same.place]}", "attribute", value))
    for old, new in _in_place(before, after):
        before.remove(old)
        after.remove(new)
        english = f"replace the text {quote(old.text, 'en')} with {quote(new.text, 'en')}"
        chinese = f"把文字{quote(old.text, 'zh')}替换为{quote(new.text, 'zh')}"
        found.append(Difference("text", english, chinese, "swap", f"{old.text} to {new.text}"))
    found += [
        Difference("text", f"remove the text {quote(line.text, 'en')}", f"去掉文字{quote(line.text, 'zh')}", "removal", line.text)
        for line in before
    ]
    for line in after:
        text, text_zh = quote(line.text, "en"), quote(line.text, "zh")
        english, chinese = f"add the text {text} {PLACES_EN[line.place]}", f"在{PLACES_ZH[line.place]}添加文字{text_zh}"
        found.append(Difference("text", english, chinese, "addition", line.text))
    return found


def _in_place(before: Sequence[Quote], after: Sequence[Quote]) -> list[tuple[Quote, Quote]]:
    """Return lines that stand where another stood, about as large, each once, in reading order."""
    left, pairs = list(after), []
    for line in before:
        for other in left:
            if other.place == line.place and 0.7 < (other.size + 1e-9) / (line.size + 1e-9) < 1.4:
                pairs.append((line, other))
                left.remove(other)
                break
    return pairs


def _colours(source: Facts, target: Facts) -> list[Difference]:
    if not source.colours or not target.colours or source.colours[0].en == target.colours[0].en:
        return []
    old, new = source.colours[0], target.colours[0]
    value = f"{old.en} {old.share:.2f} to {new.en} {new.share:.2f}"
    return [
        Difference(
            "colour", f"change the main colour from {old.en} to {new.en}", f"把主色调从{old.zh}改为{new.zh}", "attribute", value
        )
    ]


def _light(source: Facts, target: Facts) -> list[Difference]:
    if source.brightness is None or target.brightness is None or abs(source.brightness - target.brightness) < 0.12:
        return []
    value = f"brightness {source.brightness:.2f} to {target.brightness:.2f}"
    if target.brightness > source.brightness:
        return [Difference("light", "make the picture brighter", "把画面调亮", "environment", value)]
    return [Difference("light", "make the picture darker", "把画面调暗", "environment", value)]


def _style(source: Facts, target: Facts) -> list[Difference]:
    if source.grayscale == target.grayscale:
        return []
    if target.grayscale:
        return [Difference("style", "turn the picture black and white", "把画面变成黑白", "style", "is_grayscale false to true")]
    return [Difference("style", "colourise the picture", "给画面上色", "style", "is_grayscale true to false")]


def _frame(source: Facts, target: Facts) -> list[Difference]:
    before, after = source.width_px / source.height_px, target.width_px / target.height_px
    if max(before, after) / min(before, after) < 1.05:
        return []
    value = f"{source.width_px}x{source.height_px} to {target.width_px}x{target.height_px}"
    if after > before:
        return [Difference("frame", "make the frame wider", "把画幅变宽", "background", value)]
    return [Difference("frame", "make the frame taller", "把画幅变高", "background", value)]
