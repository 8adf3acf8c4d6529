"""Concepts of a knowledge base: ENTITIES and LINKS to CONCEPTS, in parts aligned with ENTITIES.

A stage of `imageloom knowledge build`. The graph is looked at as a whole, so there is one item.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from curation.errors import ConfigError
from curation.sentences import SentenceEncoder
from curation.tables import Run
from graph.concepts import Pruning, concepts
from graph.visual import TextAxis
from jobs.stage import Item, Output


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
) -> list[Output]:
    """Rank, prune and hang up every entity; see graph.concepts.

    text: let a text encoder judge titles beside the evidence of pages. classes: TSV of Wikidata items and their classes (P31).
    """
    made = concepts(
        entities=lambda names: _parts(run, "entities", names),
        links=lambda: _parts(run, "links", ["source", "target", "count"]),
        pruning=Pruning(min_visual=min_visual, min_quantile=min_quantile, min_pagerank=min_pagerank),
        damping=damping,
        max_depth=max_depth,
        classes=read_classes(Path(classes)) if classes else None,
        axis=TextAxis(SentenceEncoder().encode) if text else None,
    )
    return [Output(part, table) for part, table in enumerate(made)]


def _parts(run: Run, table: str, names: Sequence[str] | None) -> Iterator[pa.Table]:
    for part in range(run.num_parts(table)):
        yield run.read_part(table, part, names)


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
