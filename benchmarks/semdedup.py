"""SemDeDup as published and as its users run it, with our matrix product: the method that ours is compared with.

Spherical k-means; inside each cluster the items are sorted by preference, and an item is dropped when its cosine to any earlier
item reaches the threshold, even to one that was itself dropped. So nothing promises that a dropped item resembles a kept one.
The keeper is the image of best quality, as for every method in our tables (the paper keeps the item least like its centroid).

Abbas et al. 2023, https://arxiv.org/abs/2303.09540; https://github.com/facebookresearch/SemDeDup
"""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray

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
        x = torch.from_numpy(vectors[members]).bfloat16()
        for low in range(0, len(members), BLOCK_ROWS):
            high = min(low + BLOCK_ROWS, len(members))
            cosine = x[low:high] @ x[:high].T
            cosine[:, low:high].tril_(-1)  # an item has only earlier ones to fear; zeros are below any threshold
            closest[members[low:high]] = cosine.amax(1).float().numpy()
    return {threshold: closest < threshold for threshold in thresholds}


def kmeans(vectors: NDArray[np.float16], *, num_clusters: int, seed: int) -> torch.Tensor:
    """Return bfloat16 unit centroids (num_clusters, d) of a sample of 30 rows per cluster, after 6 iterations."""
    generator = np.random.default_rng(seed)
    size = min(len(vectors), SAMPLE_PER_CLUSTER * num_clusters)
    sample = torch.from_numpy(vectors[np.sort(generator.choice(len(vectors), size, replace=False))]).bfloat16()
    centroids = sample[generator.choice(size, num_clusters, replace=False)]
    for _ in range(ITERATIONS):
        nearest = _nearest(sample, centroids)
        total = torch.zeros(num_clusters, sample.shape[1]).index_add_(0, nearest, sample.float())
        empty = torch.bincount(nearest, minlength=num_clusters) == 0
        total[empty] = sample[generator.choice(size, int(empty.sum()))].float()
        centroids = torch.nn.functional.normalize(total, dim=1).bfloat16()
    return centroids


def assign(vectors: NDArray[np.float16], centroids: torch.Tensor) -> Rows:
    """Return the number of the closest centroid of every row."""
    nearest = np.empty(len(vectors), np.int64)
    for begin in range(0, len(vectors), 16 * BLOCK_ROWS):
        block = torch.from_numpy(np.ascontiguousarray(vectors[begin : begin + 16 * BLOCK_ROWS])).bfloat16()
        nearest[begin : begin + len(block)] = _nearest(block, centroids).numpy()
    return nearest


def _nearest(rows: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    return torch.cat([(block @ centroids.T).argmax(1) for block in rows.split(BLOCK_ROWS)])
