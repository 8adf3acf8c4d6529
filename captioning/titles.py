"""Which title means which entity: articles in the order of the dump, redirects followed to their end, what is only linked to.

What enters is every page's title, kind and redirect and the targets of all links; what leaves is TITLES. Row numbers depend on
the dump alone, not on how it was cut into parts. Titles are held in memory as Arrow strings and joined by 64-bit keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from captioning.string_keys import Keys, find, string_keys
from captioning.wikipedia import FAILED, OTHER, REDIRECT
from curation.schema import TITLES

Integers = NDArray[np.int64]
COMPACT_AT = 4_000_000
"""Pending outside titles at which doubles are removed."""


@dataclass(frozen=True)
class Numbering:
    """TITLES, row i of the first `num_entities` being entity i, and what was found on the way."""

    table: pa.Table
    num_articles: int  # entities with a page in the dump; the others are only linked to
    num_entities: int
    first_entity: Integers  # (parts + 1,): number of the first entity of every part, and of the first outside one
    counts: dict[str, int]  # what the summary tells: repeated titles, redirects in loops, redirects that lead outside


class _Nodes(NamedTuple):
    """Articles, then redirects, each title once."""

    titles: pa.Array
    keys: Keys
    order: Integers  # of keys, ascending
    goal: pa.Array  # title that each redirect leads to

    def find(self, keys: Keys) -> Integers:
        found = find(self.keys[self.order], keys)
        return np.asarray(np.where(found >= 0, self.order[np.maximum(found, 0)], -1), np.int64) if len(self.order) else found


def number_titles(pages: Iterable[pa.Table], link_targets: Iterable[pa.Array]) -> Numbering:
    """Return the numbering of all titles.

    pages: columns title, kind and redirect, part by part. link_targets: titles linked to, in any number of arrays.
    """
    parts = [page.select(["title", "kind", "redirect"]) for page in pages]
    ends = np.cumsum([part.num_rows for part in parts], dtype=np.int64)
    rows = (
        pa.concat_tables(parts)
        if parts
        else pa.table({name: pa.array([], pa.string()) for name in ("title", "kind", "redirect")})
    )
    keys, kinds = string_keys(rows.column("title")), rows.column("kind")
    no_article = np.asarray(
        pc.is_in(kinds, pa.array([REDIRECT, OTHER, FAILED])).combine_chunks().to_numpy(zero_copy_only=False), bool
    )
    titled = keys != 0
    articles, repeated = _first(keys, np.flatnonzero(~no_article & titled))
    is_redirect = np.asarray(pc.equal(kinds, REDIRECT).combine_chunks().to_numpy(zero_copy_only=False), bool)
    candidates = np.flatnonzero(is_redirect & titled)
    candidates = candidates[find(np.sort(keys[articles]), keys[candidates]) < 0]  # an article of the same title counts more
    redirects, _ = _first(keys, candidates)
    nodes = _nodes(rows, keys, articles, redirects)
    ends_at, state = _followed(nodes, len(articles))
    outside = _outside(nodes, len(articles), ends_at, state, link_targets)
    entity = _entities(nodes, len(articles), ends_at, state, outside)
    table = _table(nodes, len(articles), outside, entity)
    counts = {
        "repeated titles": int(repeated),
        "redirects in loops": int((state == LOOP).sum()),
        "redirects that lead outside": int((state == OUTSIDE).sum()),
    }
    first_entity = np.searchsorted(articles, np.concatenate([[0], ends])).astype(np.int64)
    return Numbering(table, len(articles), len(articles) + len(outside), first_entity, counts)


def _first(keys: Keys, rows: Integers) -> tuple[Integers, int]:
    """Return the rows, ascending, that carry their key first, and how many repeat one."""
    _, first = np.unique(keys[rows], return_index=True)
    return np.sort(rows[first]), len(rows) - len(first)


def _nodes(rows: pa.Table, keys: Keys, articles: Integers, redirects: Integers) -> _Nodes:
    chosen = np.concatenate([articles, redirects])
    titles = rows.column("title").cast(pa.large_string()).combine_chunks().take(pa.array(chosen))
    goal = rows.column("redirect").cast(pa.large_string()).combine_chunks().take(pa.array(redirects))
    return _Nodes(titles, keys[chosen], np.argsort(keys[chosen], kind="stable"), goal)


INSIDE, OUTSIDE, LOOP, NOWHERE = 0, 1, 2, 3
"""Where a redirect ends: at an article, at a title that is no page, never, or at no article's title at all."""


