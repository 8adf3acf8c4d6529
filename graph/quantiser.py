"""The coarse quantiser: centroids that divide the vectors into lists, and the lists in which a vector is looked for.

Spherical k-means, trained by FAISS on a sample of 30 rows per list. From a thousand lists on it has two levels: about
sqrt(n) cells, and about sqrt(n) lists inside each. A vector then descends into its best cells instead of meeting every
centroid, so assigning costs sqrt(n) (1 + descend) products per row instead of n.

Jegou, Douze & Schmid 2011, https://doi.org/10.1109/TPAMI.2010.57 (inverted lists); Johnson, Douze & Jegou 2017,
https://arxiv.org/abs/1702.08734 (FAISS). Probing only lists nearly as close as the closest: Chen et al. 2021 (SPANN),
https://arxiv.org/abs/2111.08566
"""

import math
from dataclasses import dataclass

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema
from graph.vectors import Floats, Rows, keys

SAMPLE_PER_LIST = 30
ITERATIONS = 6
TWO_LEVEL_LISTS = 1000
"""From this many lists on `two_level = None` takes two levels."""

CELL_SHARE = 0.4
"""A row does not descend into a cell whose cosine is lower than the nearest one's by more than this share of the margin: of the
lists that a row of the planted vectors ought to probe one in a thousand lies beyond, and a third of the descents."""

Numbers = NDArray[np.int32]


@dataclass(frozen=True)
class Quantiser:
    """Unit centroids of the lists; with two levels also the cells, whose lists are consecutive."""

    centroids: Floats  # (L, d)
    cells: Floats  # (C, d); (0, d) with one level
    start: Rows  # (C + 1,) first list of every cell

    @property
    def num_lists(self) -> int:
        """The number of lists."""
        return len(self.centroids)


def default_lists(count: int) -> int:
    """Return the number of lists for `count` vectors, count^0.6: 100 vectors to a list at 100,000, 250 at 1M, 4,000 at 1B.

    With two levels assigning costs little, so there are more lists than the usual square root, and less to compare in each.
    """
    return max(1, round(math.pow(count, 0.6)))


def sample_rows(ids: list[str], size: int) -> Rows:
    """Return `size` rows that depend on the ids alone, not on their order: those whose hashed ids are smallest, in that order."""
    hashed = hash_ids(ids)
    return np.argsort(hashed, kind="stable")[:size]


