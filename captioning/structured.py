"""The structured answer: one JSON object with every caption of an image, its schema, and the reader of what models make of it.

A schema is a wish: servers ignore it, fence the JSON, talk before it, cut it, loop in it. The reader accepts what has one
meaning and notes what it had to overlook; where two readings are possible, or the end is missing, it refuses the whole answer
and says why, because half an answer that looks whole is worse than none.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}
MAX_CHARACTERS = 200_000
"""Longer answers are loops."""
FENCE = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\n?(.*?)```", re.DOTALL)
THINKING = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
OPEN_THINKING = re.compile(r"<(think|thinking|reasoning)>", re.IGNORECASE)
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """What an answer says: captions by (language, level), or one line on why it cannot be read.

    notes: what was overlooked on the way (fence, leading_text, trailing_comma, ...). missing: captions that are not in it.
    """

    captions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    fault: str | None = None
    notes: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()


def answer_schema(languages: Sequence[str], levels: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of an answer: the text read first, then an object of levels per language.

    Properties stand in the order in which a model writes them, so that what it read is there before it describes.
    """
    captions = {level: {"type": "string", "minLength": 1} for level in levels}
    by_language = {
        name: {"type": "object", "properties": captions, "required": list(levels), "additionalProperties": False}
        for name in languages
    }
    return {
        "type": "object",
        "properties": {"text": {"type": "array", "items": {"type": "string"}}, **by_language},
        "required": ["text", *languages],
        "additionalProperties": False,
    }


def read_answer(text: str, *, languages: Sequence[str], levels: Sequence[str], cut: bool = False) -> Answer:
    """Return the captions of an answer.

    cut: the model was stopped before it ended (finish_reason "length"); its JSON counts as cut even when it can be read.
    """
    if cut:
        return Answer(fault="cut: the answer reached the limit of tokens")
    try:
        value, notes = read_object(text)
        return _captions(value, languages, levels, notes)
    except ValueError as error:
        return Answer(fault=str(error))


def read_object(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return the one JSON object in a model's answer, and notes on what stood around it.

    Raises ValueError, one line, when there is none, more than one, or one that is cut or can be read in two ways.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"too_long: {len(text)} characters")
    notes: list[str] = []
    body = text.lstrip("\ufeff").strip()
    if (rest := THINKING.sub("", body)) != body:
        notes.append("thinking")
        body = rest.strip()
    if OPEN_THINKING.search(body):
        raise ValueError("cut: the model was still thinking")
    body = _unfenced(body, notes)
    start = body.find("{")
    if start < 0:
        raise ValueError("no_json: there is no object in the answer" if body else "empty: the answer is empty")
    if body[:start].strip():
        notes.append("leading_text")
    value, after = _decoded(body[start:], notes)
    if "{" in after:
        raise ValueError("several_objects: more than one JSON object")
    if after:
        notes.append("trailing_text")
    return value, notes


def _unfenced(body: str, notes: list[str]) -> str:
    """Return what stands in the only Markdown fence that holds an object; the text itself when there is none."""
    inside = [found for found in FENCE.findall(body) if "{" in found]
    outside = FENCE.sub("", body)
    if len(inside) > 1:
        raise ValueError("several_objects: more than one fenced block of JSON")
    if len(inside) == 1 and "{" not in outside:
        notes.append("fence")
        if outside.strip():
            notes.append("leading_text")
        return str(inside[0]).strip()
    if body.startswith("```"):  # a fence that is not closed: the object inside may still be whole
        notes.append("open_fence")
        return body.partition("\n")[2].strip() or body.strip("`")
    return body


def _decoded(body: str, notes: list[str]) -> tuple[dict[str, Any], str]:
    """Return the object that `body` begins with, and what stands behind it."""
    try:
        return _raw(body, notes)
    except json.JSONDecodeError as error:
        if _is_cut(body):
            raise ValueError("cut: the JSON ends before it is complete") from None
        mended = _without_trailing_commas(body)
        if mended == body:
            raise ValueError(f"bad_json: {error.msg} at character {error.pos}") from None
    notes.append("trailing_comma")
    try:
        return _raw(mended, notes)
    except json.JSONDecodeError as error:
        raise ValueError(f"bad_json: {error.msg} at character {error.pos}") from None


def _raw(body: str, notes: list[str]) -> tuple[dict[str, Any], str]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found and found[key] != value:
                raise ValueError(f"duplicate_key: {key[:40]!r} has two values")
            if key in found:
                notes.append("duplicate_key")
            found[key] = value
        return found

    try:
        value, end = json.JSONDecoder(object_pairs_hook=unique, strict=False, parse_constant=_refuse).raw_decode(body)
    except RecursionError:
        raise ValueError("bad_json: nested too deeply") from None
    assert isinstance(value, dict)  # it begins with a brace
    return value, body[end:].strip()


def _refuse(name: str) -> Any:
    raise ValueError(f"bad_json: {name} is no JSON")


def _is_cut(body: str) -> bool:
    """Tell whether brackets or a string are still open at the end."""
    bare = STRING.sub("", body)
    return '"' in bare or bare.count("{") > bare.count("}") or bare.count("[") > bare.count("]")


def _without_trailing_commas(body: str) -> str:
    """Return JSON without commas before a closing bracket, strings untouched."""
    pieces: list[str] = []
    last = 0
    for found in STRING.finditer(body):
        pieces += [_no_comma(body[last : found.start()]), found.group()]
        last = found.end()
    return "".join([*pieces, _no_comma(body[last:])])


def _no_comma(bare: str) -> str:
    return re.sub(r",(\s*[}\]])", r"\1", bare)


def _captions(value: Mapping[str, Any], languages: Sequence[str], levels: Sequence[str], notes: list[str]) -> Answer:
    found: dict[tuple[str, str], str] = {}
    missing: list[tuple[str, str]] = []
    for language in languages:
        by_level = value.get(language, value.get(LANGUAGE_NAMES.get(language, "")))
        for level in levels:
            text = _text(by_level.get(level) if isinstance(by_level, Mapping) else None, level, language)
            if text is None:
                missing.append((language, level))
            else:
                found[language, level] = text
    if set(value) - {"text", *languages, *(LANGUAGE_NAMES.get(name, name) for name in languages)}:
        notes.append("extra_keys")
    if not found:
        return Answer(fault="no_captions: none of the captions asked for is in the answer", notes=tuple(dict.fromkeys(notes)))
    return Answer(found, None, tuple(dict.fromkeys(notes)), tuple(missing))


def _text(value: Any, level: str, language: str) -> str | None:
    """Return a caption's text; a list of tags becomes one line, anything else that is no text counts as missing."""
    if level == "tags" and isinstance(value, list) and value and all(isinstance(item, str) and item.strip() for item in value):
        return ("，" if language == "zh" else ", ").join(item.strip() for item in value)
    return value if isinstance(value, str) and value.strip() else None
