"""Stages of a knowledge base that number the titles and turn links into pairs of numbers."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from captioning.forms import range_starts
from captioning.link_rows import TitleIndex, link_rows, page_entities, title_arrays
from captioning.titles import number_titles
from curation.tables import Run, canonical
from jobs.scratch import mapped, saved, scratch
from jobs.stage import Item, Output

SUMMARY = "summary.json"
"""Beside TITLES: numbers that later stages plan by."""


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces as many parts as PAGES has."""
    return [{"parts": list(range(run.num_parts("pages")))}]


def work(run: Run, item: Item, *, forms_per_range: int, **_: object) -> list[Output]:
    """Number every title of the input."""
    count = run.num_parts("pages")
    found = number_titles(
        (run.read_part("pages", part, ["title", "kind", "redirect"]) for part in range(count)),
        (targets for part in range(count) for targets in _targets(run, part)),
    )
    index_keys, index_entities = title_arrays(found.table)
    pages, entities = _numbers(run, TitleIndex(index_keys, index_entities))
    summary = {
        "articles": found.num_articles,
        "entities": found.num_entities,
        "first_entity": found.first_entity.tolist(),
        "range_starts": range_starts(found.table.column("title"), rows_per_range=forms_per_range),
        **found.counts,
    }
    path = scratch(run, "titles", SUMMARY)
    path.write_bytes(canonical(summary) + b"\n")
    files = saved(run, "titles", keys=index_keys, entities=index_entities, pages=pages, page_entities=entities)
    borders = [found.table.num_rows * part // count for part in range(count + 1)]
    return [
        Output(part, found.table.slice(begin, end - begin).combine_chunks(), files=files | {SUMMARY: path} if part == 0 else {})
        for part, (begin, end) in enumerate(pairwise(borders))
    ]


def _targets(run: Run, part: int) -> Iterator[pa.Array]:
    for chunk in run.read_part("pages", part, ["links"]).column("links").chunks:
        yield chunk.flatten().field("target")


def _numbers(run: Run, index: TitleIndex) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the articles' pages, ascending, and their entities."""
    numbers, entities = [], []
    for part in range(run.num_parts("pages")):
        rows = run.read_part("pages", part, ["page", "title", "text"])
        found = page_entities(rows, index)
        numbered = rows.column("page").is_valid().combine_chunks().to_numpy(zero_copy_only=False) & (found >= 0)
        numbers.append(rows.column("page").combine_chunks().fill_null(0).to_numpy()[numbered])
        entities.append(found[numbered])
    joined = np.concatenate(numbers)
    order = np.argsort(joined, kind="stable")
    return joined[order], np.concatenate(entities)[order]


def summary(run: Run) -> dict[str, Any]:
    """Return what the stage noted beside TITLES."""
    return dict(json.loads(run.store.get(f"titles/{SUMMARY}")))


def index(run: Run) -> TitleIndex:
    """Return the index of all titles, mapped from disk."""
    return TitleIndex(mapped(run, "titles", "keys"), mapped(run, "titles", "entities"))


def plan_links(run: Run, **_: object) -> list[Item]:
    """Return one item per part of PAGES."""
    return [{"parts": [part]} for part in range(run.num_parts("pages"))]


def work_links(run: Run, item: Item, **_: object) -> list[Output]:
    """Return the links of one part of PAGES as pairs of entities."""
    (part,) = item["parts"]
    return [Output(part, link_rows(run.read_part("pages", part, ["title", "text", "links"]), index(run)))]
