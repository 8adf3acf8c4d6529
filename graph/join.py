"""The similarity graph of some vectors in memory: one call, three engines, the same EDGES.

`exact` compares everything with everything once, and there is nothing to tune: the choice up to EXACT_ROWS rows. `ivf` looks
for a row's partners in the lists nearest to it, for hundreds of times less work at a million rows. `faiss` searches any FAISS
index for the nearest k of every row and keeps those above the threshold: a second implementation, GPUs where the installed
wheel has them, and the reference to compare with; unlike the others it misses pairs in groups of more than k. A run does the
same from parts on disk (jobs/quantise.py, lists.py, join.py, edges.py).
"""

from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph.faiss_index import faiss_pairs
from graph.lists import Group, assigned, group_rows
from graph.quantiser import SAMPLE_PER_LIST, default_lists, sample_rows, train
from graph.scan import Dtype
from graph.scan_gpu import chosen_device
from graph.selfjoin import Pairs, edge_rows, join_blocks, join_lists
from graph.vectors import Rows, unit, usable

Engine = Literal["auto", "exact", "ivf", "faiss"]
EXACT_ROWS = 200_000
"""Up to this many rows `auto` compares every pair."""
BLOCK_ROWS = 8192


def chosen_engine(engine: Engine, count: int) -> Literal["exact", "ivf", "faiss"]:
    """Return what `auto` means for `count` rows."""
    if engine != "auto":
        return engine
    return "exact" if count <= EXACT_ROWS else "ivf"


def join(
    *,
    vectors: NDArray[np.floating],
    ids: list[str] | None = None,
    min_similarity: float = 0.7,
    engine: Engine = "auto",
    nlist: int | None = None,
    nprobe: int = 4,
    margin: float = 0.13,
    descend: int = 6,
    two_level: bool | None = None,
    dtype: Dtype = "auto",
    factory: str = "Flat",
    k: int = 100,
    seed: int = 0,
    device: str = "cpu",
) -> pa.Table:
    """Return EDGES: every pair of rows with a cosine of at least `min_similarity` that the engine finds, sorted.

    vectors: (N, d) float16 or float32, of any length; rows that are zero or not finite have no edges. ids: names by which the
    k-means sample is drawn, so that it does not depend on the order of rows; default: the row numbers. nlist, nprobe, margin,
    descend, two_level: see graph/quantiser.py. factory, k: FAISS index and neighbours per row, for engine faiss. device: cpu,
    cuda, cuda:<n>, or auto for a GPU where torch sees one; a GPU adds in another order, so cosines may differ in the last bits.
    """
    device = chosen_device(device)
    rows = np.flatnonzero(usable(vectors)).astype(np.int64)
    kind = chosen_engine(engine, len(rows))
    if not len(rows):
        return edge_rows([])
    if kind == "faiss":
        return edge_rows([faiss_pairs(vectors=vectors[rows], rows=rows, min_similarity=min_similarity, factory=factory, k=k)])
    if kind == "exact":
        return edge_rows(_exact(single_list(vectors[rows], rows), min_similarity, dtype, device))
    names = [f"{row:x}" for row in rows] if ids is None else [ids[row] for row in rows]
    lists = nlist or default_lists(len(rows))
    sample = unit(vectors[rows[sample_rows(names, SAMPLE_PER_LIST * lists)]])
    if device == "cpu":
        quantiser = train(sample, num_lists=lists, two_level=two_level, seed=seed)
    else:
        from graph.quantiser_gpu import train_on

        quantiser = train_on(sample, num_lists=lists, seed=seed, device=device)
    usable_ones = vectors if len(rows) == len(vectors) else vectors[rows]
    how: dict[str, Any] = {"margin": margin, "descend": descend, "device": device}
    group = assigned(vectors=usable_ones, rows=rows, quantiser=quantiser, nprobe=nprobe, **how)
    how = {"dtype": dtype} if device == "cpu" else {"device": device, "held_rows": len(group.rows) + len(group.guests)}
    return edge_rows([join_lists([group], first=0, last=quantiser.num_lists, min_similarity=min_similarity, **how)])


def single_list(vectors: NDArray[np.floating], rows: Rows) -> Group:
    """Return a group in which all rows share one list, in row order: what the exact join divides into blocks."""
    return group_rows(vectors=vectors, rows=rows, probes=np.zeros((len(rows), 1), np.int32), num_lists=1)


def _exact(group: Group, min_similarity: float, dtype: Dtype, device: str) -> list[Pairs]:
    if device != "cpu":
        return [join_lists([group], first=0, last=1, min_similarity=min_similarity, device=device, held_rows=len(group.rows))]
    blocks = -(-len(group.rows) // BLOCK_ROWS)
    return [
        join_blocks([group], first=a, second=b, block_rows=BLOCK_ROWS, min_similarity=min_similarity, dtype=dtype)
        for a in range(blocks)
        for b in range(a, blocks)
    ]
