"""Pairs that one task of a join found, as files: sorted by their first row, so that a range of rows is one slice.

Every task writes its pairs and counts them by ranges of rows. From the counts of all tasks the rows are cut into ranges of
about equal numbers of pairs, and each range is read from every task's files, merged and kept as one part of EDGES. Nothing
holds all pairs at once.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation import schema
from graph.selfjoin import Pairs

COUNTED_ROWS = 4096
"""Pairs are counted by ranges of this many rows, or fewer; no part of EDGES covers less."""
NAMES = ("row_a", "row_b", "similarity")


def save_pairs(pairs: Pairs, folder: Path, number: int) -> dict[str, Path]:
    """Write sorted pairs into `folder`; returns the files by the name they are to have beside the table's parts."""
    files = {f"{name}-{number:05d}.npy": folder / f"{name}-{number:05d}.npy" for name in NAMES}
    for name, path in zip(NAMES, files.values(), strict=True):
        np.save(path, getattr(pairs, name))
    return files


def load_pairs(folder: Path, number: int, begin: int, end: int) -> Pairs:
    """Return the pairs of one task with row_a from `begin` to before `end`."""
    row_a, row_b, similarity = (np.load(folder / f"{name}-{number:05d}.npy", mmap_mode="r") for name in NAMES)
    chosen = slice(*np.searchsorted(row_a, [begin, end]))
    return Pairs(np.array(row_a[chosen]), np.array(row_b[chosen]), np.array(similarity[chosen]))


def count_pairs(pairs: Pairs, *, counted_rows: int = COUNTED_ROWS) -> pa.Table:
    """Return PAIRS: the number of pairs in every range of `counted_rows` rows that holds one."""
    ranges, counts = np.unique(pairs.row_a // counted_rows, return_counts=True)
    return schema.conform(pa.table({"first_row": ranges * counted_rows, "pairs": counts}), schema.PAIRS)


def row_ranges(counted: Iterable[pa.Table], *, pairs_per_part: int) -> list[tuple[int, int]]:
    """Return consecutive ranges of rows [begin, end) that cover every pair, with about `pairs_per_part` pairs in each.

    counted: PAIRS of every task; one of them is held at a time.
    """
    counts: dict[int, int] = {}
    for table in counted:
        for first, pairs in zip(table["first_row"].to_pylist(), table["pairs"].to_pylist(), strict=True):
            counts[first] = counts.get(first, 0) + pairs
    if not counts:
        return [(0, 0)]
    ranges = np.array(sorted(counts), np.int64)
    total = np.cumsum([counts[first] for first in ranges.tolist()])
    part = ((total - 1) // pairs_per_part).astype(np.int64)
    begins = [0, *(ranges[1:][np.diff(part) > 0]).tolist()]
    return list(zip(begins, [*begins[1:], int(ranges[-1]) + COUNTED_ROWS], strict=True))
