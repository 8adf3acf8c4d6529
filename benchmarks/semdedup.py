"""SemDeDup as published and as its users run it, with the same matrix product as ours: the method that ours is compared with.

Spherical k-means; inside each cluster the items are sorted by preference, and an item is dropped when its cosine to any earlier
item reaches the threshold, even to one that was itself dropped. So nothing promises that a dropped item resembles a kept one.
The keeper is the image of best quality, as for every method in our tables (the paper keeps the item least like its centroid).

Abbas et al. 2023, https://arxiv.org/abs/2303.09540; https://github.com/facebookresearch/SemDeDup
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.scan import native_dtype
from graph.vectors import to_float32

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

SAMPLE_PER_CLUSTER = 30
ITERATIONS = 6
BLOCK_ROWS = 4096


def semdedup(
    vectors: NDArray[np.float16], *, quality: Floats, num_clusters: int, threshold: float, seed: int = 0
) -> NDArray[np.bool_]:
    """Return which rows are kept. vectors: (N, d) unit vectors, float16 or a memory map. threshold: cosine, 1 - eps."""
    return sweep(vectors, quality=quality, num_clusters=num_clusters, thresholds=(threshold,), seed=seed)[threshold]


def sweep(
    vectors: NDArray[np.float16], *, quality: Floats, num_clusters: int, thresholds: tuple[float, ...], seed: int = 0
) -> dict[float, NDArray[np.bool_]]:
    """Return which rows are kept at each threshold, for the cost of about one run."""
    cluster = assign(vectors, kmeans(vectors, num_clusters=num_clusters, seed=seed))
    closest = np.full(len(vectors), -1, np.float32)  # cosine to the closest item that is preferred in the same cluster
    order = np.lexsort((-quality, cluster))
    cuts = np.searchsorted(cluster[order], np.arange(num_clusters + 1))
    for begin, end in itertools.pairwise(cuts):
        members = order[begin:end]
        rows = to_float32(vectors[members])
        for low in range(0, len(members), BLOCK_ROWS):
            high = min(low + BLOCK_ROWS, len(members))
            cosine = product(rows[low:high], rows[:high])
            cosine[:, low:high] = np.tril(cosine[:, low:high], -1)  # an item has only earlier ones to fear
            closest[members[low:high]] = cosine.max(1)
    return {threshold: closest < threshold for threshold in thresholds}


def kmeans(vectors: NDArray[np.float16], *, num_clusters: int, seed: int) -> Floats:
    """Return unit centroids (num_clusters, d) of a sample of 30 rows per cluster, after 6 iterations."""
    generator = np.random.default_rng(seed)
    size = min(len(vectors), SAMPLE_PER_CLUSTER * num_clusters)
    sample = to_float32(vectors[np.sort(generator.choice(len(vectors), size, replace=False))])
    centroids = sample[generator.choice(size, num_clusters, replace=False)]
    for _ in range(ITERATIONS):
        nearest = _nearest(sample, centroids)
        order = np.argsort(nearest, kind="stable")
        present, first = np.unique(nearest[order], return_index=True)
        total = sample[generator.choice(size, num_clusters)]  # an empty cluster takes a random row
        total[present] = np.add.reduceat(sample[order], first, axis=0)
        centroids = total / np.linalg.norm(total, axis=1, keepdims=True)
    return centroids


def assign(vectors: NDArray[np.float16], centroids: Floats) -> Rows:
    """Return the number of the closest centroid of every row."""
    blocks = range(0, len(vectors), 4 * BLOCK_ROWS)
    return np.concatenate([_nearest(to_float32(vectors[at : at + 4 * BLOCK_ROWS]), centroids) for at in blocks])


def product(a: Floats, b: Floats) -> Floats:
    """Return all cosines of a and b, (len(a), len(b)): in bfloat16 where the CPU multiplies it natively, as our own join."""
    if native_dtype() == "fp32":
        return np.asarray(a @ b.T)
    import torch

    cosine: Any = torch.from_numpy(a).bfloat16() @ torch.from_numpy(b).bfloat16().T
    return np.asarray(cosine.float().numpy())


def _nearest(rows: Floats, centroids: Floats) -> Rows:
    blocks = range(0, len(rows), BLOCK_ROWS)
    return np.concatenate([product(rows[at : at + BLOCK_ROWS], centroids).argmax(1) for at in blocks])
