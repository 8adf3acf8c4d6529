"""Is a share larger than another by more than chance? Ratios with exact tests, and differences with score intervals.

Two samples are sorted into the same groups: failures against the images a model learned from, or a reference collection against
one's own. Small counts are the rule here, so nothing rests on normal approximations, and as many groups are tested at once,
p-values are adjusted (Benjamini and Hochberg 1995: the expected share of false alarms among what is reported).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, hypergeom, norm

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Enrichment:
    """For every group: share in the sample over share in the background, one-sided p, and p adjusted for all groups."""

    ratio: Numbers
    p: Numbers
    q: Numbers


def enrichment(*, sample: Counts, background: Counts) -> Enrichment:
    """Return how much more common each group is in `sample` than in `background`, both int (groups,) counts of all groups.

    p: Fisher's exact test, one-sided: the chance of at least so many of the sample's members in the group when all margins are
    as they are. ratio is inf where the background has none, NaN where neither has. Raises ValueError for an empty sample.
    """
    num_sample, num_background = int(sample.sum()), int(background.sum())
    if not num_sample or not num_background:
        raise ValueError(f"{num_sample} of the sample and {num_background} of the background lie in any group")
    p = hypergeom.sf(sample - 1, num_sample + num_background, sample + background, num_sample)
    p = np.clip(p, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (sample / num_sample) / (background / num_background)
    return Enrichment(ratio, p, false_discovery_control(p, method="bh"))


def wilson(*, successes: Numbers, trials: float, confidence: float = 0.95) -> tuple[Numbers, Numbers]:
    """Return the lower and upper end of the score interval of a share. Wilson 1927, https://doi.org/10.2307/2276774"""
    z = float(norm.ppf(0.5 + confidence / 2))
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def difference_interval(
    *, first: Numbers, num_first: float, second: Numbers, num_second: float, confidence: float = 0.95
) -> tuple[Numbers, Numbers]:
    """Return the interval of share `first` / `num_first` minus share `second` / `num_second`.

    Newcombe 1998, method 10: two Wilson intervals joined, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8
    """
    low_a, high_a = wilson(successes=first, trials=num_first, confidence=confidence)
    low_b, high_b = wilson(successes=second, trials=num_second, confidence=confidence)
    a, b = first / num_first, second / num_second
    return (
        (a - b) - np.sqrt((a - low_a) ** 2 + (high_b - b) ** 2),
        (a - b) + np.sqrt((high_a - a) ** 2 + (b - low_b) ** 2),
    )
