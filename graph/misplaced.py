"""Which captions belong to other pictures, judged by their ranks: a chance for each, from the ranks of all.

The rank of a caption that was drawn at random is uniform in [0, 1] whatever its neighbours say, when equals are put in random
order; here a rank is the interval of all orders. Those of good captions crowd near 0 as far as neighbours know anything. So ranks
are p-values: the share of random captions is what lies evenly at the far end (Storey 2002,
https://doi.org/10.1111/1467-9868.00346), and the chance of one is that share over the density of ranks there, the local false
discovery rate (Efron et al. 2001), with the density of Grenander, which falls everywhere (Strimmer 2008,
https://doi.org/10.1186/1471-2105-9-303). Nothing is assumed of languages, encoders or how many captions are wrong; where
neighbours know too little, nothing is said.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Floats = NDArray[np.float64]

FAR = 0.5
"""Ranks beyond which captions count as random."""
MAX_RANDOM = 0.5
"""Share of seemingly random captions beyond which nothing is said: neighbours that explain fewer than half explain too little."""
NUM_BINS = 50
NARROW = 1e-6
ROWS_AT_ONCE = 65_536
MIN_RANKS = 200
"""Ranks below which their density is not known well enough."""


def random_share(ranks: Floats) -> float:
    """Return the share of captions, in [0, 1], that lie as random ones do; nan when none is known. ranks: see `misplaced`.

    Random captions that name the right thing by chance are not seen: the share is that of captions which say something else.
    """
    known = ranks[~np.isnan(ranks).any(axis=1)]
    return min(1.0, float(np.mean(1 - _below(known, FAR))) / (1 - FAR)) if len(known) else float("nan")


def misplaced(ranks: Floats) -> Floats:
    """Return for each image the chance, in [0, 1], that its caption is one drawn at random; nan where nothing can be said.

    ranks: (images, 2), the shares of captions that fit better and at least as well, as caption_ranks gives them. All are nan
    when fewer than MIN_RANKS are known or more than MAX_RANDOM of them look random.
    """
    share = random_share(ranks)
    known = np.flatnonzero(~np.isnan(ranks).any(axis=1))
    chances = np.full(len(ranks), np.nan)
    if len(known) < MIN_RANKS or share > MAX_RANDOM:
        return chances
    blocks = [known[start : start + ROWS_AT_ONCE] for start in range(0, len(known), ROWS_AT_ONCE)]
    mass = np.sum([_within_bins(ranks[rows]).sum(axis=0) for rows in blocks], axis=0)
    density = isotonic_regression(mass / len(known) * NUM_BINS, increasing=False).x
    for rows in blocks:
        chances[rows] = np.minimum(1.0, share / (_within_bins(ranks[rows]) @ density))
    return chances


def _below(ranks: Floats, limit: float) -> Floats:
    """Return how much of each rank's interval lies below `limit`; an interval of one point lies on one side."""
    begin, end = ranks.T
    return np.asarray(np.clip((limit - begin) / np.maximum(end - begin, NARROW), 0, 1))


def _within_bins(ranks: Floats) -> Floats:
    """Return (images, NUM_BINS): how much of each rank's interval lies in each bin of [0, 1]; rows add up to 1."""
    upto = np.stack([_below(ranks, edge) for edge in np.linspace(0, 1, NUM_BINS + 1)], axis=1)
    upto[:, -1] = 1
    return np.diff(upto, axis=1)
