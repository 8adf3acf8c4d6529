"""Candidate pairs for verification: the k-NN lists as a symmetric graph, every pair once.

A pair is a candidate when either image lists the other. Inside a community that verification has found, pairs nobody has
compared yet are worth a look as well: `unverified` names them, so that a dropped image can be compared with its keeper itself.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema

Rows = NDArray[np.int64]
Weights = NDArray[np.floating]


def edges(*, neighbours: pa.Table, min_similarity: float = -1.0, first_row: int = 0) -> pa.Table:
    """Return EDGES: the pairs of NEIGHBOURS of at least `min_similarity`, row_a < row_b, sorted, each once.

    neighbours: all rows of the run from `first_row` on; the position of a row behind it is its global row number.
    """
    lists = neighbours.column("rows").combine_chunks()
    row_a = np.repeat(np.arange(first_row, first_row + len(lists), dtype=np.int64), np.diff(lists.offsets.to_numpy()))
    row_b = lists.flatten().to_numpy()
    cosine = neighbours.column("similarities").combine_chunks().flatten().to_numpy()
    keep = (cosine >= min_similarity) & (row_a != row_b)
    return edge_table(row_a=row_a[keep], row_b=row_b[keep], similarity=cosine[keep])


def edge_table(*, row_a: Rows, row_b: Rows, similarity: Weights) -> pa.Table:
    """Return EDGES from pairs in any order and direction: symmetric pairs once, the larger similarity of the two."""
    low, high, most = heaviest(row_a, row_b, similarity)
    return schema.conform(pa.table({"row_a": low, "row_b": high, "similarity": most.astype(np.float32)}), schema.EDGES)


def heaviest(a: Rows, b: Rows, weight: Weights) -> tuple[Rows, Rows, Weights]:
    """Return every pair once as (low, high, weight), low < high, sorted, with its largest weight; loops are left out."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((-weight, high, low))
    low, high, weight = low[order], high[order], weight[order]
    first = low != high
    first[1:] &= (np.diff(low) != 0) | (np.diff(high) != 0)
    return low[first], high[first], weight[first]


def nearest(*, edges: pa.Table, ids: list[str], k: int) -> pa.Table:
    """Return NEIGHBOURS of a threshold graph: of every row its `k` nearest among the rows it has an edge with, ties by row.

    ids: of all rows. A list is shorter than k where fewer edges are, so a small k forgets edges and a short list is no defect.
    """
    row = np.concatenate([edges["row_a"].to_numpy(), edges["row_b"].to_numpy()])
    other = np.concatenate([edges["row_b"].to_numpy(), edges["row_a"].to_numpy()])
    cosine = np.tile(edges["similarity"].to_numpy(), 2)
    order = np.lexsort((other, -cosine, row))
    row, other, cosine = row[order], other[order], cosine[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    row, other, cosine = row[rank < k], other[rank < k], cosine[rank < k]
    offsets = np.searchsorted(row, np.arange(len(ids) + 1)).astype(np.int32)
    rows, similarities = (pa.ListArray.from_arrays(offsets, values) for values in (other, cosine))
    return schema.conform(pa.table({"id": ids, "rows": rows, "similarities": similarities}), schema.NEIGHBOURS)


def unverified(
    *, row_a: Rows, row_b: Rows, copies: NDArray[np.bool_], community: Rows, max_community_size: int = 64
) -> tuple[Rows, Rows]:
    """Return the pairs (a < b, sorted) inside one community that no verdict speaks of.

    row_a, row_b: the pairs that verdicts speak of, as positions in `community`; copies: which of them are copies.
    max_community_size: in larger communities only the pairs with its best connected images are named, so the number of pairs
    grows with the size, not its square.
    """
    degree = np.bincount(np.concatenate([row_a[copies], row_b[copies]]), minlength=len(community))
    count = max(len(community), 1)
    known = np.minimum(row_a, row_b) * count + np.maximum(row_a, row_b)
    found = [np.empty(0, np.int64)]
    for members in _members(community):
        a, b = _inside(members, degree, max_community_size)
        found.append(np.minimum(a, b) * count + np.maximum(a, b))
    fresh = np.setdiff1d(np.concatenate(found), known)
    return fresh // count, fresh % count


def _members(community: Rows) -> list[Rows]:
    order = np.argsort(community, kind="stable")
    cuts = np.flatnonzero(np.diff(community[order])) + 1
    return [group for group in np.split(order, cuts) if len(group) > 2]


def _inside(members: Rows, degree: Rows, limit: int) -> tuple[Rows, Rows]:
    if len(members) <= limit:
        first, second = np.triu_indices(len(members), 1)
        return members[first], members[second]
    hubs = members[np.lexsort((members, -degree[members]))][:8]
    a, b = np.repeat(hubs, len(members)), np.tile(members, len(hubs))
    return a[a != b], b[a != b]
