"""Any FAISS index by its factory string, on a GPU where the installed wheel and the machine have one.

    Flat          every vector is compared              IVF1024,Flat    lists; nprobe sets how many are searched
    HNSW32        a navigable graph                     CAGRA           cuVS graph search, GPU wheels with cuVS only

Inner products of unit vectors are cosines. What a quantising index (PQ, SQ) reports is an estimate, so pairs are computed
again from the vectors; others report cosines that are right to within what float16 rounds, and only pairs near enough to the
threshold are computed again. The choice of device is logged once, by name. A worker of Ray sees the GPUs that `ray.gpus` gives
its stage; with several, every one holds the whole index and answers a share of the queries.
"""

import functools
import logging
import re
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from graph.scan import cosines
from graph.selfjoin import Pairs
from graph.vectors import Floats, Rows, unit

log = logging.getLogger(__name__)
wheel: Any = faiss
"""The same with what only wheels for GPUs have."""

QUERY_ROWS = 4096
GPU_QUERY_ROWS = 1 << 16
"""Queries at a time on a GPU, which many keep busy."""
ADDED_ROWS = 1 << 18
"""Vectors handed over at a time: a GPU index copies them."""
MOST_NEIGHBOURS = 2047
"""Beside the row itself: a GPU index selects 2,048 at most."""
MOST_KEPT = 512
"""Candidates that CAGRA keeps while it searches, at most."""
EXACT = {"IndexFlat", "IndexFlatIP", "IndexIVFFlat", "IndexHNSWFlat", "IndexCagra"}
"""Indexes that hold the vectors themselves."""
ESTIMATE = 2e-3
"""By how much a cosine of vectors stored in float16 can be wrong."""
DEGREE = 64
"""Edges of a vector in CAGRA's graph, which is pruned from twice as many."""


def build(points: Floats, *, factory: str = "Flat", nprobe: int = 8, seed: int = 0) -> faiss.Index:
    """Return an index over unit vectors that answers with inner products.

    Raises ConfigError for a factory string that FAISS does not know or that cannot be trained on so few vectors.
    """
    if factory.upper() == "CAGRA":
        return _cagra(points)
    try:
        index: faiss.Index = faiss.index_factory(points.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        if hasattr(index, "nprobe"):
            index.nprobe = nprobe
        index = _on_gpus(index, points, factory, seed) if gpus() else _trained(index, points, seed)
        for at in range(0, len(points), ADDED_ROWS):
            index.add(points[at : at + ADDED_ROWS])
    except RuntimeError as error:
        raise ConfigError(f"factory {factory!r} for {len(points):,} vectors of {points.shape[1]}: {_said(error)}") from None
    return index


def _trained(index: faiss.Index, points: Floats, seed: int) -> faiss.Index:
    if hasattr(index, "cp"):
        index.cp.seed, index.cp.spherical, index.cp.min_points_per_centroid = seed, True, 1
    index.train(points)
    return index


def _on_gpus(index: Any, points: Floats, factory: str, seed: int) -> Any:
    """Return the index trained on the first GPU and copied to all; one that no GPU has stays on the CPU."""
    if "HNSW" in factory.upper():
        return _trained(index, points, seed)
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16 = True
    try:
        first: Any = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index, options)
    except RuntimeError as error:
        log.warning("faiss has no %s for GPUs, so it is searched on the CPU: %s", factory, _said(error))
        return _trained(index, points, seed)
    first = _trained(first, points, seed)
    if hasattr(first, "nprobe"):
        first.nprobe = index.nprobe
    return first if gpus() == 1 else faiss.index_cpu_to_all_gpus(faiss.index_gpu_to_cpu(first), options)


def _said(error: RuntimeError) -> str:
    """Return what FAISS complains of, without the function and the line where it was."""
    line = str(error).strip().splitlines()[-1]
    return re.sub(r"^Error in .* at \S+:\d+: (Error: '.*?' failed: )?", "", line)


