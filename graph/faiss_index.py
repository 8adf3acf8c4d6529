"""Any FAISS index by its factory string, on a GPU where the installed wheel and the machine have one.

    Flat          every vector is compared              IVF1024,Flat    lists; nprobe sets how many are searched
    HNSW32        a navigable graph                     CAGRA           cuVS graph search, GPU wheels with cuVS only

Inner products of unit vectors are cosines. What a quantising index (PQ, SQ) reports is an estimate, so pairs are computed
again from the vectors. The choice of device is logged once, by name.
"""

import functools
import logging
import re

import faiss
import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from graph.scan import cosines
from graph.selfjoin import Pairs
from graph.vectors import Floats, Rows, unit

log = logging.getLogger(__name__)

QUERY_ROWS = 4096


def build(points: Floats, *, factory: str = "Flat", nprobe: int = 8, seed: int = 0) -> faiss.Index:
    """Return an index over unit vectors that answers with inner products.

    Raises ConfigError for a factory string that FAISS does not know or that cannot be trained on so few vectors.
    """
    if factory.upper() == "CAGRA":
        return _cagra(points)
    try:
        index: faiss.Index = _on_gpu(faiss.index_factory(points.shape[1], factory, faiss.METRIC_INNER_PRODUCT), factory)
        if hasattr(index, "cp"):
            index.cp.seed, index.cp.spherical, index.cp.min_points_per_centroid = seed, True, 1
        index.train(points)
        index.add(points)
    except RuntimeError as error:
        raise ConfigError(f"factory {factory!r} for {len(points):,} vectors of {points.shape[1]}: {_said(error)}") from None
    if hasattr(index, "nprobe"):
        index.nprobe = nprobe
    return index


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
    for at in range(begin, end, QUERY_ROWS):
        queries = np.arange(at, min(at + QUERY_ROWS, end))
        _, near = index.search(points[queries], min(k + 1, len(points)))
        query, other = np.repeat(queries, near.shape[1]), near.ravel().astype(np.int64)
        keep = (other >= 0) & (other != query)  # the point itself, and what fills a list that found fewer
        query, other = query[keep], other[keep]
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


def _on_gpu(index: faiss.Index, factory: str) -> faiss.Index:
    if not gpus() or "HNSW" in factory.upper():
        return index
    spread: faiss.Index = faiss.index_cpu_to_all_gpus(index)
    return spread


def _cagra(points: Floats) -> faiss.Index:
    if not gpus() or not hasattr(faiss, "GpuIndexCagra"):
        raise ConfigError("factory CAGRA needs a GPU and a faiss-gpu-cuvs wheel; on a CPU use Flat, IVF<n>,Flat or HNSW32")
    index: faiss.Index = faiss.GpuIndexCagra(faiss.StandardGpuResources(), points.shape[1], faiss.METRIC_INNER_PRODUCT)
    index.train(points)
    return index
