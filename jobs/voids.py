"""The verb voids: under-covered regions against a reference run, or under-covered concepts of a list, as queries to fetch by."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cards import cards
from curation.errors import ConfigError
from curation.tables import Run
from graph.fulltext import FullText
from graph.regions import Labels, Regions, find_regions, inside, num_regions, region_means, sort_into, with_floors
from graph.search import Floats, nearest
from graph.voids import Void, concept_voids, distinctive_terms, nearest_of, region_voids
from jobs import corpus
from jobs.concepts import Concept, read_concepts
from jobs.voids_view import show, write_findings

Finding = dict[str, Any]
"""One line of voids.jsonl."""

EXAMPLES = 5
"""Images shown and named per void."""
TERM_IMAGES = 200
"""Images of a region whose captions are read for telling words."""
AT_LEAST = 20
"""Images wanted of a concept that says nothing of its share."""

CENTROIDS = "centroids.npy"


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
        show(folder, findings)


def against_run(
    run: Run, reference: Run, out: Path, *, regions: int | None = None, max_q: float = 0.05, seed: int = 0
) -> list[Finding]:
    """Return the regions of the reference's images that `run` covers too little, and write the centroids to `out`.

    Only kept images count where a selection exists. Raises ConfigError when the two runs have different embedders.
    """
    ours, theirs = corpus.model(run), corpus.model(reference)
    if ours != theirs:
        raise ConfigError(
            f"{run.root} was embedded by {ours} and {reference.root} by {theirs}: vectors of two models cannot meet"
        )
    found, labels, cosine = _regions_of(reference, regions, seed)
    own_labels, _ = _sorted(run, found)
    num = len(found.centroids)
    reference_counts, own_counts = (np.bincount(of[of >= 0], minlength=num) for of in (labels, own_labels))
    voids = region_voids(
        reference=reference_counts,
        own=own_counts,
        num_reference=int(_counted(reference).sum()),
        num_own=int(_counted(run).sum()),
        max_q=max_q,
    )
    means = region_means(parts=corpus.parts(reference), labels=labels, num=num, dimension=found.centroids.shape[1])
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / CENTROIDS, means[[void.number for void in voids]])
    return _described_regions(run, reference, voids, labels, cosine, means)


def against_concepts(run: Run, concepts: Sequence[Concept], *, at_least: int = AT_LEAST) -> list[Finding]:
    """Return the concepts that fewer kept images show than wanted: `share` or `images` of the concept, else `at_least` images.

    An image shows a concept when its words hold every term of one of the concept's phrases. With a text tower, each finding
    also has the images nearest to the phrase.
    """
    counted = _counted(run)
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


def _regions_of(reference: Run, regions: int | None, seed: int) -> tuple[Regions, Labels, Floats]:
    counted = _counted(reference)
    num = regions or num_regions(int(counted.sum()))
    try:
        found = find_regions(
            parts=corpus.masked(reference, counted),
            mean=corpus.mean(reference),
            num=num,
            num_images=int(counted.sum()),
            seed=seed,
        )
    except ValueError as error:
        raise ConfigError(f"{reference.root}: {error}") from None
    labels, cosine = sort_into(found, parts=corpus.masked(reference, counted), num_rows=len(counted))
    found = with_floors(found, labels=labels, cosine=cosine)
    return found, inside(found, labels, cosine), cosine


def _sorted(run: Run, regions: Regions) -> tuple[Labels, Floats]:
    counted = _counted(run)
    labels, cosine = sort_into(regions, parts=corpus.masked(run, counted), num_rows=len(counted))
    return inside(regions, labels, cosine), cosine


def _counted(run: Run) -> NDArray[np.bool_]:
    """Return bool (rows,): the kept images, or before the selection those that did not fail."""
    if run.has("selection"):
        return corpus.kept(run)
    return np.asarray(run.read("images", ["error"])["error"].is_null().to_numpy(), bool)


def _described_regions(
    run: Run,
    reference: Run,
    voids: Sequence[Void],
    labels: NDArray[np.int32],
    cosine: NDArray[np.float32],
    means: NDArray[np.float32],
) -> list[Finding]:
    if not voids:
        return []
    near = nearest(queries=means[[v.number for v in voids]], parts=corpus.parts(run), k=3, allowed=_counted(run))
    num_reference = int(reference.offsets("images")[-1])
    index = corpus.full_text(reference) if corpus.has_words(reference) else None
    findings = []
    for place, (void, (rows, similarity)) in enumerate(zip(voids, near, strict=True)):
        members = nearest_of(labels, cosine, void.number, TERM_IMAGES)
        described = cards(reference, members)
        terms = _terms(index, described, num_reference) if index else []
        findings.append(
            {
                "void": place + 1,
                "kind": "region",
                "region": void.number,
                "queries": _queries(described[:EXAMPLES], terms),
                "terms": terms,
                **_measures(void),
                "examples": _named(described[:EXAMPLES]),
                "nearest_own": _named(cards(run, rows.tolist()), similarity.tolist()),
                "centroid": {"file": CENTROIDS, "row": place},
                "reference": str(reference.root),
            }
        )
    if index:
        index.close()
    return findings


def _terms(index: FullText, described: Sequence[Mapping[str, Any]], num: int) -> list[str]:
    """Return telling English words and pairs of words of the captions of a region."""
    inside_terms = [_words(card["captions"].get("en") or card["caption"] or "") for card in described]
    candidates = {term for terms in inside_terms for term in terms}
    often = [term for term in candidates if sum(term in terms for terms in inside_terms) >= min(2, len(inside_terms))]
    whole = {term: index.count(f'"{term}"') for term in sorted(often)}
    return distinctive_terms(inside=[sorted(terms & set(often)) for terms in inside_terms], whole=whole, num_whole=num)


def _words(text: str) -> set[str]:
    """Return the words of three letters or more, and the pairs that stand side by side."""
    words = re.findall(r"[^\W\d_]{3,}", text.lower())
    pairs = re.findall(r"(?=\b([^\W\d_]{3,} [^\W\d_]{3,})\b)", " ".join(text.lower().split()))
    return {*words, *pairs}


def _queries(described: Sequence[Mapping[str, Any]], terms: Sequence[str]) -> dict[str, list[str]]:
    """Return what to search a pool for, by language: the telling words together, then captions of typical images."""
    queries: dict[str, list[str]] = {"en": [" ".join(terms[:3])] if terms else [], "zh": []}
    for card in described:
        lines = dict(card["captions"])
        if not lines and card["caption"]:
            lines = {"en": card["caption"]}
        for language, text in lines.items():
            queries.setdefault(language, [])
            if text not in queries[language] and len(queries[language]) < 4:
                queries[language].append(text)
    return {language: texts for language, texts in queries.items() if texts}


def _measures(void: Void) -> dict[str, Any]:
    measured = {name: value for name, value in asdict(void).items() if name != "number"}
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in measured.items()}


def _named(described: Sequence[Mapping[str, Any]], similarity: Sequence[float] | None = None) -> list[dict[str, Any]]:
    found = [{"row": card["row"], "id": card["id"], "key": card["key"]} for card in described]
    return [one | {"similarity": round(value, 6)} for one, value in zip(found, similarity, strict=True)] if similarity else found


def _matching(index: FullText, concept: Concept, counted: NDArray[np.bool_]) -> NDArray[np.int64]:
    found = [index.rows(phrase, allowed=counted) for phrases in concept.phrases.values() for phrase in phrases]
    return np.unique(np.concatenate(found))


def _by_tower(run: Run, concepts: Sequence[Concept], counted: NDArray[np.bool_]) -> list[list[dict[str, Any]]]:
    """Return the images nearest to each concept's name by the text tower; nothing without one."""
    if not concepts or not corpus.has_text_tower(run):
        return [[] for _ in concepts]
    texts = corpus.embed_texts(run, [concept.name for concept in concepts])
    near = nearest(queries=texts, parts=corpus.parts(run), k=EXAMPLES, allowed=counted)
    return [_named(cards(run, rows.tolist()), cosine.tolist()) for rows, cosine in near]


def _concept_finding(
    run: Run, void: Void, concept: Concept, rows: NDArray[np.int64], partly: list[int], near: list[dict[str, Any]]
) -> Finding:
    return {
        "void": 0,
        "kind": "concept",
        "concept": concept.name,
        "queries": {language: list(phrases) for language, phrases in concept.phrases.items()},
        "terms": [],
        **_measures(void),
        "examples": _named(cards(run, rows[:EXAMPLES].tolist())),
        "nearest_own": near or _named(cards(run, partly)),
    }
