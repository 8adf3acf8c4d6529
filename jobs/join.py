"""Join: blocks of lists, or pairs of blocks of rows, are compared; no pair is found by two tasks.

The engine `faiss` is the exception: it searches one index over all rows, which every worker builds for itself in memory, and a
pair that two rows list is found twice.
"""

from typing import Any

import numpy as np

from curation.tables import Run
from graph.faiss_index import build, neighbour_pairs
from graph.join import Engine, chosen_engine
from graph.lists import Group, at_home, balanced, load, unit_vectors
from graph.pairs import COUNTED_ROWS, count_pairs, save_pairs
from graph.scan import Dtype
from graph.scan_gpu import chosen_device
from graph.selfjoin import Pairs, join_added, join_blocks, join_lists, unique_pairs
from graph.vectors import Rows
from jobs.adopt import adopted, base_rows
from jobs.lists import scratch
from jobs.stage import Item, Output

COMPARISONS = 100_000_000
"""Comparisons per task, at least: a few seconds of one core."""
MOST_TASKS = 20_000
"""Tasks of a join: every one leaves a file that each task of `edges` opens."""
BYTES_PER_NUMBER = 48
"""Memory of a task per number of a block of rows: two blocks as stored and as float32, with a tile of products."""
MOST_ROWS = 16384
HELD_BYTES_PER_NUMBER = 8
"""Of the memory of a task half is for the float32 vectors of the lists it compares next."""


def plan(run: Run, *, engine: Engine, memory_mb: int, comparisons: int = COMPARISONS, **_: object) -> list[Item]:
    """Return blocks of lists of about equal work, or pairs of blocks of rows (exact), or blocks of queries (faiss)."""
    rows, guests = _per_list(run)
    chosen = chosen_engine(engine, int(run.offsets("embeddings")[-1]))
    if before := adopted(run, "pairs").parts:
        return _plan_added(run, rows, guests, before, memory_mb, comparisons)
    comparisons = max(comparisons, int((rows * (rows / 2 + guests)).sum()) // MOST_TASKS)
    if chosen == "ivf":
        blocks = balanced(rows, guests, pairs_per_block=comparisons) or [(0, 0)]
        return [{"parts": [number], "lists": list(block)} for number, block in enumerate(blocks)]
    size = min(_block_rows(run, memory_mb), MOST_ROWS)
    count = max(1, -(-int(rows.sum()) // size))
    if chosen == "faiss":
        return [{"parts": [block], "queries": [block * size, (block + 1) * size]} for block in range(count)]
    pairs = [(a, b) for a in range(count) for b in range(a, count)]
    return [{"parts": [number], "blocks": list(pair), "block_rows": size} for number, pair in enumerate(pairs)]


def _plan_added(run: Run, rows: Rows, guests: Rows, before: int, memory_mb: int, comparisons: int) -> list[Item]:
    """Return blocks of the work that new images bring: they meet one another and the base's."""
    new_rows, new_guests = _per_list(run, first_part=adopted(run, "lists").parts)
    common = {"new_from": base_rows(run)}
    if len(rows) > 1:
        work = new_rows * (rows + guests) + rows * new_guests
        blocks = balanced(np.sqrt(2 * work).astype(np.int64), np.zeros_like(rows), pairs_per_block=comparisons) or [(0, 0)]
        return [{"parts": [before + number], "lists": list(block), **common} for number, block in enumerate(blocks)]
    size = min(_block_rows(run, memory_mb), MOST_ROWS)
    count = max(1, -(-int(new_rows.sum()) // size))
    return [{"parts": [before + block], "block": block, "block_rows": size, **common} for block in range(count)]


class Joiner:
    """Compares one block of work at a time; holds the FAISS index when there is one."""

    def __init__(
        self,
        *,
        engine: Engine,
        min_similarity: float,
        dtype: Dtype,
        memory_mb: int,
        device: str = "cpu",
        factory: str = "Flat",
        k: int = 100,
        counted_rows: int = COUNTED_ROWS,
        **_: object,
    ) -> None:
        self.counted_rows, self.device = counted_rows, chosen_device(device) if engine != "faiss" else "cpu"
        self.min_similarity, self.dtype, self.memory_mb, self.factory, self.k = min_similarity, dtype, memory_mb, factory, k
        self._groups: list[Group] | None = None
        self._searched: Any = None

    def __call__(self, run: Run, item: Item) -> list[Output]:
        """Write the pairs that a block is to report, sorted."""
        (number,) = item["parts"]
        if self._groups is None:
            self._groups = [load(run.folder("lists"), part) for part in range(run.num_parts("lists"))]
        pairs = self._pairs(run, item, self._groups)
        return [
            Output(
                number, count_pairs(pairs, counted_rows=self.counted_rows), files=save_pairs(pairs, scratch(run, "pairs"), number)
            )
        ]

    def _pairs(self, run: Run, item: Item, groups: list[Group]) -> Pairs:
        how: dict[str, Any] = {"min_similarity": self.min_similarity, "dtype": self.dtype, "device": self.device}
        if "lists" in item:
            first, last = item["lists"]
            how |= {"base_rows": min(_block_rows(run, self.memory_mb), MOST_ROWS), "new_from": item.get("new_from", 0)}
            how |= {"held_rows": (self.memory_mb << 20) // (HELD_BYTES_PER_NUMBER * _dimension(run))}
            return join_lists(groups, first=first, last=last, **how)
        if "new_from" in item:
            return join_added(groups, block=item["block"], block_rows=item["block_rows"], new_from=item["new_from"], **how)
        if "blocks" in item:
            first, second = item["blocks"]
            return join_blocks(groups, first=first, second=second, block_rows=item["block_rows"], **how)
        return self._searched_pairs(groups, *item["queries"])

    def _searched_pairs(self, groups: list[Group], begin: int, end: int) -> Pairs:
        if self._searched is None:
            everyone = at_home(groups, 0)
            points = unit_vectors(groups, everyone)
            index = build(points, factory=self.factory if len(points) else "Flat")  # nothing to train an index on
            self._searched = index, points, everyone.rows
        index, points, rows = self._searched
        found = neighbour_pairs(
            index, points, rows, begin=begin, end=min(end, len(points)), k=self.k, min_similarity=self.min_similarity
        )
        return unique_pairs([found])


def _block_rows(run: Run, memory_mb: int) -> int:
    return max(256, (memory_mb << 20) // (BYTES_PER_NUMBER * _dimension(run)))


def _dimension(run: Run) -> int:
    centroids = run.read_part("centroids", 0, ["centroid"])
    return int(centroids.schema.field("centroid").type.list_size)


def _per_list(run: Run, first_part: int = 0) -> tuple[Rows, Rows]:
    """Return how many rows are at home in every list, and how many visit it, counted group by group."""
    count = int((run.read("centroids", ["level"])["level"].to_numpy() == 1).sum())
    rows, guests = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for part in range(first_part, run.num_parts("lists")):
        found = run.read_part("lists", part)
        number = found["list"].to_numpy()
        rows[number] += found["rows"].to_numpy()
        guests[number] += found["guests"].to_numpy()
    return rows, guests
