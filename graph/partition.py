"""Components of the similarity graph -> communities and stars, from the stored vectors.

Edges of the join decide who is connected; inside a component every cosine is computed anew, so that a group of 500 copies is a
group of 500 copies and no list was too short for it. A component that one star explains is done; the others are divided by
CPM with the accepted similarity as resolution, and every community into stars. Nothing depends on other components.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.leiden import Method, cpm_dense, seed_of
from graph.stars import by_size, first_star, stars

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

APART = 0.05
"""How much less than the product of their cosines to the hub two copies may have, before one star is doubted."""
TILE = 1 << 22
"""Cosines held at a time for components of one size."""


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
    max_partial: float = 0.25,
    method: Method = "igraph",
    max_dense: int = 3000,
) -> Partition:
    """Return communities and keepers of the members of some components.

    vectors: gives the unit vectors of positions. component, ids, rank: (m,) name of the component, content id, and place in
    the order of preference of every member. accepted_similarity: CPM's resolution, the mean cosine inside a community.
    keeper_similarity, sure_similarity, max_partial: as in `stars`. max_dense: a larger component is cut into blocks of that many
    members in order of id before its cosines are computed; the caller reports it.
    """
    count = len(component)
    found = Partition(np.arange(count), np.arange(count), np.ones(count, np.float32))
    order = np.lexsort((ids, component))
    block = _blocks(component[order], max_dense)
    rule = {"sure_similarity": sure_similarity, "max_partial": max_partial}
    for positions in by_size(block):
        step = max(1, TILE // positions.shape[1] ** 2)
        for begin in range(0, len(positions), step):
            members = order[positions[begin : begin + step]]
            similarity = _cosines(vectors, members)
            one = _explained(similarity, rank[members], keeper_similarity, rule)
            _settle(found, members[one], similarity[one], rank, keeper_similarity, rule)
            for rest in np.flatnonzero(~one):
                seed = seed_of(str(ids[members[rest, 0]]))
                label = cpm_dense(similarity[rest], resolution=accepted_similarity, seed=seed, method=method)
                for community in range(int(label.max()) + 1):
                    inside = np.flatnonzero(label == community)
                    _settle(
                        found, members[rest, inside][None], similarity[rest][np.ix_(inside, inside)][None], rank,
                        keeper_similarity, rule,
                    )  # fmt: skip
    return found


def _blocks(component: Rows, max_dense: int) -> Rows:
    """Return the component of sorted members, split where it has more than `max_dense` of them."""
    _, first, place = np.unique(component, return_index=True, return_inverse=True)
    number = (np.arange(len(component)) - first[place]) // max_dense
    return np.cumsum(np.concatenate([[0], (np.diff(place) != 0) | (np.diff(number) != 0)])) if len(component) else component


def _cosines(vectors: Callable[[Rows], Floats], members_BM: Rows) -> Floats:
    rows = vectors(members_BM.ravel()).reshape(*members_BM.shape, -1)
    similarity = np.matmul(rows, rows.swapaxes(1, 2))
    return np.asarray(np.minimum(similarity, np.float32(1)))


def _explained(similarity: Floats, rank: Rows, keeper_similarity: float, rule: dict[str, float]) -> NDArray[np.bool_]:
    """Say which components are one star.

    The hub reaches every member, none shares more than the hub with the others, and none shares less: two copies at a cosine t
    from their source are t^2 from each other, and a collage of two pictures is a hub whose members are farther apart.
    """
    reach = similarity >= np.float32(keeper_similarity)
    _, cover, unlike = first_star(similarity, reach, np.ones(rank.shape, bool), rank, **rule)
    together = similarity.min((1, 2)) >= keeper_similarity**2 - APART
    return np.asarray(cover.all(1) & ~unlike.any(1) & together)


def _settle(
    found: Partition, members: Rows, similarity: Floats, rank: Rows, keeper_similarity: float, rule: dict[str, float]
) -> None:
    """Write the communities `members` (B, M) and their stars into `found`."""
    if not members.size:
        return
    keeper = stars(similarity, rank[members], min_similarity=keeper_similarity, **rule)
    found.community[members] = members.min(1, keepdims=True)
    found.keeper[members] = np.take_along_axis(members, keeper, 1)
    close = np.take_along_axis(similarity, keeper[:, :, None], 2)[:, :, 0]
    found.similarity[members] = np.where(keeper == np.arange(members.shape[1]), np.float32(1), close)
