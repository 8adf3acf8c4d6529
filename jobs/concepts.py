"""A list of concepts, from a file or a knowledge base: what a collection ought to show, as phrases in one language or two."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.errors import ConfigError
from curation.items import clean_text
from curation.tables import Run
from graph.words import is_spaceless

NAMES = ("concept", "text", "en", "zh")
"""Fields that hold a phrase; `concept` and `text` may be of either language."""


MOST = 1000
"""Concepts that are taken of a knowledge base."""


@dataclass(frozen=True)
class Concept:
    """A concept: its phrases by language, and how common it ought to be, as a share or as a number of images, or unsaid."""

    phrases: Mapping[str, tuple[str, ...]]
    share: float | None = None
    images: int | None = None

    @property
    def name(self) -> str:
        """Its first phrase."""
        return next(iter(self.phrases.values()))[0]


def read_concepts(path: Path) -> list[Concept]:
    """Return the concepts of a .jsonl, .csv or .txt file, in order, or of a knowledge base's folder, by PageRank.

    A text file holds one phrase per line. Raises ConfigError for an unreadable file, a line without a phrase, a share or number
    out of range, and a folder without concepts.
    """
    if path.is_dir():
        return _of_knowledge(Run(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--concepts {path} cannot be read as UTF-8 text: {error}") from None
    found = [_concept(values, f"{path}, line {number}") for number, values in _lines(path, text)]
    if not found:
        raise ConfigError(
            f"--concepts {path} holds no concept: give one phrase per line, or JSONL or CSV with {', '.join(NAMES)}"
        )
    return found


def _of_knowledge(base: Run) -> list[Concept]:
    """Return the MOST kept entities of highest PageRank of a knowledge base, with their Chinese titles."""
    if not base.has("concepts"):
        raise ConfigError(f"--concepts {base.root} is a folder that has no finished table concepts; is it a knowledge base?")
    concepts = base.read("concepts", ["pagerank", "keep"])
    rank, kept = concepts["pagerank"].to_numpy(), np.flatnonzero(concepts["keep"].to_numpy())
    best = kept[np.lexsort((kept, -rank[kept]))][:MOST]
    titles = base.take("entities", best, ["title", "title_zh"]).to_pylist()
    return [Concept({"en": (row["title"],)} | ({"zh": (row["title_zh"],)} if row["title_zh"] else {})) for row in titles]


def _lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix.lower() == ".csv":
        for number, row in enumerate(csv.DictReader(text.splitlines()), start=2):
            yield number, {name.strip(): value for name, value in row.items() if isinstance(name, str)}
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        yield number, _json(line, f"{path}, line {number}") if path.suffix.lower() in (".jsonl", ".json") else {"text": line}


def _json(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is no JSON: {error}") from None
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be an object with {', '.join(NAMES)}, or a string")
    return value


def _concept(values: Mapping[str, Any], where: str) -> Concept:
    phrases: dict[str, tuple[str, ...]] = {}
    for name in NAMES:
        given = values.get(name)
        for text in given if isinstance(given, list) else [given]:
            if isinstance(text, str) and text.strip():
                language = name if name in ("en", "zh") else ("zh" if is_spaceless(text) else "en")
                phrases[language] = (*phrases.get(language, ()), clean_text(text.strip()))
    if not phrases:
        raise ConfigError(f"{where} has no phrase: one of {', '.join(NAMES)} must hold text")
    share, images = (_number(values.get(name), f"{where}: {name}") for name in ("share", "images"))
    if share is not None and not 0 < share <= 1:
        raise ConfigError(f"{where}: share is {share:g}; it must lie in (0, 1]")
    if images is not None and (images < 1 or images != int(images)):
        raise ConfigError(f"{where}: images is {images:g}; it must be a whole number of at least 1")
    return Concept(phrases, share, None if images is None else int(images))


def _number(value: object, where: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(f"{where} is {value!r}, which is no number") from None
