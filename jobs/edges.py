"""Edges: the pairs that candidates or a join have found, merged by ranges of rows, each pair once."""

import numpy as np
from numpy.typing import NDArray

from curation.tables import Run
from graph.edges import Rows, edge_table
from graph.pairs import load_pairs, row_ranges
from graph.selfjoin import edge_rows
from graph.vectors import embedding_matrix
from jobs.adopt import adopted
from jobs.stage import Item, Output

PAIRS_PER_PART = 2_000_000
"""Edges per part of a join: 40 MB in memory."""


def cosines(run: Run, row_a: Rows, row_b: Rows) -> NDArray[np.float32]:
    """Return the cosine of every pair, reading only the vectors it names; -1 where an image has none."""
    rows = np.unique(np.concatenate([row_a, row_b]))
    vectors = embedding_matrix(run.take("embeddings", rows, ["embedding"]))
    left, right = (vectors[np.searchsorted(rows, side)] for side in (row_a, row_b))
    return np.asarray(np.nan_to_num(np.einsum("nd,nd->n", left, right), nan=-1.0), np.float32)


def plan_ranges(run: Run, *, pairs_per_part: int = PAIRS_PER_PART, **_: object) -> list[Item]:
    """Return one item per range of rows, with about as many pairs in each."""
    before = adopted(run, "edges").parts
    counted = (run.read_part("pairs", part) for part in _new_pairs(run))
    ranges = row_ranges(counted, pairs_per_part=pairs_per_part)
    return [{"parts": [before + number], "rows": list(rows)} for number, rows in enumerate(ranges)]


def merge(run: Run, item: Item, **_: object) -> list[Output]:
    """Return the pairs of one range of rows, sorted, each once; the parts follow each other in row order."""
    (number,) = item["parts"]
    found = [load_pairs(run.folder("pairs"), part, *item["rows"]) for part in _new_pairs(run)]
    return [Output(number, edge_rows(found))]


def merge_heaviest(run: Run, item: Item) -> list[Output]:
    """Return the candidate pairs of one range of rows, sorted, each once with the larger of its similarities."""
    (number,) = item["parts"]
    found = [load_pairs(run.folder("pairs"), part, *item["rows"]) for part in _new_pairs(run)]
    columns = {name: np.concatenate([getattr(pairs, name) for pairs in found]) for name in ("row_a", "row_b", "similarity")}
    return [Output(number, edge_table(**columns))]


def _new_pairs(run: Run) -> range:
    """Return the parts of PAIRS that no adopted part of EDGES holds already."""
    return range(adopted(run, "edges").parts and adopted(run, "pairs").parts, run.num_parts("pairs"))