def _followed(nodes: _Nodes, num_articles: int) -> tuple[Integers, Integers]:
    """Return the node at which every redirect's chain ends, and how; by pointer doubling, for chains of any length."""
    count = len(nodes.keys)
    goal_keys = string_keys(nodes.goal)
    goal = nodes.find(goal_keys)
    follows = np.arange(count)
    redirects = np.arange(num_articles, count)
    follows[redirects] = np.where(goal >= 0, goal, redirects)
    at = follows
    for _ in range(max(1, count).bit_length() + 1):
        at = at[at]
    end = at[redirects]
    stops = np.concatenate([np.ones(num_articles, bool), goal < 0])
    state = np.where(end < num_articles, INSIDE, np.where(stops[end], OUTSIDE, LOOP))
    last = np.maximum(end - num_articles, 0)
    nowhere = (state == OUTSIDE) & (goal_keys[last] == 0) if len(goal_keys) else np.zeros(0, bool)
    return end, np.where(nowhere, NOWHERE, state)


def _outside(nodes: _Nodes, num_articles: int, end: Integers, state: Integers, link_targets: Iterable[pa.Array]) -> pa.Array:
    """Return the titles that are linked to and are no page, sorted: ends of redirects, redirects in a loop, link targets."""
    leads = nodes.goal.take(pa.array(end[state == OUTSIDE] - num_articles))
    looping = nodes.titles.take(pa.array(np.flatnonzero(state == LOOP) + num_articles))
    pending: list[pa.Array] = [leads, looping]
    size = 0
    for targets in link_targets:
        targets = pc.unique(targets.cast(pa.large_string()))
        targets = targets.filter(pa.array(nodes.find(string_keys(targets)) < 0))
        pending.append(targets)
        size += len(targets)
        if size > COMPACT_AT:
            pending = [pc.unique(pa.chunked_array(pending, pa.large_string()))]
            size = 0
    titles = pc.drop_null(pc.unique(pa.chunked_array(pending, pa.large_string())))
    titles = titles.filter(pc.not_equal(titles, ""))
    return titles.take(pc.sort_indices(titles))


def _entities(nodes: _Nodes, num_articles: int, end: Integers, state: Integers, outside: pa.Array) -> Integers:
    """Return the entity of every node, -1 for a redirect that leads to no article's title."""
    keys = string_keys(outside)
    order = np.argsort(keys, kind="stable")
    redirects = np.arange(num_articles, len(nodes.keys))
    goal_keys = string_keys(nodes.goal)
    aim = nodes.keys[redirects].copy()  # a redirect in a loop stands for itself
    leads = state == OUTSIDE
    aim[leads] = goal_keys[end[leads] - num_articles]
    found = find(keys[order], aim)
    beyond = np.where(found >= 0, num_articles + order[np.maximum(found, 0)] if len(order) else 0, -1)
    through = np.where(state == INSIDE, end, np.where(state == NOWHERE, -1, beyond))
    return np.asarray(np.concatenate([np.arange(num_articles), through]), np.int64)


def _table(nodes: _Nodes, num_articles: int, outside: pa.Array, entity: Integers) -> pa.Table:
    """Return TITLES: articles, outside titles, redirects; row i of the first two is entity i."""
    redirects = np.flatnonzero(entity[num_articles:] >= 0) + num_articles
    own = num_articles + np.arange(len(outside))
    redirects = redirects[entity[redirects] >= 0]
    in_loop = find(np.sort(string_keys(outside)), nodes.keys[redirects]) >= 0
    redirects = redirects[~in_loop]  # already there as an outside title
    titles = [nodes.titles.slice(0, num_articles), outside, nodes.titles.take(pa.array(redirects))]
    origins = ["title"] * num_articles + ["outside"] * len(outside) + ["redirect"] * len(redirects)
    return pa.Table.from_arrays(
        [
            pa.chunked_array(titles, pa.large_string()).cast(pa.string()),
            pa.array(np.concatenate([np.arange(num_articles), own, entity[redirects]])),
            pa.array(origins, pa.string()),
        ],
        schema=TITLES,
    )
