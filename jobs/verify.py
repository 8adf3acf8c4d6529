"""The second look: candidate pairs in blocks, each with the keypoints of the images it names."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.tables import Run
from graph.fast import verify_fast
from graph.verify import verify
from jobs.adopt import adopted
from jobs.stage import Item, Output


def plan(run: Run, *, pairs_per_item: int, **_: object) -> list[Item]:
    """Return one item per block of EDGES; at least one, so that an empty graph has an empty table."""
    known = adopted(run, "verdicts")
    return blocks(int(run.offsets("edges")[-1]), pairs_per_item, begin=known.rows, first_part=known.parts)


def work(run: Run, item: Item, *, pairs_per_item: int, **limits: Any) -> list[Output]:
    """Compare the pairs of one block."""
    pairs = between(run, "edges", item["begin"], item["end"])
    return [Output(item["parts"][0], compare(run, pairs, **limits))]


def work_fast(run: Run, item: Item, *, pairs_per_item: int, **limits: Any) -> list[Output]:
    """Compare the hashes of the pairs of one block."""
    pairs = between(run, "edges", item["begin"], item["end"])
    rows = _named(pairs)
    hashes = run.take("metrics", rows, ["id", "pdq_dihedral", "pdq_quality", "flatness"])
    return [Output(item["parts"][0], verify_fast(pairs=pairs, metrics=hashes, rows=rows, **limits))]


def blocks(num_pairs: int, pairs_per_item: int, *, begin: int = 0, first_part: int = 0) -> list[Item]:
    """Return items that cover the pairs from `begin` to `num_pairs`, at least one; their parts are numbered from `first_part`."""
    begins = range(begin, max(num_pairs, begin + 1), pairs_per_item)
    return [
        {"parts": [number], "begin": start, "end": min(start + pairs_per_item, num_pairs)}
        for number, start in enumerate(begins, first_part)
    ]


def between(run: Run, table: str, begin: int, end: int) -> pa.Table:
    """Return the rows of a table from `begin` to before `end`, reading only the parts that hold them."""
    offsets = run.offsets(table)
    first, last = np.searchsorted(offsets, [begin, max(begin, end - 1)], side="right") - 1
    last = min(last, len(offsets) - 2)
    found = pa.concat_tables([run.read_part(table, part) for part in range(min(first, last), last + 1)])
    return found.slice(begin - int(offsets[min(first, last)]), end - begin)


def compare(run: Run, pairs: pa.Table, **limits: Any) -> pa.Table:
    """Return VERDICTS of `pairs`, reading only the keypoints they need."""
    rows = _named(pairs)
    hashes = run.take("metrics", rows, ["id", "pdq_dihedral", "pdq_quality", "flatness"])
    return verify(pairs=pairs, keypoints=run.take("keypoints", rows), metrics=hashes, rows=rows, **limits)


def _named(pairs: pa.Table) -> NDArray[np.int64]:
    """Return the rows that pairs name, ascending."""
    return np.unique(np.concatenate([pairs.column("row_a").to_numpy(), pairs.column("row_b").to_numpy()]))
