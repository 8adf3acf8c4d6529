"""Join: blocks of lists, or pairs of blocks of rows, are compared; no pair is found by two tasks."""

import numpy as np

from curation.tables import Run
from graph.join import Engine, chosen_engine
from graph.lists import Group, balanced, load
from graph.pairs import count_pairs, save_pairs
from graph.scan import Dtype
from graph.selfjoin import Pairs, join_blocks, join_lists
from graph.vectors import Rows
from jobs.lists import scratch
from jobs.stage import Item, Output

COMPARISONS = 500_000_000
"""Comparisons per task: some seconds of one core."""
BYTES_PER_NUMBER = 48
"""Memory of a task per number of a block of rows: two blocks as stored and as float32, with a tile of products."""
MOST_ROWS = 16384


def plan(run: Run, *, engine: Engine, memory_mb: int, **_: object) -> list[Item]:
    """Return blocks of lists of about equal work, or, for an exact join, the pairs of blocks of rows."""
    rows, guests = _per_list(run)
    if _engine(run, engine) == "ivf":
        blocks = balanced(rows, guests, pairs_per_block=COMPARISONS) or [(0, 0)]
        return [{"parts": [number], "lists": list(block)} for number, block in enumerate(blocks)]
    size = min(_block_rows(run, memory_mb), MOST_ROWS)
    count = max(1, -(-int(rows.sum()) // size))
    pairs = [(a, b) for a in range(count) for b in range(a, count)]
    return [{"parts": [number], "blocks": list(pair), "block_rows": size} for number, pair in enumerate(pairs)]


def work(run: Run, item: Item, *, min_similarity: float, dtype: Dtype, memory_mb: int, **_: object) -> list[Output]:
    """Compare one block and write the pairs it is to report, sorted."""
    (number,) = item["parts"]
    groups = [load(run.folder("lists"), part) for part in range(run.num_parts("lists"))]
    pairs = _pairs(run, item, groups, min_similarity, dtype, memory_mb)
    return [Output(number, count_pairs(pairs), files=save_pairs(pairs, scratch(run, "pairs"), number))]


def _pairs(run: Run, item: Item, groups: list[Group], min_similarity: float, dtype: Dtype, memory_mb: int) -> Pairs:
    if "lists" in item:
        first, last = item["lists"]
        rows = min(_block_rows(run, memory_mb), MOST_ROWS)
        return join_lists(groups, first=first, last=last, min_similarity=min_similarity, dtype=dtype, base_rows=rows)
    first, second = item["blocks"]
    size = item["block_rows"]
    return join_blocks(groups, first=first, second=second, block_rows=size, min_similarity=min_similarity, dtype=dtype)


def _engine(run: Run, engine: Engine) -> str:
    return chosen_engine(engine, int(run.offsets("embeddings")[-1]))


def _block_rows(run: Run, memory_mb: int) -> int:
    centroids = run.read_part("centroids", 0, ["centroid"])
    dimension = int(centroids.schema.field("centroid").type.list_size)
    return max(256, (memory_mb << 20) // (BYTES_PER_NUMBER * dimension))


def _per_list(run: Run) -> tuple[Rows, Rows]:
    lists = run.read("lists")
    number, count = lists["list"].to_numpy(), int((run.read("centroids", ["level"])["level"].to_numpy() == 1).sum())
    rows, guests = (np.bincount(number, lists[column].to_numpy(), count).astype(np.int64) for column in ("rows", "guests"))
    return rows, guests
