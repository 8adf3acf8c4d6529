"""How far every copy is from the others of its group: edits are made one by one, so the picture they were made of lies amid them.

Enters: METRICS.layout, the aspect and a group of every picture. Leaves: a distance. It is the mean difference of the layouts in
the orientation that fits best, more where the aspects differ and where one is turned or mirrored. Pictures that are nearly the
same have one vote together: ten posts of one edit do not outvote the picture it was made of.
"""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]
Pixels = NDArray[np.uint8]

MIN_MEMBERS = 3
"""Two pictures are equally far from each other."""
VOTERS = 64
"""Members at most that the others of their group are compared with."""
ASPECT = 0.5
"""Weight of the difference of the logarithms of the aspects."""
TURNED = 0.02
"""What an orientation other than the same adds."""
SAME = 0.006
"""Distance below which two pictures have one vote: 1.5 grey levels."""


def distance(*, layouts: Pixels, aspects: Numbers, groups: Rows, order: Rows) -> Numbers:
    """Return the mean distance of every picture to the others of its group, (N,), 0 in groups below MIN_MEMBERS.

    layouts: uint8 (N, S, S, 3). aspects: width over height. groups: a number per picture. order: (N,) places by which VOTERS are
    picked in larger groups, so that the order of the rows does not matter.
    """
    found = np.zeros(len(groups))
    by_group = np.lexsort((order, groups))
    starts = np.flatnonzero(np.diff(groups[by_group], prepend=np.int64(-1) if len(groups) else 0))
    for members in np.split(by_group, starts[1:]):
        if len(members) >= MIN_MEMBERS:
            found[members] = _in_group(layouts[members], np.log(aspects[members]))
    return found


def _in_group(layouts: Pixels, aspects: Numbers) -> Numbers:
    from scipy.spatial.distance import cdist  # half a second that a run without layouts need not spend

    voters = np.unique(np.linspace(0, len(layouts) - 1, min(VOTERS, len(layouts))).round().astype(np.int64))
    apart = np.full((len(layouts), len(voters)), np.inf)
    flat = layouts.reshape(len(layouts), -1).astype(np.float64)
    for state in range(8):
        turned = np.rot90(layouts[voters][:, :, ::-1] if state >= 4 else layouts[voters], state % 4, axes=(1, 2))
        differ = cdist(flat, turned.reshape(len(voters), -1).astype(np.float64), "cityblock") / (255 * flat.shape[1])
        aspect = np.abs(aspects[:, None] - (-aspects if state % 2 else aspects)[None, voters])
        apart = np.minimum(apart, differ + ASPECT * aspect + (TURNED if state else 0))
    weight = 1 / (apart[voters] < SAME).sum(1)
    return np.asarray((apart * weight).sum(1) / weight.sum()).round(6)
