"""Water-filling down a forest: how many images every concept ought to have.

A total is poured in at the top. At every node it is shared equally among the children, and a child whose images are fewer than
its share takes what it has and leaves the rest to its siblings: the level c with sum min(c, capacity) = total. What a node shows
itself, beyond its children, counts as one more child. So a branch of a thousand breeds of dog weighs no more than a branch of ten
musical instruments, as long as the ten can fill it. Vo et al., arXiv 2405.15613, section 3, balance clusters so; shares that
differ (for concepts that users ask for) and capacities above the number of images are ours.
"""

import numpy as np
from numpy.typing import NDArray

from curation.errors import SchemaError

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def fill(total: Floats, group: Rows, capacity: Floats, share: Floats) -> Floats:
    """Return (items,) min(c * share, capacity) with the level c of each group at which its items hold its total.

    total: (groups,). group: (items,), the group of each item. share: (items,), positive; equal shares are equal caps.
    A group whose total exceeds its capacity gets its capacity.
    """
    if not len(group):
        return np.zeros(0)
    ratio = capacity / share
    order = np.lexsort((ratio, group))
    g, cap, part = group[order], capacity[order], share[order]
    starts = np.flatnonzero(np.r_[True, g[1:] != g[:-1]])
    of = np.cumsum(np.r_[True, g[1:] != g[:-1]]) - 1
    left = total[g] - _before(cap, starts, of)  # what is left when every lower item is full
    shares = np.add.reduceat(part, starts)[of] - _before(part, starts, of)
    level = left / np.maximum(shares, np.finfo(float).tiny)
    holds = np.where(level <= ratio[order], np.arange(len(g)), len(g))
    first = np.minimum.reduceat(holds, starts)
    levels = np.where(first < len(g), level[np.minimum(first, len(g) - 1)], np.inf)
    filled = np.empty(len(g))
    filled[order] = np.minimum(np.maximum(levels[of], 0) * part, cap)
    return filled


def _before(values: Floats, starts: Rows, of: Rows) -> Floats:
    """Return the sum of the values before each one in its own run."""
    sums = np.cumsum(values) - values
    return np.asarray(sums - sums[starts][of], np.float64)


def water_fill(total: float, capacity: Floats, parent: Rows, share: Floats | None = None) -> Floats:
    """Return (concepts,): what of `total` falls to each concept itself, its children not counted.

    capacity: (concepts,), the most that a concept itself can take. parent: (concepts,), -1 for a root. share: of each concept
    among its siblings, positive; None: all alike. Raises SchemaError when the parents run in a circle.
    """
    num = len(parent)
    share = np.ones(num) if share is None else share
    depth = depths(parent)
    whole = capacity.astype(np.float64)
    for level in range(int(depth.max(initial=0)), 0, -1):
        here = np.flatnonzero(depth == level)
        np.add.at(whole, parent[here], whole[here])
    own, mass = np.zeros(num), np.zeros(num + 1)  # the last one is the root of all roots
    mass[num] = total
    above = np.where(parent < 0, num, parent)
    for level in range(-1, int(depth.max(initial=-1)) + 1):
        children, nodes = np.flatnonzero(depth == level + 1), np.flatnonzero(depth == level)
        group = np.concatenate([above[children], nodes])
        filled = fill(
            mass, group, np.concatenate([whole[children], capacity[nodes]]), np.concatenate([share[children], share[nodes]])
        )
        mass[children], own[nodes] = filled[: len(children)], filled[len(children) :]
    return own


def depths(parent: Rows) -> Rows:
    """Return the distance of every concept from its root; raises SchemaError when the parents run in a circle."""
    depth = np.where(parent < 0, 0, -1)
    level = 0
    while (found := (depth < 0) & (depth[parent] == level)).any():
        level += 1
        depth[found] = level
    if (depth < 0).any():
        one = int(np.flatnonzero(depth < 0)[0])
        raise SchemaError(
            f"concept {one} is its own ancestor, through {int(parent[one])}: the parents of a taxonomy form a forest"
        )
    return np.asarray(depth, np.int64)
