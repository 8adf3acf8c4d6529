"""Questions to a model, from jinja templates that a user may replace file by file.

Ours are captioning/prompts/*.j2; a folder of the user's overrides those that it holds. A template sees only the values it is
given: a name that is missing is an error and not an empty string. Text from outside enters through the filter `data`, which
writes JSON and escapes angle brackets, so that it can neither end the block it stands in nor spell a special token of a chat
format.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, PackageLoader, StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from captioning.answer import Ask, Message
from captioning.structured import LANGUAGE_NAMES, answer_schema
from captioning.validate import WORDS, Evidence
from curation.errors import ConfigError

CAPTION_TEMPLATES = ("caption_system.j2", "caption.j2", "repair.j2")
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "`": "\\u0060", "[INST": "\\u005bINST", "[/INST": "\\u005b/INST"}


class Prompts:
    """The templates in force: ours, with those that a folder replaces."""

    def __init__(self, folder: str | None = None) -> None:
        self._folder = Path(folder).expanduser() if folder else None
        self._own = sorted(path.name for path in _packaged())
        loaders: list[Any] = [PackageLoader("captioning", "prompts")]
        if self._folder is not None:
            self._check(self._folder)
            loaders.insert(0, FileSystemLoader(self._folder))
        self._environment = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader(loaders), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
        )
        self._environment.filters |= {"data": as_data, "language_name": lambda name: LANGUAGE_NAMES.get(name, name)}

    def _check(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigError(f"caption.prompts {folder} is no folder")
        held = {path.name for path in folder.glob("*.j2")}
        if not held & set(self._own):
            raise ConfigError(
                f"caption.prompts {folder} replaces no prompt: it must hold one or more of {', '.join(self._own)}, "
                "copied from imageloom's captioning/prompts and changed"
            )

    def render(self, template: str, **values: Any) -> str:
        """Return the text of a template; raises ConfigError, one line, naming the file and the line that is wrong."""
        try:
            return self._environment.get_template(template).render(**values).strip()
        except TemplateSyntaxError as error:
            raise ConfigError(f"{self._where(template)}, line {error.lineno}: {error.message}") from None
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, OverflowError) as error:
            line = _template_line(error)
            told = " ".join(str(error).split())
            raise ConfigError(f"{self._where(template)}{f', line {line}' if line else ''}: {told[:200]}") from None

    def check(self) -> None:
        """Raise ConfigError when a caption template does not render for an image with everything, or with nothing."""
        for values in (EVERYTHING, NOTHING):
            for template in CAPTION_TEMPLATES:
                self.render(template, **values, faults=["zh long: text_missing: ..."])

    def sources(self, names: Iterable[str]) -> dict[str, str]:
        """Return the templates `names` as text, and every further file of the user's folder, which they may include."""
        found = {name: self._source(name) for name in names}
        if self._folder is not None:
            found |= {p.name: p.read_text(encoding="utf-8") for p in sorted(self._folder.glob("*.j2")) if p.name not in self._own}
        return found

    def digest(self, names: Iterable[str], parameters: Mapping[str, Any]) -> str:
        """Return 16 hex digits over templates and parameters: two captions with equal ones were asked for alike."""
        told = json.dumps([self.sources(names), parameters], sort_keys=True, ensure_ascii=True, default=list)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def _source(self, name: str) -> str:
        try:
            return self._environment.loader.get_source(self._environment, name)[0]  # type: ignore[union-attr]
        except (TemplateError, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"{self._where(name)} cannot be read: {error}") from None

    def _where(self, name: str) -> str:
        theirs = self._folder is not None and (self._folder / name).is_file()
        return f"prompt {self._folder / name}" if theirs and self._folder else f"prompt {name}"


_ANY: dict[str, Any] = {
    "width": 640,
    "height": 480,
    "medium": "graphic",
    "languages": ["en", "zh"],
    "levels": list(WORDS),
    "words": {level: list(bounds) for level, bounds in WORDS.items()},
}
EVERYTHING: dict[str, Any] = _ANY | {
    "lines": [{"text": "Tea Tasting", "place": "top", "language": "en"}],
    "watermarks": ["StockPix.com"],
    "sources": {"en": "A poster."},
    "metadata": {"title": "Tea"},
    "entities": [{"title": "Tea", "title_zh": "茶", "description": "drink", "mentioned_as": "Tea"}],
    "labels": {"teapot": 0.9},
}
NOTHING: dict[str, Any] = _ANY | {"lines": [], "watermarks": [], "sources": {}, "metadata": {}, "entities": [], "labels": {}}


def as_data(value: Any) -> str:
    """Return a value from outside as one line of JSON without angle brackets, back ticks or instruction tokens."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=False)
    for sign, escaped in ESCAPES.items():
        text = text.replace(sign, escaped)
    return text


def caption_ask(
    key: str,
    picture: bytes,
    evidence: Evidence,
    prompts: Prompts,
    *,
    languages: Sequence[str],
    levels: Sequence[str],
    words: Mapping[str, tuple[int, int]],
    max_tokens: int = 2048,
    temperature: float = 0.0,
    seed: int = 0,
    structured: bool = True,
) -> Ask:
    """Return the question for all captions of one picture; `structured` asks the server to force the schema."""
    values = caption_values(evidence, languages=languages, levels=levels, words=words)
    messages: list[Message] = [
        {"role": "system", "content": prompts.render("caption_system.j2", **values)},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompts.render("caption.j2", **values)}]},
    ]
    schema = answer_schema(languages, levels) if structured else None
    return Ask(key, messages, (picture,), max_tokens, temperature, seed, schema)


def caption_values(
    evidence: Evidence, *, languages: Sequence[str], levels: Sequence[str], words: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    """Return what the templates of captions may speak of, by name."""
    facts = evidence.facts
    return {
        "width": facts.width_px,
        "height": facts.height_px,
        "medium": facts.medium,
        "lines": [{"text": quote.text, "place": quote.place, "language": quote.language} for quote in facts.quotes],
        "watermarks": list(evidence.marks),
        "sources": dict(facts.sources),
        "metadata": dict(evidence.metadata),
        "entities": [
            _filled(title=e.title, title_zh=e.title_zh, description=e.description, mentioned_as=e.text) for e in facts.entities
        ],
        "labels": {subject.en: round(subject.score, 2) for subject in facts.subjects},
        "languages": list(languages),
        "levels": list(levels),
        "words": {level: list(words[level]) for level in levels},
    }


def repair_ask(ask: Ask, answer: str, told: Sequence[str], evidence: Evidence, prompts: Prompts) -> Ask:
    """Return the question again with the model's answer and what is wrong with it."""
    lines = [quote.text for quote in evidence.facts.quotes]
    again = prompts.render("repair.j2", faults=list(told), lines=lines)
    messages = [*ask.messages, {"role": "assistant", "content": answer[:8000]}, {"role": "user", "content": again}]
    return Ask(f"{ask.key}/repair", messages, ask.images, ask.max_tokens, ask.temperature, ask.seed, ask.json_schema)


def _filled(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _packaged() -> list[Any]:
    return [path for path in files("captioning").joinpath("prompts").iterdir() if path.name.endswith(".j2")]


def _template_line(error: BaseException) -> int | None:
    """Return the line of the template at which an error arose: jinja names it in the innermost frame of the template."""
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename.endswith(".j2"):
            line = frame.tb_lineno
        frame = frame.tb_next
    return line