def faiss_pairs(
    *, vectors: NDArray[np.floating], rows: Rows, min_similarity: float, factory: str, k: int, nprobe: int = 8
) -> Pairs:
    """Return the pairs of at least `min_similarity` among the `k` nearest of every row, each as often as it is listed."""
    points = unit(vectors)
    index = build(points, factory=factory, nprobe=nprobe)
    return neighbour_pairs(index, points, rows, begin=0, end=len(points), k=k, min_similarity=min_similarity)


def neighbour_pairs(
    index: faiss.Index, points: Floats, rows: Rows, *, begin: int, end: int, k: int, min_similarity: float
) -> Pairs:
    """Return the pairs of at least `min_similarity` among the `k` nearest other points of points `begin` to before `end`.

    points: the (P, d) unit vectors of the index. rows: (P,) their global rows.
    """
    found: list[tuple[Rows, Rows, Floats]] = []
    step = GPU_QUERY_ROWS if gpus() else QUERY_ROWS
    for at in range(begin, end, step):
        queries = np.arange(at, min(at + step, end))
        reported, near = _search(index, points[queries], min(k + 1, len(points)))
        # Not the point itself, nor what fills a list that found fewer, nor what is certainly too far.
        place = np.flatnonzero(
            (near >= 0) & (near < len(points)) & (near != queries[:, None]) & (reported >= _least(index, min_similarity))
        )
        query, other = queries[place // near.shape[1]], near.ravel()[place].astype(np.int64)
        cosine = cosines(points, query, points, other)
        close = cosine >= min_similarity
        found.append((rows[query[close]], rows[other[close]], cosine[close]))
    if not found:
        return Pairs(rows[:0], rows[:0], np.empty(0, np.float32))
    row_a, row_b, similarity = zip(*found, strict=True)
    return Pairs(np.concatenate(row_a), np.concatenate(row_b), np.concatenate(similarity))


@functools.cache
def gpus() -> int:
    """Return the number of GPUs that the installed FAISS can use; logged once."""
    count = int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0
    log.info("faiss %s searches on %s", faiss.__version__, f"{count} GPUs" if count else "the CPU: no GPU or no faiss-gpu wheel")
    return count


def _search(index: faiss.Index, queries: Floats, k: int) -> tuple[Floats, Rows]:
    """Return (Q, k) inner products and points; raises ConfigError for more neighbours than a GPU can select."""
    cagra = hasattr(wheel, "GpuIndexCagra") and isinstance(index, wheel.GpuIndexCagra)
    most = MOST_KEPT - 1 if cagra else MOST_NEIGHBOURS
    if gpus() and k - 1 > most and not isinstance(index, faiss.IndexHNSW):
        raise ConfigError(f"k = {k - 1} neighbours of each row: a GPU index finds {most:,} at most; lower k")
    found = (
        index.search(queries, k, params=wheel.SearchParametersCagra(itopk_size=_kept(k))) if cagra else index.search(queries, k)
    )
    return found[0], found[1]


def _kept(k: int) -> int:
    """Return how many candidates CAGRA keeps for k neighbours: a multiple of 32, a quarter more than are wanted."""
    return min(MOST_KEPT, -(-(k + k // 4) // 32) * 32)


def _least(index: faiss.Index, min_similarity: float) -> float:
    """Return the reported cosine below which a pair is certainly too far: none where the index only estimates."""
    while isinstance(index, wheel.IndexReplicas):
        index = faiss.downcast_index(index.at(0))
    return min_similarity - ESTIMATE if type(index).__name__.removeprefix("Gpu") in EXACT else -np.inf


def _cagra(points: Floats) -> faiss.Index:
    if not gpus() or not hasattr(wheel, "GpuIndexCagra"):
        raise ConfigError("factory CAGRA needs a GPU and the faiss-gpu-cuvs wheel; on a CPU use Flat, IVF<n>,Flat or HNSW32")
    config = wheel.GpuIndexCagraConfig()
    config.graph_degree = min(DEGREE, max(1, len(points) // 4))
    config.intermediate_graph_degree = 2 * config.graph_degree
    index: faiss.Index = wheel.GpuIndexCagra(faiss.StandardGpuResources(), points.shape[1], faiss.METRIC_INNER_PRODUCT, config)
    index.train(points)
    return index
