"""Looks up one entity of a knowledge base: by title, redirect, Chinese title or the text of links."""

from bisect import bisect_right
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz import fuzz, process, utils

from captioning.site import Site
from curation.errors import ConfigError
from curation.tables import Run
from jobs.knowledge_titles import index, summary

SUGGESTIONS = 4


def look_up(kb: Run, name: str, *, most: int) -> dict[str, Any]:
    """Return what the knowledge base says of the entity a name means most often; raises ConfigError with the nearest titles."""
    candidates = _candidates(kb, name)
    if not candidates:
        nearest = _nearest(kb, name)
        hint = f"; did you mean {', '.join(repr(title) for title in nearest)}?" if nearest else ""
        raise ConfigError(f"{name!r} is no title, redirect or link text in {kb.root}{hint}")
    entity = candidates[0][0]
    (row,) = kb.take("entities", np.array([entity])).to_pylist()
    return {
        "entity": entity,
        **row,
        "names": _names(kb, entity, most),
        "links_out": _links_out(kb, entity, most),
        "links_in_from": _links_in(kb, entity, most),
        "concept": _concept(kb, entity),
        "also_means": [
            {"entity": other, "title": _title(kb, other), "commonness": share} for other, share in candidates[1 : most + 1]
        ],
    }


def _candidates(kb: Run, name: str) -> list[tuple[int, float | None]]:
    """Return the entities that a name means with their commonness, what the title itself means first."""
    name = " ".join(name.replace("_", " ").split())
    by_text: dict[int, int] = {}
    for text in dict.fromkeys((name, Site().title(name), name.lower(), name.title())):
        rows = _anchors_of(kb, text)
        for entity, links in zip(rows.column("entity").to_pylist(), rows.column("links").to_pylist(), strict=True):
            by_text[entity] = by_text.get(entity, 0) + links
    total = sum(by_text.values())
    titles = index(kb).find(pa.array([Site().title(name), name.title()]))
    title = int(next((entity for entity in titles if entity >= 0), -1))
    if title >= 0:
        by_text.setdefault(title, 0)
    ranked = sorted(by_text, key=lambda entity: (entity != title, -by_text[entity], entity))
    return [(entity, by_text[entity] / total if total else None) for entity in ranked]


def _anchors_of(kb: Run, text: str) -> pa.Table:
    part = bisect_right(summary(kb)["range_starts"], text)
    rows = kb.read_part("anchors", part, ["text", "language", "entity", "origin", "links", "occurrences"])
    return rows.filter(pc.equal(rows.column("text"), text))


def _names(kb: Run, entity: int, most: int) -> list[dict[str, Any]]:
    """Return the entity's names, most linked first, with the share of their links that mean it and of their uses that link."""
    found: list[dict[str, Any]] = []
    for part in range(kb.num_parts("anchors")):
        rows = kb.read_part("anchors", part)
        own = rows.filter(pc.equal(rows.column("entity"), entity))
        if own.num_rows:
            same = rows.filter(pc.is_in(rows.column("text"), own.column("text").combine_chunks()))
            totals = same.group_by("text").aggregate([("links", "sum")])
            total = dict(zip(totals.column("text").to_pylist(), totals.column("links_sum").to_pylist(), strict=True))
            found += [_name(row, total[row["text"]]) for row in own.to_pylist()]
    return sorted(found, key=lambda row: (-row["links"], row["origin"] == "anchor", row["text"]))[:most]


def _name(row: dict[str, Any], total: int) -> dict[str, Any]:
    return {
        "text": row["text"],
        "language": row["language"],
        "origin": row["origin"],
        "links": row["links"],
        "commonness": round(row["links"] / total, 4) if total else None,
        "link_probability": round(total / row["occurrences"], 4) if row["occurrences"] else None,
    }


def _links_out(kb: Run, entity: int, most: int) -> dict[str, Any]:
    first = summary(kb)["first_entity"]
    part = bisect_right(first, entity) - 1
    if entity >= first[-1]:
        return {"count": 0, "titles": []}
    rows = kb.read_part("links", part)
    rows = rows.filter(pc.equal(rows.column("source"), entity)).sort_by([("count", "descending"), ("target", "ascending")])
    return {"count": rows.num_rows, "titles": _titles(kb, rows.column("target").to_numpy()[:most])}


def _links_in(kb: Run, entity: int, most: int) -> list[str]:
    sources: list[np.ndarray] = []
    for part in range(kb.num_parts("links")):
        rows = kb.read_part("links", part, ["source", "target"])
        sources.append(rows.filter(pc.equal(rows.column("target"), entity)).column("source").to_numpy())
        if sum(map(len, sources)) >= most:
            break
    return _titles(kb, np.concatenate(sources)[:most])


def _titles(kb: Run, entities: np.ndarray) -> list[str]:
    return [str(title) for title in kb.take("titles", entities, ["title"]).column("title").to_pylist()] if len(entities) else []


def _title(kb: Run, entity: int) -> str:
    return _titles(kb, np.array([entity]))[0]


def _concept(kb: Run, entity: int) -> dict[str, Any] | None:
    """Return the CONCEPTS row with the titles of its parents, nearest first; None before that stage has run."""
    if not kb.has("concepts"):
        return None
    row: dict[str, Any] = kb.take("concepts", np.array([entity])).to_pylist()[0]
    parents: list[int] = []
    above = row["parent"]
    while above is not None and above not in parents:
        parents.append(int(above))
        above = kb.take("concepts", np.array([above]), ["parent"]).column("parent")[0].as_py()
    row["parents"] = [_title(kb, parent) for parent in parents]
    return row


def _nearest(kb: Run, name: str) -> list[str]:
    found: list[tuple[str, float, int]] = []
    for part in range(kb.num_parts("titles")):
        titles = kb.read_part("titles", part, ["title"]).column("title").to_pylist()
        found += process.extract(
            name, titles, scorer=fuzz.ratio, processor=utils.default_process, limit=SUGGESTIONS, score_cutoff=60
        )
    best = sorted(found, key=lambda match: (-match[1], match[0]))
    return list(dict.fromkeys(match[0] for match in best))[:SUGGESTIONS]
