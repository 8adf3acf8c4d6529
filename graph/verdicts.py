"""VERDICTS from what was said of pairs, and where in a table of some rows the two images of every pair are.

Shared by all that judge pairs: the second look (graph/verify.py) and hashes alone (graph/fast.py).
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema

Evidence = Mapping[str, str | float | int | bool]


def verdict_table(
    *, pairs: pa.Table, relation: Sequence[str], confidence: NDArray[np.float32], evidence: Sequence[Evidence]
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
