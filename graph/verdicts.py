"""VERDICTS from what was said of pairs, and where in a table of some rows the two images of every pair are.

Shared by all that judge pairs: the second look (graph/verify.py) and hashes alone (graph/fast.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema

Evidence = dict[str, str | float | int | bool]


@dataclass(frozen=True)
class Verdict:
    """The relation of a pair and why."""

    relation: str
    confidence: float
    evidence: Evidence


@dataclass(frozen=True)
class Limits:
    """Thresholds of `verify`, as its keyword arguments name them."""

    min_whole_correlation: float
    min_identity: float
    min_colour_identity: float
    max_identity_difference: float
    min_inliers: int
    min_agreement: float
    min_agreement_flat: float
    min_worst_cell_flat: float
    min_drawn: float
    min_copy_coverage: float
    min_overlap_coverage: float
    min_contained_coverage: float
    min_seen_side_px: int
    min_inliers_perspective: int
    min_inliers_overlaid: int
    min_agreement_overlaid: float
    max_recoloured: float
    min_filled: float
    max_deviation: float
    min_keypoints_graphic: int
    min_exchanged: float


def verdict_table(
    *,
    pairs: pa.Table,
    relation: Sequence[str],
    confidence: NDArray[np.float32],
    evidence: Sequence[Mapping[str, str | float | int | bool]],
) -> pa.Table:
    """Return VERDICTS, one row per row of `pairs`, same order."""
    table = pa.table(
        {
            **{name: pairs[name] for name in ("row_a", "row_b", "similarity")},
            "relation": pa.array(relation, pa.string()),
            "confidence": pa.array(confidence, pa.float32()),
            "evidence": [json.dumps(measured, sort_keys=True) for measured in evidence],
        }
    )
    return schema.conform(table, schema.VERDICTS)


def positions(asked: NDArray[np.int64], rows: NDArray[np.int64] | None, *, count: int, table: str) -> NDArray[np.int64]:
    """Return the place of each asked global row in a table of `count` rows that holds `rows`, ascending (absent: 0 to count - 1).

    Raises KeyError, which names the `table`, when it does not hold an asked row.
    """
    held = np.arange(count) if rows is None else rows
    place = np.searchsorted(held, asked)
    missing = asked[(place >= count) | (held[np.minimum(place, count - 1)] != asked)] if count else asked
    if len(missing):
        raise KeyError(f"{table} lack row {missing[0]} and {len(missing) - 1} more; {count} rows given")
    return place
