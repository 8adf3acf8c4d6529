"""Are the copies of a picture among its nearest neighbours when a hundred thousand other pictures are there as well?

The vectors of an altered set, as its run stored them, are planted among others (a .npy of float16 (N, d), embeddings of other
pictures by the same model), and every planted picture asks for its nearest neighbours in all of it with the product's own
search. A pair of copies is a candidate when either is among the other's first k.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.found import vectors_of
from benchmarks.truth import Pair, Truth, read_truth
from graph.knn import build_index, knn

KS = (5, 10, 20, 40, 80)

Recalls = dict[int, dict[int, tuple[float, float]]]
"""Background vectors -> k -> recall of all pairs of copies, recall of pairs of an original and its copy."""


def recall_among(run: Path, truth_csv: Path, background: Path) -> Recalls:
    """Return for 0, a tenth and all background vectors, and each k of KS: recall of pairs, and of copy-original pairs."""
    truth = Truth.of(read_truth(truth_csv))
    planted = vectors_of(run, truth.entries)
    others = np.load(background, mmap_mode="r")
    sizes = (0, len(others) // 10, len(others))
    return {size: recalls_planted(truth, planted, np.asarray(others[:size], np.float32)) for size in sizes}


def recalls_planted(truth: Truth, planted: np.ndarray, others: np.ndarray) -> dict[int, tuple[float, float]]:
    """Return for each k of KS the two recalls when `planted` (float32, one row per entry) lies among `others`."""
    vectors = np.concatenate([planted, others])
    ids = [str(row) for row in range(len(planted))]
    rows = np.arange(len(planted), dtype=np.int64)
    table = knn(vectors=vectors, ids=ids, queries=planted, query_rows=rows, index=build_index(vectors=vectors), k=max(KS))
    return {k: recalls(truth, candidates(table, k, len(planted))) for k in KS}


def candidates(neighbours: pa.Table, k: int, count: int) -> set[Pair]:
    """Return the pairs of places below `count` of which one is among the first k neighbours of the other."""
    pairs: set[Pair] = set()
    for place, rows in enumerate(neighbours["rows"].to_pylist()):
        pairs |= {(min(place, row), max(place, row)) for row in rows[:k] if row < count}
    return pairs


def recalls(truth: Truth, pairs: set[Pair]) -> tuple[float, float]:
    """Return the recall of all pairs of copies, and of the pairs of an original and its copy."""
    direct = {(a, b) for a, b in truth.copies if "original" in (truth.entries[a].role, truth.entries[b].role)}
    return len(pairs & truth.copies) / len(truth.copies), len(pairs & direct) / len(direct)


def page(found: Recalls) -> list[str]:
    """Return the table of benchmarks/results/dedup.md."""
    sizes = list(found)
    lines = ["| k | " + " | ".join(f"{size:,} background vectors" for size in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for k in KS:
        lines.append(f"| {k} | " + " | ".join(f"{found[size][k][0]:.3f} / {found[size][k][1]:.3f}" for size in sizes) + " |")
    return lines
