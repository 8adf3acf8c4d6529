"""Regions of embedding space: k-means cells of one collection, into which the images of another can be sorted.

Vectors stream by in parts; k-means sees an evenly spaced sample, so memory is the sample and one part. Cells are cut on the unit
sphere after the collection's mean was subtracted, as the neighbours of graph/knn.py are sought. An image belongs to the
nearest centroid, but only when it is as near as nearly all of that cell's own images: a picture unlike anything in the
collection lies in no region.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from graph.search import Part
from graph.vectors import Floats, unit, usable

Labels = NDArray[np.int32]

SAMPLE_PER_REGION = 256
"""Vectors per centroid that k-means is trained on; FAISS's own limit."""

NEAR_SHARE = 0.95
"""Share of a cell's own images that count as near enough; the rest lie as far out as strangers."""


@dataclass(frozen=True)
class Regions:
    """Centroids of a collection: `centroids` (K, d) unit vectors about `mean` (d,), and per region the least cosine inside."""

    mean: Floats
    centroids: Floats
    floor: Floats


def num_regions(num_images: int) -> int:
    """Return how many regions suit a collection: about the square root of half its size, 1 to 4096."""
    return int(np.clip(round((num_images / 2) ** 0.5), 1, 4096))


def find_regions(*, parts: Iterable[Part], mean: Floats, num: int, num_images: int, seed: int = 0) -> Regions:
    """Return `num` regions (fewer when there are fewer images) of the usable vectors; floors are 0 until `with_floors`.

    num_images: about how many vectors will come, to space the sample. Raises ValueError when there is no vector.
    """
    step = max(1, num_images // (num * SAMPLE_PER_REGION))
    sample = np.concatenate(
        [unit(vectors[::step] - mean) for _, vectors in _usable(parts)] or [np.empty((0, len(mean)), np.float32)]
    )
    if not len(sample):
        raise ValueError("there is no image with an embedding")
    sample = np.unique(sample, axis=0) if len(sample) < 4 * num else sample
    cells = faiss.Kmeans(
        sample.shape[1], min(num, len(sample)), niter=20, nredo=3, spherical=True, seed=seed, min_points_per_centroid=1
    )
    cells.train(np.ascontiguousarray(sample, np.float32))
    centroids = unit(np.asarray(cells.centroids, np.float32))
    return Regions(mean, centroids, np.full(len(centroids), -1.0, np.float32))


def regions_of(*, labels: Labels, parts: Iterable[Part], mean: Floats, min_images: int) -> Regions:
    """Return the regions of a partition that is known already, such as a level of HIERARCHY, with `min_images` or more each.

    labels: int32 (rows,), any number per community, -1 for none. Centroids are the means of the members, in order of the numbers.
    """
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    names = names[sizes >= min_images]
    sums = np.zeros((len(names), len(mean)))
    for start, vectors in parts:
        own = np.where(usable(vectors), labels[start : start + len(vectors)], -1)
        for place in np.flatnonzero(np.isin(names, own)):
            sums[place] += unit(unit(vectors[own == names[place]]) - mean).sum(0, dtype=np.float64)
    return Regions(mean, unit(sums.astype(np.float32)), np.full(len(names), -1.0, np.float32))


def sort_into(regions: Regions, *, parts: Iterable[Part], num_rows: int) -> tuple[Labels, Floats]:
    """Return int32 (rows,), the nearest region of every image, and the cosine to its centroid; -1 and NaN without a vector."""
    labels, cosine = np.full(num_rows, -1, np.int32), np.full(num_rows, np.nan, np.float32)
    for start, vectors in parts:
        found, nearness = nearest_region(regions, vectors)
        labels[start : start + len(vectors)], cosine[start : start + len(vectors)] = found, nearness
    return labels, cosine


def nearest_region(regions: Regions, vectors: Floats) -> tuple[Labels, Floats]:
    """Return the nearest region (n,) of vectors (n, d), and the cosine to its centroid; -1 and NaN where there is none."""
    labels, cosine = np.full(len(vectors), -1, np.int32), np.full(len(vectors), np.nan, np.float32)
    here = usable(vectors)
    if here.any():
        moved = unit(unit(vectors[here]) - regions.mean)
        nearness, found = faiss.knn(moved, regions.centroids, 1, metric=faiss.METRIC_INNER_PRODUCT)
        labels[here], cosine[here] = found[:, 0], nearness[:, 0]
    return labels, cosine


def with_floors(regions: Regions, *, labels: Labels, cosine: Floats) -> Regions:
    """Return the regions with the cosine that NEAR_SHARE of their own images reach."""
    order = np.lexsort((cosine, labels))
    start = np.searchsorted(labels[order], np.arange(len(regions.centroids) + 1))
    sizes = np.diff(start)
    at = start[:-1] + np.floor((1 - NEAR_SHARE) * sizes).astype(np.int64)
    floor = np.where(sizes > 0, cosine[order][np.minimum(at, len(order) - 1)], np.inf)
    return Regions(regions.mean, regions.centroids, floor.astype(np.float32))


def inside(regions: Regions, labels: Labels, cosine: Floats) -> Labels:
    """Return the labels with -1 for images that are further from their centroid than the region's floor."""
    near = (labels >= 0) & (cosine >= regions.floor[np.maximum(labels, 0)])
    return np.where(near, labels, -1).astype(np.int32)


def region_means(*, parts: Iterable[Part], labels: Labels, num: int, dimension: int) -> Floats:
    """Return the mean unit vector (num, dimension) of every region's images, scaled to length 1: what to search a pool with.

    labels: int32 (rows,) as `inside` returns them. Unlike the centroids, these are not about the collection's mean.
    """
    sums = np.zeros((num, dimension))
    for start, vectors in parts:
        own = labels[start : start + len(vectors)]
        for region in np.unique(own[own >= 0]):
            sums[region] += unit(vectors[own == region]).sum(0, dtype=np.float64)
    return unit(sums.astype(np.float32))


def _usable(parts: Iterable[Part]) -> Iterator[Part]:
    for start, vectors in parts:
        here = vectors[usable(vectors)]
        if len(here):
            yield start, unit(here)
