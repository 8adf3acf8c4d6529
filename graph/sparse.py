"""Communities from edges alone: verified copies, and components too large for all their cosines.

Enters: members with component and id, and weighted edges among them. Leaves: the community of every member. Absent edges
count 0, so the resolution is the share of pairs, by weight, that must be joined inside a community.
"""

import numpy as np
from numpy.typing import NDArray

from graph.edges import heaviest
from graph.leiden import Method, cpm, seed_of

Rows = NDArray[np.int64]
Weights = NDArray[np.floating]


def divide(
    *,
    component: Rows,
    ids: NDArray[np.str_],
    a: Rows,
    b: Rows,
    weight: Weights,
    resolution: float,
    method: Method = "igraph",
    iterations: int = 4,
) -> Rows:
    """Return the community of every member as the position of its first member, (m,).

    component, ids: (m,) of every member. a, b: positions of the ends of every edge, in any order and direction, with
    repetitions; of a pair the largest weight counts.
    """
    count = len(component)
    order = np.lexsort((ids, component))
    number = np.empty(count, np.int64)
    number[order] = np.arange(count)
    low, high, weight = heaviest(number[a], number[b], weight)
    cuts = np.flatnonzero(np.diff(component[order], prepend=-1)) if count else np.empty(0, np.int64)
    ends = np.append(cuts[1:], count)[: len(cuts)]
    first_edge, last_edge = np.searchsorted(low, cuts), np.searchsorted(low, ends)
    community = np.arange(count, dtype=np.int64)
    for begin, end, first, last in zip(cuts, ends, first_edge, last_edge, strict=True):
        members = order[begin:end]
        if end - begin == 1:
            continue
        label = cpm(
            int(end - begin), low[first:last] - begin, high[first:last] - begin, weight[first:last],
            resolution=resolution, seed=seed_of(str(ids[members[0]])), method=method, iterations=iterations,
        )  # fmt: skip
        smallest = np.full(int(label.max()) + 1, count, np.int64)
        np.minimum.at(smallest, label, members)
        community[members] = smallest[label]
    return community
