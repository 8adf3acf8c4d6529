"""The verb voids: under-covered regions against a reference run, or under-covered concepts of a list, as queries to fetch by."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cards import cards, named
from curation.errors import ConfigError
from curation.tables import Run
from graph.fulltext import FullText
from graph.search import nearest
from graph.voids import Void, concept_voids
from jobs import corpus
from jobs.concepts import Concept, read_concepts
from jobs.void_regions import against_run
from jobs.voids_view import EXAMPLES, Finding, measures, show, write_findings

AT_LEAST = 20
"""Images wanted of a concept that says nothing of its share."""


def find_voids(
    run: Run,
    *,
    reference: Run | None,
    concepts: Path | None,
    out: Path | None,
    regions: int | None = None,
    at_least: int = AT_LEAST,
    as_json: bool = False,
) -> None:
    """Find voids against a run or a list, write voids.jsonl and voids.html, and print a summary or the lines."""
    if (reference is None) == (concepts is None):
        raise ConfigError("voids takes exactly one of --reference and --concepts")
    folder = out or run.root / "voids"
    if reference is not None:
        findings, against = against_run(run, reference, folder, regions=regions), reference.root.name
    else:
        assert concepts is not None
        findings, against = against_concepts(run, read_concepts(concepts), at_least=at_least), concepts.name
    write_findings(folder, findings, run=run, reference=reference, against=against)
    if as_json:
        print(json.dumps(findings, indent=1, ensure_ascii=False))
    else:
        compared = None if reference is None else (int(corpus.counted(reference).sum()), int(corpus.counted(run).sum()))
        show(folder, findings, compared=compared)


def against_concepts(run: Run, concepts: Sequence[Concept], *, at_least: int = AT_LEAST) -> list[Finding]:
    """Return the concepts that fewer kept images show than wanted: `share` or `images` of the concept, else `at_least` images.

    An image shows a concept when its words hold every term of one of the concept's phrases. With a text tower, each finding
    also has the images nearest to the phrase.
    """
    counted = corpus.counted(run)
    total = max(1, int(counted.sum()))
    index = corpus.full_text(run)
    try:
        matching = [_matching(index, concept, counted) for concept in concepts]
        partly = [[hit.row for hit in index.search(concept.name, limit=EXAMPLES, allowed=counted)] for concept in concepts]
    finally:
        index.close()
    targets = np.array([concept.share or (concept.images or at_least) / total for concept in concepts])
    voids = concept_voids(own=np.array([len(rows) for rows in matching]), num_own=total, target_shares=targets)
    nearness = _by_tower(run, [concepts[void.number] for void in voids], counted)
    findings = [
        _concept_finding(run, void, concepts[void.number], matching[void.number], partly[void.number], near)
        for void, near in zip(voids, nearness, strict=True)
    ]
    return [finding | {"void": place} for place, finding in enumerate(findings, start=1)]


def _matching(index: FullText, concept: Concept, counted: NDArray[np.bool_]) -> NDArray[np.int64]:
    found = [index.rows(phrase, allowed=counted) for phrases in concept.phrases.values() for phrase in phrases]
    return np.unique(np.concatenate(found))


def _by_tower(run: Run, concepts: Sequence[Concept], counted: NDArray[np.bool_]) -> list[list[dict[str, Any]]]:
    """Return the images nearest to each concept's name by the text tower; nothing without one."""
    if not concepts or not corpus.has_text_tower(run):
        return [[] for _ in concepts]
    texts = corpus.embed_texts(run, [concept.name for concept in concepts])
    near = nearest(queries=texts, parts=corpus.parts(run), k=EXAMPLES, allowed=counted)
    return [named(cards(run, rows.tolist()), cosine.tolist()) for rows, cosine in near]


def _concept_finding(
    run: Run, void: Void, concept: Concept, rows: NDArray[np.int64], partly: list[int], near: list[dict[str, Any]]
) -> Finding:
    return {
        "void": 0,
        "kind": "concept",
        "concept": concept.name,
        "queries": {language: list(phrases) for language, phrases in concept.phrases.items()},
        "terms": [],
        **measures(void),
        "examples": named(cards(run, rows[:EXAMPLES].tolist())),
        "nearest_own": near or named(cards(run, partly)),
    }
