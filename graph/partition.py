"""Components of the similarity graph -> communities and stars, from the stored vectors.

Edges of the join decide who is connected; inside a component every cosine is computed anew, so that a group of 500 copies is a
group of 500 copies and no list was too short for it. A component that one star explains is done; the others are divided by
CPM with the accepted similarity as resolution, and every community into stars. Nothing depends on other components.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.leiden import Method, cpm_dense, seed_of
from graph.scan import NEAR
from graph.sparse import divide
from graph.stars import by_size, edge_stars, first_star, stars

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
Edges = tuple[Rows, Rows, Floats]
"""Both ends of every edge, and its cosine."""

APART = 0.05
"""How much less than the product of their cosines to the hub two copies may have, before one star is doubted."""
Waiting = defaultdict[int, list[tuple[Rows, Floats]]]
"""Communities, by size: their members and cosines."""
FOLLOWERS = 1 << 13
"""Members whose cosines to their keepers are computed at a time."""
TILE = 1 << 22
"""Cosines held at a time for components of one size."""
TILE_ROWS = 1 << 14
"""Members whose vectors are held at a time for components of one size."""


@dataclass(frozen=True)
class Rule:
    """How components are divided, and when an image may stand for another; see `partition`."""

    accepted_similarity: float
    keeper_similarity: float
    sure_similarity: float
    max_partial: float
    method: Method
    max_dense: int


@dataclass(frozen=True)
class Nodes:
    """What is known of the members of some components."""

    vectors: Callable[[Rows], Floats]  # gives the unit vectors of positions
    ids: NDArray[np.str_]  # (m,) content id
    rank: Rows  # (m,) place in the order of preference
    edges: Callable[[Rows], Edges] | None = None  # gives the edges among sorted positions, as positions among these


@dataclass(frozen=True)
class Partition:
    """Communities and keepers of some members, as positions among them."""

    community: Rows  # (m,) position of its first member
    keeper: Rows  # (m,)
    similarity: Floats  # (m,) cosine to the keeper, 1 for a keeper


def partition(
    *,
    vectors: Callable[[Rows], Floats],
    component: Rows,
    ids: NDArray[np.str_],
    rank: Rows,
    accepted_similarity: float = 0.70,
    keeper_similarity: float = 0.75,
    sure_similarity: float = 0.86,
    max_partial: float = 0.33,
    method: Method = "igraph",
    max_dense: int = 3000,
    edges: Callable[[Rows], Edges] | None = None,
) -> Partition:
    """Return communities and keepers of the members of some components.

    vectors: gives the unit vectors of positions. component, ids, rank: (m,) name of the component, content id, and place in
    the order of preference of every member. accepted_similarity: CPM's resolution, the mean cosine inside a community.
    keeper_similarity, sure_similarity, max_partial: as in `stars`. max_dense: a larger component is divided by its edges
    alone, which `edges` gives for sorted positions, as positions among these; without `edges` it is a ValueError.
    """
    nodes = Nodes(vectors, ids, rank, edges)
    rule = Rule(accepted_similarity, keeper_similarity, sure_similarity, max_partial, method, max_dense)
    count = len(component)
    found = Partition(np.arange(count), np.arange(count), np.ones(count, np.float32))
    order = np.lexsort((nodes.ids, component))
    waiting: Waiting = defaultdict(list)
    for positions in by_size(component[order]):
        size = positions.shape[1]
        if size > rule.max_dense:
            for members in order[positions]:
                _divide_large(found, np.sort(members), nodes, rule)
            continue
        step = max(1, min(TILE // size**2, TILE_ROWS // size))
        for begin in range(0, len(positions), step):
            _divide_small(found, order[positions[begin : begin + step]], waiting, nodes, rule)
            _settle_full(found, waiting, nodes.rank, rule, limit=TILE)
    _settle_full(found, waiting, nodes.rank, rule, limit=0)
    return found


def _divide_small(found: Partition, members_BM: Rows, waiting: Waiting, nodes: Nodes, rule: Rule) -> None:
    """Settle the components of one size that one star explains; the communities of the others wait for more of their size."""
    similarity = _cosines(nodes.vectors, members_BM)
    one = _explained(similarity, nodes.rank[members_BM], rule)
    _settle(found, members_BM[one], similarity[one], nodes.rank, rule)
    for rest in np.flatnonzero(~one):
        members = members_BM[rest]
        for inside in _groups(_communities(similarity[rest], members, nodes, rule)):
            waiting[len(inside)].append((members[inside], similarity[rest][np.ix_(inside, inside)]))


def _divide_large(found: Partition, members: Rows, nodes: Nodes, rule: Rule) -> None:
    """Settle one component by the edges the join found; its communities of up to `max_dense` members by all their cosines."""
    if nodes.edges is None:
        raise ValueError(f"a component of {len(members)} members is larger than max_dense = {rule.max_dense} and needs its edges")
    a, b, weight = nodes.edges(members)
    near = weight >= np.float32(NEAR)
    head = edge_stars(a[near], b[near], np.arange(len(members)))
    heads = int((head == np.arange(len(members))).sum())
    if heads < len(members) and heads <= rule.max_dense:
        _divide_heads(found, members, head, nodes, rule)
        return
    label = divide(
        component=np.zeros(len(members), np.int64), ids=nodes.ids[members], a=a, b=b, weight=weight,
        resolution=rule.accepted_similarity, method=rule.method,
    )  # fmt: skip
    for inside in _groups(label):
        some = members[inside]
        if len(some) <= rule.max_dense:
            _settle(found, some[None], _cosines(nodes.vectors, some[None]), nodes.rank, rule)
            continue
        found.community[some] = some[0]
        near = (label[a] == inside[0]) & (label[b] == inside[0]) & (weight >= np.float32(rule.keeper_similarity))
        keeper = edge_stars(a[near], b[near], nodes.rank[members])
        found.keeper[some] = members[keeper[inside]]
        found.similarity[some] = np.vecdot(nodes.vectors(some), nodes.vectors(found.keeper[some]))


def _divide_heads(found: Partition, members: Rows, head: Rows, nodes: Nodes, rule: Rule) -> None:
    """Settle a component of nearly equal members through few of them, to which the others follow.

    head: position of the member that each follows; those that are their own are the heads. A follower stands for itself where
    it is not close enough to the keeper of its head.
    """
    leads = head == np.arange(len(members))
    some = members[leads]
    some = some[np.argsort(nodes.ids[some], kind="stable")]
    similarity = _cosines(nodes.vectors, some[None])[0]
    for inside in _groups(_communities(similarity, some, nodes, rule)):
        _settle(found, some[None, inside], similarity[None][:, inside][:, :, inside], nodes.rank, rule)
    rows, lead_of = members[~leads], members[head[~leads]]
    found.community[rows] = found.community[lead_of]
    for begin in range(0, len(rows), FOLLOWERS):
        piece, lead = rows[begin : begin + FOLLOWERS], lead_of[begin : begin + FOLLOWERS]
        keeper = found.keeper[lead]
        close = np.minimum(np.vecdot(nodes.vectors(piece), nodes.vectors(keeper)), np.float32(1))
        able = close >= np.float32(rule.keeper_similarity)
        found.keeper[piece], found.similarity[piece] = np.where(able, keeper, piece), np.where(able, close, np.float32(1))


def _communities(similarity: Floats, members: Rows, nodes: Nodes, rule: Rule) -> Rows:
    """Return the labels that CPM gives members in the order of their ids, by all their cosines."""
    seed = seed_of(str(nodes.ids[members[0]]))
    return cpm_dense(similarity, resolution=rule.accepted_similarity, seed=seed, method=rule.method)


def _groups(label: Rows) -> Iterator[Rows]:
    """Yield the positions of every label, in order of first occurrence."""
    order = np.argsort(label, kind="stable")
    cuts = np.flatnonzero(np.diff(label[order])) + 1
    yield from sorted(np.split(order, cuts), key=lambda group: int(group[0])) if len(label) else ()


def _cosines(vectors: Callable[[Rows], Floats], members_BM: Rows) -> Floats:
    rows = vectors(members_BM.ravel()).reshape(*members_BM.shape, -1)
    similarity = np.matmul(rows, rows.swapaxes(1, 2))
    return np.asarray(np.minimum(similarity, np.float32(1)))


def _explained(similarity: Floats, rank: Rows, rule: Rule) -> NDArray[np.bool_]:
    """Say which components are one star.

    The hub reaches every member, none shares more than the hub with the others, and none shares less: two copies at a cosine t
    from their source are t^2 from each other, and a collage of two pictures is a hub whose members are farther apart.
    """
    reach = similarity >= np.float32(rule.keeper_similarity)
    everyone = np.ones(rank.shape, bool)
    _, cover, unlike = first_star(
        similarity, reach, everyone, rank, sure_similarity=rule.sure_similarity, max_partial=rule.max_partial
    )
    together = similarity.min((1, 2)) >= rule.keeper_similarity**2 - APART
    return np.asarray(cover.all(1) & ~unlike.any(1) & together)


def _settle_full(found: Partition, waiting: Waiting, rank: Rows, rule: Rule, *, limit: int) -> None:
    """Settle the waiting communities of every size that hold more than `limit` cosines together."""
    for size in [size for size, some in waiting.items() if len(some) * size * size > limit]:
        members, similarity = zip(*waiting.pop(size), strict=True)
        if size > 1:  # one image alone is its own keeper
            _settle(found, np.stack(members), np.stack(similarity), rank, rule)


def _settle(found: Partition, members: Rows, similarity: Floats, rank: Rows, rule: Rule) -> None:
    """Write the communities `members` (B, M) and their stars into `found`."""
    if not members.size:
        return
    keeper = stars(
        similarity,
        rank[members],
        min_similarity=rule.keeper_similarity,
        sure_similarity=rule.sure_similarity,
        max_partial=rule.max_partial,
    )
    found.community[members] = members.min(1, keepdims=True)
    found.keeper[members] = np.take_along_axis(members, keeper, 1)
    close = np.take_along_axis(similarity, keeper[:, :, None], 2)[:, :, 0]
    found.similarity[members] = np.where(keeper == np.arange(members.shape[1]), np.float32(1), close)
