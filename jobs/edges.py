"""Edges: every candidate pair once, from the lists of neighbours or from the pairs of a join."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.tables import Run
from graph.edges import Rows, edges, joined
from graph.hashes import hash_pairs, unpack
from graph.pairs import load_pairs, row_ranges
from graph.selfjoin import edge_rows
from graph.vectors import embedding_matrix
from jobs.adopt import adopted
from jobs.stage import Item, Output

PAIRS_PER_PART = 2_000_000
"""Edges per part of a join: 40 MB in memory."""


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item: pairs are made unique over all parts, those of a base's images aside."""
    return [{"parts": [adopted(run, "edges").parts]}]


def work(run: Run, item: Item, *, max_hash_distance: int, min_hash_quality: int, hash_neighbours: int) -> list[Output]:
    """Return every candidate pair once, sorted; with a base, those that the lists or the hashes of new images name."""
    before = adopted(run, "edges").parts and adopted(run, "neighbours").parts
    lists = [run.read_part("neighbours", part) for part in range(before, run.num_parts("neighbours"))]
    first_row = int(run.offsets("neighbours")[before])
    listed = edges(neighbours=pa.concat_tables(lists), first_row=first_row)
    if not hash_neighbours:
        return [Output(item["parts"][0], listed)]
    hashes = unpack(run.read("metrics", ["pdq_dihedral", "pdq_quality"]))
    row_a, row_b = hash_pairs(
        hashes, max_distance=max_hash_distance, min_quality=min_hash_quality, k=hash_neighbours, first_row=first_row
    )
    return [Output(item["parts"][0], joined(listed, row_a, row_b, cosines(run, row_a, row_b)))]


def cosines(run: Run, row_a: Rows, row_b: Rows) -> NDArray[np.float32]:
    """Return the cosine of every pair, reading only the vectors it names; -1 where an image has none."""
    rows = np.unique(np.concatenate([row_a, row_b]))
    vectors = embedding_matrix(run.take("embeddings", rows, ["embedding"]))
    left, right = (vectors[np.searchsorted(rows, side)] for side in (row_a, row_b))
    return np.asarray(np.nan_to_num(np.einsum("nd,nd->n", left, right), nan=-1.0), np.float32)


def plan_ranges(run: Run, **_: object) -> list[Item]:
    """Return one item per range of rows, with about as many pairs in each."""
    before = adopted(run, "edges").parts
    counted = [run.read_part("pairs", part) for part in _new_pairs(run)]
    ranges = row_ranges(counted, pairs_per_part=PAIRS_PER_PART)
    return [{"parts": [before + number], "rows": list(rows)} for number, rows in enumerate(ranges)]


def merge(run: Run, item: Item) -> list[Output]:
    """Return the pairs of one range of rows, sorted, each once; the parts follow each other in row order."""
    (number,) = item["parts"]
    found = [load_pairs(run.folder("pairs"), part, *item["rows"]) for part in _new_pairs(run)]
    return [Output(number, edge_rows(found))]


def _new_pairs(run: Run) -> range:
    """Return the parts of PAIRS that no adopted part of EDGES holds already."""
    return range(adopted(run, "edges").parts and adopted(run, "pairs").parts, run.num_parts("pairs"))
