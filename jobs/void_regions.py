"""Regions of a reference run that a collection covers too little, with words, examples and centroids to fetch by."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cards import cards, named
from curation.errors import ConfigError
from curation.tables import Run
from graph.fulltext import FullText
from graph.regions import (
    Labels,
    Regions,
    find_regions,
    inside,
    num_regions,
    region_means,
    regions_of,
    sort_into,
    with_floors,
)
from graph.search import nearest
from graph.vectors import Floats
from graph.voids import Void, distinct_voids, distinctive_terms, nearest_of, region_voids
from jobs import corpus
from jobs.voids_view import EXAMPLES, Finding, measures

TERM_IMAGES = 200
"""Images of a region whose captions are read for telling words."""

FINER = 3
MIN_REGION_IMAGES = 12
"""Each level has FINER times the regions of the one before, while a region holds so many images on average."""

CENTROIDS = "centroids.npy"
"""Beside voids.jsonl: float32 (voids, d), the mean unit vector of each void's images in the reference."""


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
    levels = [_level(run, reference, found) for found in _regions(reference, regions, seed)]
    try:
        voids = region_voids(
            [(level.reference_counts, level.own_counts) for level in levels],
            num_reference=int(corpus.counted(reference).sum()),
            num_own=int(corpus.counted(run).sum()),
            max_q=max_q,
        )
    except ValueError as error:
        raise ConfigError(f"{run.root} against {reference.root}: {error}") from None
    voids = distinct_voids(voids, [level.labels for level in levels])
    means = [
        region_means(parts=corpus.parts(reference), labels=level.labels, num=level.num, dimension=level.dimension)
        for level in levels
    ]
    centroids = np.stack([means[void.level][void.number] for void in voids]) if voids else np.empty((0, levels[0].dimension))
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / CENTROIDS, centroids.astype(np.float32))
    return _described_regions(run, reference, voids, levels, centroids.astype(np.float32))


@dataclass(frozen=True)
class _Level:
    """One granularity: the region of every reference image with its nearness, and the images per region on both sides."""

    labels: Labels
    cosine: Floats
    num: int
    dimension: int
    own_counts: NDArray[np.int64]

    @property
    def reference_counts(self) -> NDArray[np.int64]:
        return np.bincount(self.labels[self.labels >= 0], minlength=self.num)


def _regions(reference: Run, num: int | None, seed: int) -> list[Regions]:
    """Return the reference's regions at each level: k-means cells of `num`, else its HIERARCHY, else cells of three sizes."""
    counted, mean = corpus.counted(reference), corpus.mean(reference)
    if num is None:
        known = [
            regions_of(
                labels=np.where(counted, labels, -1),
                parts=corpus.parts(reference),
                mean=mean,
                min_images=MIN_REGION_IMAGES,
            )
            for labels in corpus.hierarchy(reference)
        ]
        if any(len(found.centroids) > 1 for found in known):
            return [found for found in known if len(found.centroids)]
    total = int(counted.sum())
    try:
        return [
            find_regions(parts=corpus.masked(reference, counted), mean=mean, num=many, num_images=total, seed=seed)
            for many in _granularities(total, num)
        ]
    except ValueError as error:
        raise ConfigError(f"{reference.root}: {error}") from None


def _granularities(num_images: int, num: int | None) -> list[int]:
    """Return how many regions there are at each level: what was asked for, or a size that suits, three and nine times that."""
    if num is not None:
        return [num]
    fine = [FINER**level * num_regions(num_images) for level in range(3)]
    return [fine[0], *(many for many in fine[1:] if many * MIN_REGION_IMAGES <= num_images)]


def _level(run: Run, reference: Run, found: Regions) -> _Level:
    counted, own_counted = corpus.counted(reference), corpus.counted(run)
    labels, cosine = sort_into(found, parts=corpus.masked(reference, counted), num_rows=len(counted))
    found = with_floors(found, labels=labels, cosine=cosine)
    own = inside(found, *sort_into(found, parts=corpus.masked(run, own_counted), num_rows=len(own_counted)))
    num, dimension = found.centroids.shape
    return _Level(inside(found, labels, cosine), cosine, num, dimension, np.bincount(own[own >= 0], minlength=num))


def _described_regions(
    run: Run, reference: Run, voids: Sequence[Void], levels: Sequence[_Level], centroids: Floats
) -> list[Finding]:
    if not voids:
        return []
    near = nearest(queries=centroids, parts=corpus.parts(run), k=3, allowed=corpus.counted(run))
    num_reference = int(reference.offsets("images")[-1])
    index = corpus.full_text(reference) if corpus.has_words(reference) else None
    findings = []
    for place, (void, (rows, similarity)) in enumerate(zip(voids, near, strict=True)):
        level = levels[void.level]
        members = nearest_of(level.labels, level.cosine, void.number, TERM_IMAGES)
        described = cards(reference, members)
        terms = _terms(index, described, num_reference) if index else []
        findings.append(
            {
                "void": place + 1,
                "kind": "region",
                "level": void.level,
                "region": void.number,
                "queries": _queries(described[:EXAMPLES], terms),
                "terms": terms,
                **measures(void),
                "examples": named(described[:EXAMPLES]),
                "nearest_own": named(cards(run, rows.tolist()), similarity.tolist()),
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
