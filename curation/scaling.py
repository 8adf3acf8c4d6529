"""Weights of images such that every concept comes near a target: iterative proportional scaling, damped and capped.

Each image carries many concepts, so its weight cannot follow any single one: in turn, every concept's ratio of target to expected
is taken, and every image is scaled by the geometric mean of the ratios of what it shows (Deming & Stephan 1940 for tables;
Darroch & Ratcliff 1972 for overlapping features, whose 1/n exponent this is). Weights by one pass, such as the mean of the
inverse frequencies, cannot see that a frequent concept rides along with nearly every rare one: benchmarks/results/balance.md.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from curation.bm25 import concept_images

Floats = NDArray[np.float64]

Rake = Callable[[Floats], Floats]
"""Scales groups of weights to their shares, such as languages."""


def scale(
    shown: sparse.csr_matrix,
    target: Floats,
    *,
    least: float,
    most: float,
    steps: int = 30,
    rate: float = 0.5,
    limit: float = 50.0,
    rake: Rake | None = None,
) -> Floats:
    """Return float64 (images,), mean 1: weights under which the sum over the images of a concept nears its target.

    shown: (images, concepts); a value is how much the concept has to say in its image's weight, relative to the image's others.
    target: (concepts,) in images; concepts without images are not looked at. least, most: bounds of a weight, in means.
    rate: exponent of a step. limit: a concept's ratio is clipped to [1 / limit, limit]. rake: applied after every step.
    """
    images = concept_images(shown)
    present = sparse.csr_matrix(((shown.data > 0).astype(np.float64), shown.indices, shown.indptr), shape=shown.shape)
    pull = _rows_to_one(shown)
    weights = np.ones(shown.shape[0])
    for _ in range(steps if shown.nnz else 0):
        ratio = np.clip(target / np.maximum(present.T @ weights, 1e-12), 1 / limit, limit)
        weights = weights * np.exp(rate * (pull @ np.where(images > 0, np.log(ratio), 0.0)))
        weights = clipped(weights, least=least, most=most)
        weights = weights if rake is None else rake(weights)
    return weights if rake is None else rake(weights)


def clipped(weights: Floats, *, least: float, most: float) -> Floats:
    """Return the weights with mean 1, none below `least` or above `most`.

    Clipping moves the mean, so it is done until both hold, which takes a few rounds.
    """
    for _ in range(50):
        weights = weights / weights.mean()
        if weights.min() >= least * (1 - 1e-9) and weights.max() <= most * (1 + 1e-9):
            break
        weights = np.clip(weights, least, most)
    return np.asarray(weights, np.float64)


def _rows_to_one(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the matrix with every row scaled to sum 1; empty rows stay."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    lengths = np.diff(matrix.indptr)
    data = matrix.data / np.repeat(np.where(sums > 0, sums, 1.0), lengths)
    return sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)
