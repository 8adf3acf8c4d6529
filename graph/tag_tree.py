"""Texts to a tree by hierarchical k-means on their embeddings, from the bottom up.

Spherical k-means groups the texts about `branching` to a group, then the groups' centroids in the same way, until few remain: the
taxonomy of Vo et al. 2024 (arXiv 2405.15613), which Z-Image names as its model, without their resampling, because here the
tree is wanted and the balance comes after it. A group of one is no group: its member hangs one level higher.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from graph.quantiser import TWO_LEVEL_LISTS, probes, train
from graph.vectors import keys, unit

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

REPEATS = 8
"""Runs of k-means from different starts, of which the best is taken."""


@dataclass(frozen=True)
class Tree:
    """`parent` of every node, -1 for a root: the texts first, in order, then the groups; a group comes after its children."""

    parent: Rows
    vectors: Floats  # (nodes, d): the texts, then the groups' centroids

    def children(self, node: int) -> Rows:
        """Return the children of a node, the most central first, ties by number."""
        found = np.flatnonzero(self.parent == node)
        cosine = self.vectors[found] @ self.vectors[node]
        return np.asarray(found[np.lexsort((found, -np.round(cosine, 6)))], np.int64)


def tag_tree(vectors: Floats, *, branching: int = 8, max_levels: int = 3, seed: int = 0) -> Tree:
    """Return the tree over unit vectors (n, d), whose order breaks ties: bring them in an order of their own.

    branching: mean number of children of a group. max_levels: levels of groups; fewer when `branching` nodes are left.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    parent = np.full(len(vectors), -1, np.int64)
    top = np.arange(len(vectors))
    for _ in range(max_levels):
        if len(top) <= branching:
            break
        group = _groups(vectors[top], -(-len(top) // branching), seed)
        names, place, sizes = np.unique(group, return_inverse=True, return_counts=True)
        real = np.flatnonzero(sizes > 1)
        number = np.full(len(names), -1, np.int64)
        number[real] = len(vectors) + np.arange(len(real))
        inside = number[place] >= 0
        parent[top[inside]] = number[place][inside]
        centroids = np.stack([vectors[top[place == name]].mean(axis=0) for name in real]) if len(real) else vectors[:0]
        if not len(real):
            break
        vectors, parent = np.concatenate([vectors, unit(centroids)]), np.append(parent, np.full(len(real), -1, np.int64))
        top = np.flatnonzero(parent < 0)
    return Tree(parent, vectors)


def _groups(vectors: Floats, count: int, seed: int) -> Rows:
    """Return the group of every vector: the best of REPEATS runs of k-means, or one in two levels for thousands of groups."""
    if count >= TWO_LEVEL_LISTS:
        return np.asarray(probes(vectors, train(vectors, num_lists=count, seed=seed), nprobe=1)[:, 0], np.int64)
    apart = vectors[np.sort(np.unique(keys(vectors), return_index=True)[1])]  # equal texts would each get a centroid
    count = min(count, len(apart))
    means = faiss.Kmeans(
        vectors.shape[1], count, niter=25, nredo=REPEATS, spherical=True, seed=seed, min_points_per_centroid=1,
        max_points_per_centroid=len(apart),
    )  # fmt: skip
    means.train(apart)
    _, found = faiss.knn(vectors, np.asarray(means.centroids, np.float32), 1, metric=faiss.METRIC_INNER_PRODUCT)
    return np.asarray(found[:, 0], np.int64)
