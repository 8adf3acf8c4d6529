"""Failures of a model, as a folder of pictures or as JSONL, grouped into cases: one prompt, or one picture without a prompt."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import ConfigError, SourceError
from curation.items import IMAGE_SUFFIXES, clean_text, decode_text

FIELDS = ("prompt", "image", "problem", "wrong", "right", "ok")


@dataclass(frozen=True)
class Failure:
    """One failure: what was asked, the picture that came, what is wrong with it; `ok` marks a control that did not fail.

    wrong, right: a phrase of captions that misleads the model, and what it should say.
    """

    prompt: str | None = None
    image: Path | None = None
    problem: str | None = None
    wrong: str | None = None
    right: str | None = None
    ok: bool = False


@dataclass(frozen=True)
class Case:
    """Failures that count once: all of one prompt, or one picture without a prompt."""

    name: str
    prompt: str | None
    failures: tuple[int, ...]
    ok: bool


def read_failures(path: Path) -> list[Failure]:
    """Return the failures in a folder (pictures, each with an optional .txt prompt) or a JSONL file, in order.

    Raises SourceError when there is nothing at the path, ConfigError for a wrong line or when no failure is in it.
    """
    if path.is_dir():
        found = [_of_file(file) for file in sorted(path.rglob("*")) if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    elif path.is_file():
        found = list(_of_lines(path))
    else:
        raise SourceError(f"--failures {path} does not exist: give a folder of pictures or a JSONL file")
    if not any(not failure.ok for failure in found):
        raise ConfigError(f"--failures {path} holds no failure: pictures with .txt prompts, or JSONL with {', '.join(FIELDS)}")
    return found


def cases(failures: Sequence[Failure]) -> list[Case]:
    """Return the failures grouped by prompt, in order of their first appearance."""
    groups: dict[tuple[str, bool], list[int]] = {}
    for number, failure in enumerate(failures):
        name = " ".join(failure.prompt.split()) if failure.prompt else f"{failure.image or failure.wrong or failure.right}"
        groups.setdefault((name, failure.ok), []).append(number)
    return [Case(name, failures[of[0]].prompt, tuple(of), ok) for (name, ok), of in groups.items()]


def _of_file(path: Path) -> Failure:
    beside = path.with_suffix(".txt")
    prompt = decode_text(beside.read_bytes()) if beside.is_file() else ""
    return Failure(prompt=prompt or None, image=path)


def _of_lines(path: Path) -> Iterator[Failure]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"--failures {path} cannot be read as UTF-8 text: {error}") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _of_line(line, path, f"{path}, line {number}")


def _of_line(line: str, path: Path, where: str) -> Failure:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must be an object with {', '.join(FIELDS)}")
    texts = {name: _text(values, name, where) for name in ("prompt", "problem", "wrong", "right", "image")}
    if not any(texts[name] for name in ("prompt", "image", "wrong", "right")):
        raise ConfigError(f"{where} has neither prompt nor image nor wrong nor right")
    image = texts.pop("image")
    return Failure(image=path.parent / Path(image).expanduser() if image else None, ok=values.get("ok") is True, **texts)


def _text(values: Mapping[str, Any], name: str, where: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{where}: {name} is {value!r}; it must be text")
    return clean_text(value.strip()) or None if value else None
