"""Concepts of a knowledge base: ENTITIES and LINKS to CONCEPTS, in parts aligned with ENTITIES.

A stage of `imageloom knowledge build`. The graph is looked at as a whole, so there is one item.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.bags import fold
from curation.errors import ConfigError
from curation.remedies import file_sha256
from curation.sentences import SentenceEncoder
from curation.tables import Run
from graph.concepts import Pruning, concepts
from graph.prompts import jump, prompt_counts
from graph.visual import TextAxis
from jobs.backends import FREE, backend_settings, load_backend
from jobs.config import parse_config, read_yaml
from jobs.judges import sight
from jobs.stage import Item, Output
from jobs.taxonomy import read_prompts


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return [{"parts": list(range(run.num_parts("entities")))}]


def work(
    run: Run,
    item: Item,
    *,
    min_visual: float = 0.5,
    min_quantile: float = 0.05,
    min_pagerank: float = 0.0,
    damping: float = 0.85,
    max_depth: int = 6,
    text: bool = False,
    classes: str | None = None,
    classes_sha256: str = "",
    prompts: str | None = None,
    prompts_sha256: str = "",
    judge: str = "evidence",
    settings: Mapping[str, Any] | None = None,
    how: Mapping[str, Any] | None = None,
) -> list[Output]:
    """Rank, prune and hang up every entity; see graph.concepts. Checksums make a changed file count as another parameter.

    text: let a text encoder judge titles beside the evidence of pages. classes: TSV of Wikidata items and their classes (P31).
    prompts: user prompts whose entities the ranking favours. judge: evidence, or the backend (vlm, endpoint) that is asked.
    """
    asked = None if judge == "evidence" else sight(load_backend(judge, {**(settings or {}), **(how or {})}).answer)
    made = concepts(
        entities=lambda names: _parts(run, "entities", names),
        links=lambda: _parts(run, "links", ["source", "target", "count"]),
        pruning=Pruning(min_visual=min_visual, min_quantile=min_quantile, min_pagerank=min_pagerank),
        damping=damping,
        personalisation=_jump(run, Path(prompts)) if prompts else None,
        max_depth=max_depth,
        classes=read_classes(Path(classes)) if classes else None,
        axis=TextAxis(SentenceEncoder().encode) if text else None,
        judge=asked,
    )
    return [Output(part, table) for part, table in enumerate(made)]


def _parts(run: Run, table: str, names: Sequence[str] | None) -> Iterator[pa.Table]:
    for part in range(run.num_parts(table)):
        yield run.read_part(table, part, names)


def _jump(run: Run, prompts: Path) -> NDArray[np.float64]:
    """Return the jump of PageRank that prompts ask for; an entity is named by its title or its Chinese title."""
    forms: dict[str, int] = {}
    first = 0
    for part in _parts(run, "entities", ["title", "title_zh"]):
        for place, row in enumerate(part.to_pylist(), start=first):
            for title in filter(None, row.values()):
                forms.setdefault(fold(title), place)
        first += part.num_rows
    return jump(prompt_counts(read_prompts(prompts), forms, [-1] * first))


def read_classes(path: Path) -> Mapping[str, list[str]]:
    """Return Wikidata's classes by item from a file of lines "Q90<TAB>Q515"; raises ConfigError for anything else."""
    found: dict[str, list[str]] = {}
    try:
        lines = path.expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"classes: {path} cannot be read as UTF-8 text: {error}") from None
    for number, line in enumerate(lines, start=1):
        item, tab, kind = line.strip().partition("\t")
        if not line.strip():
            continue
        if not tab or not all(name[:1] == "Q" and name[1:].isdigit() for name in (item, kind)):
            raise ConfigError(f"classes: {path}, line {number} is {line[:60]!r}; write an item, a tab and its class: Q90\tQ515")
        found.setdefault(item, []).append(kind)
    return found


def concept_parameters(
    *, min_visual: float, min_quantile: float, classes: Path | None, prompts: Path | None, judge: Path | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what of the command line the stage depends on, files by content, and the backend's settings that change no answer.

    judge: YAML with one section `endpoint` or `vlm`, as in a run's. Raises ConfigError for a file that cannot be read.
    """
    values: dict[str, Any] = {"min_visual": min_visual, "min_quantile": min_quantile}
    for name, path in (("classes", classes), ("prompts", prompts)):
        if path is not None:
            values |= {name: str(path.expanduser().absolute()), f"{name}_sha256": file_sha256(str(path.expanduser()))}
    if judge is None:
        return values, {}
    config = parse_config({"source": "-", "out": str(judge.parent), **read_yaml(judge)}, origin=str(judge))
    named = [name for name in ("endpoint", "vlm") if getattr(config, name) is not None]
    if len(named) != 1:
        raise ConfigError(f"--judge {judge} must have one section `endpoint` or `vlm`; docs/config.md lists their keys")
    settings = backend_settings(config, named[0])
    free = {key: value for key, value in settings.items() if key in FREE[named[0]]}
    return values | {"judge": named[0], "settings": {key: settings[key] for key in settings.keys() - free.keys()}}, free
