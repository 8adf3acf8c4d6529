"""Entities and their links -> the concept graph of a knowledge base: ranked, pruned, and in one forest.

Z-Image (arXiv 2511.22699, section 2.3): entities of exceptionally low PageRank and those that nobody can draw are pruned; what
stays hangs under what it is a kind of. Tables stream by in parts; what is held of an entity are its numbers, the hash of its
title and the line that says why, about 150 bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.schema import CONCEPTS, conform
from graph.ancestry import forest
from graph.hypernyms import Titles, linked_parents, named_parents
from graph.pagerank import pagerank
from graph.visual import NEVER, Judge, TextAxis, Verdict, visual_evidence, visual_verdicts

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ReadEntities = Callable[[Sequence[str] | None], Iterable[pa.Table]]
"""Reads ENTITIES part by part, all columns or those named."""

ReadLinks = Callable[[], Iterable[pa.Table]]
"""Reads LINKS part by part."""


@dataclass(frozen=True)
class Pruning:
    """What has to be reached to stay in the graph."""

    min_visual: float = 0.5
    min_quantile: float = 0.05  # of PageRank among articles
    min_pagerank: float = 0.0  # in units of 1 / number of entities


def concepts(
    *,
    entities: ReadEntities,
    links: ReadLinks,
    pruning: Pruning = Pruning(),
    damping: float = 0.85,
    weighted: bool = True,
    personalisation: Floats | None = None,
    max_depth: int = 6,
    classes: Mapping[str, Sequence[str]] | None = None,
    axis: TextAxis | None = None,
    judge: Judge | None = None,
) -> Iterator[pa.Table]:
    """Yield CONCEPTS, one table per part of ENTITIES and row-aligned with it.

    damping, weighted, personalisation: see graph.pagerank. max_depth: largest level. classes, axis: see graph.visual. judge:
    asked about every entity whose PageRank suffices. Raises ValueError for links to entities that do not exist.
    """
    kinds = np.concatenate([np.empty(0, "S16"), *(np.array(part["kind"].to_pylist(), "S16") for part in entities(["kind"]))])
    is_thing, is_article = ~np.isin(kinds, np.array(NEVER, "S16")), kinds == b"article"
    rank = pagerank(links(), num_nodes=len(is_thing), damping=damping, weighted=weighted, personalisation=personalisation)
    cut = rank_cut(rank, is_article, pruning)
    seen = _seen(entities, rank >= cut, classes, axis, judge)
    visual = np.concatenate([np.empty(0, np.float32), *(part["visual"].to_numpy() for part in seen)])
    keep = is_thing & (visual >= pruning.min_visual) & (rank >= cut)
    parent, level = _hierarchy(entities, links, np.where(keep, rank, 0.0), keep, max_depth)
    first = 0
    for part in seen:
        rows = np.arange(first, first + part.num_rows)
        yield _part(rows, part, rank, cut, pruning, keep, parent, level)
        first += part.num_rows


def rank_cut(rank: Floats, is_article: Flags, pruning: Pruning) -> float:
    """Return the PageRank below which an entity goes: the quantile among articles or the threshold, whichever is higher.

    Titles without an article do not count for the quantile: in a part of a dump they are nearly all, and each has a link.
    """
    if not len(rank):
        return 0.0
    # "lower" is a rank that occurs, so of many that are equal (pages without links) none is below it
    quantile = float(np.quantile(rank[is_article], pruning.min_quantile, method="lower")) if is_article.any() else 0.0
    return max(quantile, pruning.min_pagerank / len(rank))


def _seen(
    entities: ReadEntities,
    ranked: Flags,
    classes: Mapping[str, Sequence[str]] | None,
    axis: TextAxis | None,
    judge: Judge | None,
) -> list[pa.Table]:
    """Return visual, judge and reason of every entity, part by part; a judge is asked only about those with enough rank."""
    found: list[pa.Table] = []
    first = 0
    for part in entities(None):
        verdicts = visual_evidence(part, classes=classes, axis=axis)
        asked = np.flatnonzero(ranked[first : first + part.num_rows])
        if judge is not None and len(asked):
            judged = visual_verdicts(part.take(asked), [verdicts[place] for place in asked], judge)
            for place, verdict in zip(asked.tolist(), judged, strict=True):
                verdicts[place] = verdict
        found.append(_verdict_table(verdicts))
        first += part.num_rows
    return found


def _verdict_table(verdicts: Sequence[Verdict]) -> pa.Table:
    return pa.table(
        {
            "visual": pa.array([verdict.visual for verdict in verdicts], pa.float32()),
            "judge": pa.array([verdict.judge for verdict in verdicts], pa.string()).dictionary_encode(),
            "reason": pa.array([verdict.reason for verdict in verdicts], pa.string()),
        }
    )


def _hierarchy(entities: ReadEntities, links: ReadLinks, importance: Floats, keep: Flags, max_depth: int) -> tuple[Rows, Rows]:
    """Return parent and level of every entity; what is not kept is a root that nothing hangs under."""
    titles = Titles(_kept_titles(entities, keep), importance)
    found: list[tuple[Rows, Rows, Floats]] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    silent = np.zeros(len(keep), bool)
    first = 0
    for part in entities(["categories", "description"]):
        child, parent, strength = named_parents(part, first, titles)
        found.append((child[keep[child]], parent[keep[child]], strength[keep[child]]))
        silent[first : first + part.num_rows] = _says_nothing(part)
        first += part.num_rows
    orphan = keep & silent
    if orphan.any():
        found.append(linked_parents(links(), importance, orphan))
    child, parent, strength = (np.concatenate(column) for column in zip(*found, strict=True))
    return forest(child=child, parent=parent, strength=strength, importance=importance, max_depth=max_depth)


def _kept_titles(entities: ReadEntities, keep: Flags) -> Iterator[tuple[Rows, list[str]]]:
    first = 0
    for part in entities(["title"]):
        rows = np.flatnonzero(keep[first : first + part.num_rows])
        yield first + rows, part["title"].take(rows).to_pylist()
        first += part.num_rows


def _says_nothing(part: pa.Table) -> Flags:
    rows = zip(part["categories"].to_pylist(), part["description"].to_pylist(), strict=True)
    return np.array([not categories and not description for categories, description in rows], bool)


def _part(
    rows: Rows, seen: pa.Table, rank: Floats, cut: float, pruning: Pruning, keep: Flags, parent: Rows, level: Rows
) -> pa.Table:
    reasons = [
        _reason(why, float(rank[row]), cut, visual >= pruning.min_visual)
        for row, why, visual in zip(rows.tolist(), seen["reason"].to_pylist(), seen["visual"].to_pylist(), strict=True)
    ]
    table = pa.table(
        {
            "entity": rows,
            "pagerank": rank[rows],
            "visual": seen["visual"],
            "judge": seen["judge"].cast(pa.string()),
            "reason": pa.array(reasons, pa.string()),
            "keep": keep[rows],
            "parent": pa.array(parent[rows], pa.int64(), mask=parent[rows] < 0),
            "level": pa.array(level[rows], pa.int16()),
        }
    )
    return conform(table, CONCEPTS)


def _reason(why: str, rank: float, cut: float, is_visual: bool) -> str:
    if not is_visual:
        return f"not visual: {why}"
    return f"PageRank {rank:.2e} is below {cut:.2e}; {why}" if rank < cut else why
