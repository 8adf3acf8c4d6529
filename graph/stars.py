"""Groups are stars: every dropped image is close to the very image that stands for it.

Enters: the cosines of a community, or its verified edges, and an order of preference. Leaves: the keeper of every member. With
cosines the image with the most others in reach comes first (the hub: a source lies closer to its copies than they to each
other), and among those that reach the same images the preferred one becomes the keeper. What is left forms stars again.

A moderate cosine has two readings: two edits of one source, or two pictures of one class (a burst, a product on white, a form
filled in twice). The hub tells them apart: given their source, copies have nothing more in common, so their cosines are
products, c_ij = c_hi c_hj, and the partial correlation (c_ij - c_hi c_hj) / sqrt((1 - c_hi^2)(1 - c_hj^2)) is near 0.
Pictures of one class share more than the hub: equal cosines r give r / (1 + r). Members below `sure_similarity` that share too
much are no copies. Two pictures alone give no such evidence; there the threshold decides.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

# B communities of one size, M members each

GRID = 1024
"""Sums of cosines are compared in steps of 1 / GRID, so that the last bits of a matrix product decide between no two hubs."""


def stars(
    similarity_BMM: Floats, rank_BM: Rows, *, min_similarity: float, sure_similarity: float = 0.86, max_partial: float = 0.33
) -> Rows:
    """Return the keeper of every member as a position, (B, M); a keeper is its own.

    similarity_BMM: cosines, symmetric. rank_BM: order of preference, 0 the best, without ties. min_similarity: of every member
    to its keeper. sure_similarity: from here on two images are copies whatever else they share. max_partial: mean partial
    correlation given the hub with the other unsure members, above which a member is no copy: a third is what pictures
        of equal cosines 1/2 share; 1 trusts the cosine alone.
    """
    keeper = np.full(rank_BM.shape, -1, np.int64)
    reach = similarity_BMM >= np.float32(min_similarity)
    reach |= np.eye(rank_BM.shape[1], dtype=bool)
    open_ = np.arange(len(rank_BM))
    while len(open_):
        alive = keeper[open_] < 0
        hub, cover, unlike = first_star(
            similarity_BMM[open_], reach[open_], alive, rank_BM[open_], sure_similarity=sure_similarity, max_partial=max_partial
        )
        torn = unlike.any(1)
        if torn.any():
            _tear(reach, similarity_BMM, open_[torn], unlike[torn], hub[torn], sure_similarity)
        done = open_[~torn]
        best = _preferred(reach[done], cover[~torn], rank_BM[done])
        keeper[done] = np.where(cover[~torn], best[:, None], keeper[done])
        open_ = open_[(keeper[open_] < 0).any(1)]
    return keeper


def first_star(
    similarity_BMM: Floats, reach_BMM: Flags, alive_BM: Flags, rank_BM: Rows, *, sure_similarity: float, max_partial: float
) -> tuple[Rows, Flags, Flags]:
    """Return the hub (B,) of each community, the members it covers (B, M) itself included, and those that are no copies of it."""
    every = np.arange(len(rank_BM))
    near = reach_BMM & alive_BM[:, None, :]
    degree = np.where(alive_BM, near.sum(2), -1)
    closeness = np.rint(np.where(near, similarity_BMM, 0).sum(2) * GRID)
    closeness = np.where(degree == degree.max(1, keepdims=True), closeness, -np.inf)
    worse = np.where(closeness == closeness.max(1, keepdims=True), rank_BM, np.iinfo(np.int64).max)
    hub = worse.argmin(1)
    cover = near[every, hub]
    to_hub = similarity_BMM[every, hub]
    unsure = cover & (to_hub < np.float32(sure_similarity))
    unsure[every, hub] = False
    unlike = np.zeros_like(cover)
    doubtful = np.flatnonzero(unsure.sum(1) > 1) if max_partial < 1 else every[:0]
    if len(doubtful):
        unlike[doubtful] = _share_more(similarity_BMM[doubtful], to_hub[doubtful], unsure[doubtful], max_partial)
    return hub, cover, unlike


def _share_more(similarity_BMM: Floats, to_hub_BM: Floats, unsure_BM: Flags, max_partial: float) -> Flags:
    """Return the unsure members whose mean partial correlation with the other unsure ones exceeds `max_partial`."""
    rest = np.sqrt(np.maximum(1 - to_hub_BM**2, 1e-6))
    partial = (similarity_BMM - to_hub_BM[:, :, None] * to_hub_BM[:, None, :]) / (rest[:, :, None] * rest[:, None, :])
    both = unsure_BM[:, :, None] & unsure_BM[:, None, :] & ~np.eye(unsure_BM.shape[1], dtype=bool)
    mean = np.where(both, partial, 0).sum(2) / np.maximum(both.sum(2), 1)
    return np.asarray(unsure_BM & (mean > max_partial))


def _tear(reach: Flags, similarity: Floats, at: Rows, unlike: Flags, hub: Rows, sure_similarity: float) -> None:
    """Leave only sure pairs within reach among the hub and the members that are unlike it, in place."""
    torn = unlike.copy()
    torn[np.arange(len(at)), hub] = True
    pairs = torn[:, :, None] & torn[:, None, :] & ~np.eye(torn.shape[1], dtype=bool)
    reach[at] &= ~pairs | (similarity[at] >= np.float32(sure_similarity))


def _preferred(reach_BMM: Flags, cover_BM: Flags, rank_BM: Rows) -> Rows:
    """Return the best ranked of the covered members that reach all of them."""
    able = cover_BM & (reach_BMM | ~cover_BM[:, None, :]).all(2)
    return np.asarray(np.where(able, rank_BM, np.iinfo(np.int64).max).argmin(1))


def edge_stars(row_a: Rows, row_b: Rows, rank: Rows) -> Rows:
    """Return the keeper of every row, (N,): the best row first takes all rows it has an edge to, then the best of the rest.

    row_a, row_b: edges, each in one direction, of copies that may stand for each other. rank: (N,) order of preference.
    """
    source, target = np.concatenate([row_a, row_b]), np.concatenate([row_b, row_a])
    order = np.argsort(source, kind="stable")
    source, target = source[order], target[order]
    joined = np.unique(source)
    begin, end = np.searchsorted(source, joined, "left"), np.searchsorted(source, joined, "right")
    keeper = np.arange(len(rank), dtype=np.int64)
    taken = np.zeros(len(rank), bool)
    for i in np.argsort(rank[joined], kind="stable").tolist():
        row = joined[i]
        if taken[row]:
            continue
        taken[row] = True
        others = target[begin[i] : end[i]]
        others = others[~taken[others]]
        keeper[others] = row
        taken[others] = True
    return keeper


def by_size(group: Rows) -> Iterator[NDArray[np.int64]]:
    """Yield, for every size from 2 on, positions (B, M) of the members of all groups of that size, by the group's name."""
    order = np.argsort(group, kind="stable")
    _, start, size = np.unique(group[order], return_index=True, return_counts=True)
    for members in np.unique(size[size > 1]):
        yield order[start[size == members][:, None] + np.arange(members)]
