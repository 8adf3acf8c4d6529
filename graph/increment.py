"""What new images change in a collection whose duplicates are known, and what stays as it was.

Rows below `base_rows` are the base's. An edge that is not the base's has a new image at one end, so a component without a new
image has the edges it had, and everything derived from them: it is not touched. In the others the base's decisions stand as
well unless the user wants them made anew: a keeper stays a keeper, a dropped image stays with the keeper it was verified
against, and new images go to old keepers before they go to each other.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph.duplicates import Kept
from graph.partition import Partition

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


def touched(component: Rows, *, base_rows: int, rows: Rows | None = None) -> Mask:
    """Return which members belong to a component that holds a new image; rows: of the members, their positions by default."""
    numbers = np.arange(len(component)) if rows is None else rows
    return np.isin(component, component[numbers >= base_rows])


def apart(community: Rows, keep: Mask) -> Rows:
    """Return the communities, with every row that is not to be looked at in one of its own."""
    return np.where(keep, community, np.arange(len(community)))


def old_first(rank: Rows, *, base_rows: int) -> Rows:
    """Return the order of preference with the base's rows before all others."""
    order = np.argsort(rank)
    settled = np.concatenate([order[order < base_rows], order[order >= base_rows]])
    place = np.empty(len(rank), np.int64)
    place[settled] = np.arange(len(rank))
    return place


def open_verdicts(verdicts: pa.Table, *, base: pa.Table, exact: pa.Table) -> pa.Table:
    """Return the verdicts that may still decide: all but copies between two of the base's images, or with one it dropped.

    base: DUPLICATES of the base. A new image with the same bytes or pixels as one of the base counts as that one.
    """
    node = exact["representative"].to_numpy()
    a, b = node[verdicts["row_a"].to_numpy()], node[verdicts["row_b"].to_numpy()]
    dropped = np.zeros(len(node), bool)
    dropped[: len(base)] = pc.is_valid(base["keeper_row"]).to_numpy()
    count = len(base)
    closed = dropped[a] | dropped[b] | ((a < count) & (b < count))
    copies = pc.equal(verdicts["relation"], "copy").to_numpy()
    return verdicts.filter(pa.array(~(copies & closed)))


def settle(kept: Kept, *, base: pa.Table) -> Kept:
    """Return the keepers with the base's own decisions as they were, and new copies of its dropped images at these' keepers.

    kept: as found over `open_verdicts`. base: DUPLICATES of the base, its first rows.
    """
    count = len(base)
    rows = np.arange(count)
    old = pc.fill_null(base["keeper_row"], -1).to_numpy()
    old = np.where(old < 0, rows, old)
    keeper, similarity, evidence = kept.keeper.copy(), kept.similarity.copy(), dict(kept.evidence)
    keeper[:count] = old
    similarity[:count] = pc.fill_null(base["similarity"], 1.0).to_numpy()
    told = base["evidence"].to_pylist()
    evidence = {row: text for row, text in evidence.items() if row >= count}
    evidence |= {int(row): told[row] for row in np.flatnonzero(old != rows)}
    moved = np.flatnonzero((np.arange(len(keeper)) >= count) & (keeper < count))
    moved = moved[old[keeper[moved]] != keeper[moved]]
    for row in moved.tolist():
        through = int(kept.keeper[row])  # an exact copy that the base dropped
        keeper[row], similarity[row] = old[through], similarity[through]
        evidence[row] = json.dumps(json.loads(told[through]) | {"through": "same_pixels"}, sort_keys=True)
    return replace(kept, keeper=keeper, similarity=similarity, evidence=evidence)


def attach(
    found: Partition,
    *,
    vectors: Callable[[Rows], NDArray[np.float32]],
    new: Mask,
    old_keeper: Mask,
    keeper_similarity: float,
    sure_similarity: float,
) -> tuple[Rows, NDArray[np.float32]]:
    """Return the keeper of every new node and the cosine to it: an old keeper of its community where one may stand for it.

    found: a partition from scratch of the nodes of touched components. vectors: gives the unit vectors of positions. new,
    old_keeper: which nodes are new, and which are keepers in the base. An old keeper may stand for a new node at
    `sure_similarity`, and at `keeper_similarity` where both are of one star. A new node without one stays in its star if the
    keeper is such a node too, else it stays itself. Old nodes are not decided here.
    """
    keeper, similarity = np.arange(len(new)), np.ones(len(new), np.float32)
    order = np.argsort(found.community, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(found.community[order])) + 1):
        fresh, old = members[new[members]], members[old_keeper[members]]
        if len(fresh) and len(old):
            cosine = vectors(fresh) @ vectors(old).T
            together = found.keeper[fresh][:, None] == found.keeper[old][None, :]
            allowed = (cosine >= sure_similarity) | ((cosine >= keeper_similarity) & together)
            cosine = np.where(allowed, cosine, np.float32(-2))
            best, taken = cosine.argmax(1), allowed.any(1)
            keeper[fresh[taken]] = old[best[taken]]
            similarity[fresh[taken]] = np.minimum(cosine[taken, best[taken]], 1)
    free = new & (keeper == np.arange(len(new)))
    stay = np.flatnonzero(free & free[found.keeper])
    keeper[stay], similarity[stay] = found.keeper[stay], found.similarity[stay]
    return keeper, similarity
