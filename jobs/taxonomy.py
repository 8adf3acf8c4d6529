"""Concepts of a run: what all kept images show, as one forest, with a knowledge base behind it where one is configured."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation.bags import Bag, bags
from curation.errors import ConfigError
from curation.items import clean_text
from curation.sentences import SentenceEncoder
from curation.tables import Run
from graph.group_names import Namer
from graph.hypernyms import class_names
from graph.taxonomy import Entity, Grouping, ReadKnowledge, taxonomy
from jobs.backends import load_backend
from jobs.judges import naming
from jobs.stage import Item, Output


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item: a forest is made of everything at once."""
    return [{"parts": [0]}]


def work(
    run: Run,
    item: Item,
    *,
    languages: Sequence[str],
    min_tag_score: float,
    min_mention_score: float,
    min_images: int,
    group: bool,
    branching: int,
    max_levels: int,
    prior_limit: float,
    prompts: str | None = None,
    prompts_sha256: str = "",
    backend: str = "none",
    settings: Mapping[str, Any] | None = None,
    how: Mapping[str, Any] | None = None,
    knowledge: str | None = None,
    knowledge_digest: str = "",
) -> list[Output]:
    """Make TAXONOMY; see graph.taxonomy.

    Checksums are here so that a changed file makes the stage stale. settings, how: of the backend that names groups; the latter
    change no answer.
    """
    namer, model = _namer(backend, {**(settings or {}), **(how or {})})

    def encode(texts: Sequence[str]) -> np.ndarray:
        return SentenceEncoder().encode(texts)

    made = taxonomy(
        shown=lambda: shown(run, languages=languages, min_tag_score=min_tag_score, min_mention_score=min_mention_score),
        knowledge=entity_reader(Run(knowledge)) if knowledge else None,
        grouping=Grouping(encode, branching, max_levels, namer, model) if group else None,
        min_images=min_images,
        prompts=read_prompts(Path(prompts)) if prompts else None,
        prior_limit=prior_limit,
    )
    return [Output(0, made)]


def shown(run: Run, *, languages: Sequence[str], min_tag_score: float, min_mention_score: float) -> Iterator[list[Bag]]:
    """Yield the bags of the kept images, part by part."""
    names = [name for name in ("tags", "mentions", "captions") if run.has(name)]
    for part in range(run.num_parts("selection")):
        tables = run.aligned(("selection", *names), part)
        keep = tables.pop("selection")["keep"]
        kept = {name: table.filter(keep) for name, table in tables.items()}
        yield bags(**kept, languages=languages, min_tag_score=min_tag_score, min_mention_score=min_mention_score)


def entity_reader(base: Run) -> ReadKnowledge:
    """Return a function that looks up rows of a knowledge base's ENTITIES and CONCEPTS."""

    def read(rows: Sequence[int]) -> dict[int, Entity]:
        places = np.array(rows, np.int64)
        told = base.take("entities", places, ["title", "title_zh", "categories", "description"]).to_pylist()
        titles = [
            {"title": one["title"], "title_zh": one["title_zh"], "classes": class_names(one["categories"], one["description"])}
            for one in told
        ]
        if base.has("concepts"):
            ranked = base.take("concepts", places, ["parent", "pagerank", "keep"]).to_pylist()
        else:
            ranked = [{} for _ in rows]
        return {row: Entity(**title, **rank) for row, title, rank in zip(rows, titles, ranked, strict=True)}

    return read


def _namer(backend: str, settings: Mapping[str, Any]) -> tuple[Namer | None, str]:
    if backend == "none":
        return None, ""
    return naming(load_backend(backend, settings).answer), str(settings.get("model") or backend)


def read_prompts(path: Path) -> Iterator[tuple[str, int]]:
    """Yield prompts and the times each was asked, from .txt (one a line), .jsonl or .csv (`prompt`, `count`).

    Raises ConfigError for a file that cannot be read and a line without a prompt.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"prompts: {path} cannot be read as UTF-8 text: {error}") from None
    kind = path.suffix.lower()
    if kind == ".csv":
        for number, row in enumerate(csv.DictReader(lines), start=2):
            yield _prompt(row, f"{path}, line {number}")
        return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _prompt(
                _object(line, f"{path}, line {number}") if kind == ".jsonl" else {"prompt": line}, f"{path}, line {number}"
            )


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"prompts: {where} is no JSON: {error}") from None
    return found if isinstance(found, dict) else {"prompt": found}


def _prompt(row: Mapping[str, Any], where: str) -> tuple[str, int]:
    text, count = row.get("prompt"), row.get("count")
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"prompts: {where} has no prompt; give text under `prompt`, and its number under `count`")
    try:
        times = 1 if count in (None, "") else int(count)
    except (TypeError, ValueError):
        times = 0
    if times < 1:
        raise ConfigError(f"prompts: {where}: count is {count!r}; it must be a whole number of at least 1")
    return clean_text(text), times