def hash_ids(ids: list[str] | list[bytes]) -> NDArray[np.uint64]:
    """Return a well mixed 64-bit number of every id, (N,); ids are ASCII, or bytes."""
    width = -(-max(map(len, ids), default=1) // 8 or 1) * 8
    words = np.array(ids, f"S{width}").view(np.uint64).reshape(len(ids), width // 8)
    mixed = np.full(len(ids), 0x9E3779B97F4A7C15, np.uint64)
    for column in words.T:  # splitmix64 over the words, Steele, Lea & Flood 2014, https://doi.org/10.1145/2660193.2660195
        mixed = (mixed ^ column) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def train(sample: Floats, *, num_lists: int, two_level: bool | None = None, seed: int = 0) -> Quantiser:
    """Return a quantiser of about `num_lists` lists for unit vectors; never more lists than different rows in the sample.

    two_level: None takes two levels from TWO_LEVEL_LISTS on.
    """
    first = np.unique(keys(sample), return_index=True)[1]
    if len(first) < len(sample):
        sample = sample[np.sort(first)]  # copies would get centroids of their own
    num_lists = max(1, min(num_lists, len(sample)))
    if num_lists == 1 or not (num_lists >= TWO_LEVEL_LISTS if two_level is None else two_level):
        centroids = _kmeans(sample, num_lists, seed)
        return Quantiser(centroids, np.empty((0, sample.shape[1]), np.float32), np.zeros(1, np.int64))
    cells = _kmeans(sample, round(num_lists**0.5), seed)
    _, cell = faiss.knn(sample, cells, 1, metric=faiss.METRIC_INNER_PRODUCT)
    rows = np.bincount(cell[:, 0], minlength=len(cells))
    sizes = np.minimum(np.maximum(1, np.rint(num_lists * rows / len(sample)).astype(int)), np.maximum(rows, 1))
    inside = [
        _kmeans(sample[cell[:, 0] == c], int(sizes[c]), seed + 1 + c) if rows[c] else cells[c : c + 1] for c in range(len(cells))
    ]
    return Quantiser(np.concatenate(inside), cells, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


def _kmeans(sample: Floats, count: int, seed: int) -> Floats:
    if count >= len(sample):
        return sample
    clustering = faiss.Clustering(sample.shape[1], count)
    clustering.seed, clustering.niter, clustering.spherical = seed, ITERATIONS, True
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, len(sample)
    clustering.train(sample, faiss.IndexFlatIP(sample.shape[1]))
    return faiss.vector_to_array(clustering.centroids).reshape(count, sample.shape[1])


def probes(vectors: Floats, quantiser: Quantiser, *, nprobe: int, margin: float = 2.0, descend: int = 6) -> Numbers:
    """Return the lists of every unit vector, nearest first, int32 (N, nprobe); -1 fills what is not probed.

    margin: lists whose centroid's cosine is lower than the nearest one's by more than this are not probed. descend: cells of a
    two-level quantiser whose lists are considered.
    """
    wanted = min(nprobe, quantiser.num_lists)
    search = _two_level if len(quantiser.cells) else _one_level
    cosine, lists = search(vectors, quantiser, wanted, descend, margin)
    near = cosine >= cosine[:, :1] - np.float32(margin)
    found = np.full((len(vectors), nprobe), -1, np.int32)
    found[:, :wanted] = np.where(near, lists, -1)
    return found


def _one_level(vectors: Floats, quantiser: Quantiser, wanted: int, descend: int, margin: float) -> tuple[Floats, Rows]:
    cosine, lists = faiss.knn(vectors, quantiser.centroids, wanted, metric=faiss.METRIC_INNER_PRODUCT)
    return cosine, lists


def _two_level(vectors: Floats, quantiser: Quantiser, wanted: int, descend: int, margin: float) -> tuple[Floats, Rows]:
    descend = min(descend, len(quantiser.cells))
    nearness, cells = faiss.knn(vectors, quantiser.cells, descend, metric=faiss.METRIC_INNER_PRODUCT)
    best = np.full(len(vectors), -np.inf, np.float32)
    found = [_descended(vectors, quantiser, np.arange(len(vectors)), cells[:, 0], best, wanted, margin)]
    # After the nearest cell of every row only lists nearly as close as the closest one in it are kept of the others.
    row, place = np.nonzero(nearness[:, 1:] >= nearness[:, :1] - np.float32(CELL_SHARE * margin))
    found.append(_descended(vectors, quantiser, row, cells[row, place + 1], best, wanted, margin))
    rows, cosine, lists = (np.concatenate(some) for some in zip(*found, strict=True))
    near = np.flatnonzero(cosine >= best[rows] - np.float32(margin))
    order = near[np.lexsort((lists[near], -cosine[near], rows[near]))]
    rows = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(len(vectors)))[rows]
    order, rows, rank = order[rank < wanted], rows[rank < wanted], rank[rank < wanted]
    nearest, number = np.full((len(vectors), wanted), -np.inf, np.float32), np.full((len(vectors), wanted), -1, np.int64)
    nearest[rows, rank], number[rows, rank] = cosine[order], lists[order]
    return nearest, number


def _descended(
    vectors: Floats, quantiser: Quantiser, rows: Rows, cells: Rows, best: Floats, wanted: int, margin: float
) -> tuple[Rows, Floats, Rows]:
    """Return (row, cosine, list) of the lists inside each row's cell that are within `margin` of its best, `wanted` at most.

    rows, cells: each pair once. best: the largest cosine of every vector so far, raised in place.
    """
    order = np.argsort(cells, kind="stable")
    cuts = np.searchsorted(cells[order], np.arange(len(quantiser.cells) + 1))
    found: list[tuple[Rows, Floats, Rows]] = [(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64))]
    for cell in np.flatnonzero(np.diff(cuts)):
        some = rows[order[cuts[cell] : cuts[cell + 1]]]
        first, last = quantiser.start[cell : cell + 2]
        products = np.take(vectors, some, axis=0) @ quantiser.centroids[first:last].T
        best[some] = np.maximum(best[some], products.max(1))
        at, inside = _near(products, best[some] - np.float32(margin), wanted)
        found.append((some[at], products[at, inside], inside + first))
    row, cosine, lists = zip(*found, strict=True)
    return np.concatenate(row), np.concatenate(cosine), np.concatenate(lists)


def _near(cosine: Floats, least: Floats, wanted: int) -> tuple[Rows, Rows]:
    """Return (row, column) of the columns of at least each row's `least`; of a row that has more the `wanted` largest."""
    flat = np.flatnonzero(cosine >= least[:, None])  # of a flat array many times as fast as np.nonzero of a matrix
    row, column = np.divmod(flat, cosine.shape[1])
    count = np.bincount(row, minlength=len(cosine))
    many = np.flatnonzero(count > wanted)
    if len(many):
        lowest = np.full(len(cosine), -np.inf, np.float32)
        lowest[many] = np.partition(cosine[many], -wanted, axis=1)[:, -wanted]
        few = cosine[row, column] >= lowest[row]
        row, column = row[few], column[few]
    return row, column


def centroid_table(quantiser: Quantiser, *, mean: Floats | None = None) -> pa.Table:
    """Return CENTROIDS: the cells, then the lists, each with its unit vector, then the mean that was subtracted before."""
    cell = np.searchsorted(quantiser.start, np.arange(quantiser.num_lists), side="right") - 1
    parents = [None] * len(quantiser.cells) + (cell.tolist() if len(quantiser.cells) else [None] * quantiser.num_lists)
    middle = np.empty((0, quantiser.centroids.shape[1]), np.float32) if mean is None else mean[None]
    vectors = np.concatenate([quantiser.cells, quantiser.centroids, middle])
    shape = schema.centroids_schema(vectors.shape[1])
    table = pa.table(
        {
            "level": pa.array([0] * len(quantiser.cells) + [1] * quantiser.num_lists + [2] * len(middle), pa.int8()),
            "number": pa.array([*range(len(quantiser.cells)), *range(quantiser.num_lists), *range(len(middle))], pa.int32()),
            "cell": pa.array(parents + [None] * len(middle), pa.int32()),
            "centroid": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]).cast(
                shape.field("centroid").type
            ),
        }
    )
    return schema.conform(table, shape)


def quantiser_of(centroids: pa.Table) -> Quantiser:
    """Return the quantiser that CENTROIDS describes."""
    column = centroids.column("centroid").combine_chunks()
    vectors = column.flatten().to_numpy().reshape(-1, column.type.list_size)
    level = centroids.column("level").to_numpy()
    cell = centroids.column("cell").to_numpy()[level == 1]
    count = int((level == 0).sum())
    start = np.searchsorted(cell, np.arange(count + 1)).astype(np.int64) if count else np.zeros(1, np.int64)
    return Quantiser(vectors[level == 1], vectors[level == 0], start)


def mean_of(centroids: pa.Table) -> Floats | None:
    """Return the vector that was subtracted from all others before they were divided into lists; None where none was."""
    level = centroids.column("level").to_numpy()
    if not (level == 2).any():
        return None
    column = centroids.column("centroid").combine_chunks()
    return np.asarray(column.flatten().to_numpy().reshape(-1, column.type.list_size)[level == 2][0], np.float32)
