"""How near two sets of images are, by their features or pixels: Frechet distance, precision and recall.

Accuracy alone is a fooled metric: a model that paints the class mean scores high. Precision says whether samples look real,
recall whether all that is real is sampled; the Frechet distance mixes both. All three depend on how many points are compared:
read each beside its value between two sets of real images of the same sizes.
"""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

ROWS_AT_ONCE = 512
"""Rows of the distance matrix in memory at a time."""


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Frechet distance of the normal distributions fitted to two sets of features. Heusel et al. 2017, eq. 6."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # tr (A B)^(1/2) = tr (A^(1/2) B A^(1/2))^(1/2): symmetric, so it works for singular covariances too
    trace_root = np.sqrt(np.linalg.eigvalsh(root_a @ cov_b @ root_a).clip(0)).sum()
    difference = a.mean(0) - b.mean(0)
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * trace_root)


def precision(real: np.ndarray, generated: np.ndarray, *, k: int = 3) -> float:
    """Return the share of generated features inside the k-NN ball of some real one. Kynkaanniemi et al. 2019, eq. 2."""
    return _share_inside(generated, real, k)


def recall(real: np.ndarray, generated: np.ndarray, *, k: int = 3) -> float:
    """Return the share of real features inside the k-NN ball of some generated one. Kynkaanniemi et al. 2019, eq. 2."""
    return _share_inside(real, generated, k)


def _share_inside(points: np.ndarray, centres: np.ndarray, k: int) -> float:
    """Share of `points` that are as near to some centre as its k-th nearest other centre, or nearer."""
    points, centres = points.astype(np.float64), centres.astype(np.float64)
    place = min(k, len(centres) - 1)  # place 0 is the centre itself
    radii = np.concatenate([np.partition(rows, place, axis=1)[:, place] for rows in _squares(centres, centres)])
    inside = [(rows <= radii).any(axis=1) for rows in _squares(points, centres)]
    return float(np.concatenate(inside).mean())


def _squares(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the squared distances of all rows of `a` to all of `b`, some rows at a time."""
    for start in range(0, len(a), ROWS_AT_ONCE):
        yield cdist(a[start : start + ROWS_AT_ONCE], b, "sqeuclidean")  # by differences: copies lie at distance 0 exactly
