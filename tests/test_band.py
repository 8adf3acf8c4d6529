"""Which pairs are certain without a look."""

import numpy as np
import pyarrow as pa
import pytest

from graph.band import band

ZERO, NEAR, FAR = "0" * 64, "f" * 4 + "0" * 60, "f" * 32 + "0" * 32  # 0, 16 and 128 bits from ZERO


def metrics(hashes: list[str], *, flatness: float = 0.1, quality: int = 100) -> pa.Table:
    rows = len(hashes)
    return pa.table(
        {
            "pdq_dihedral": [[one] * 8 for one in hashes],
            "pdq_quality": pa.array([quality] * rows, pa.int32()),
            "flatness": pa.array([flatness] * rows, pa.float32()),
        }
    )


def certain(table: pa.Table, similarity: float) -> tuple[bool, bool]:
    found = band(
        metrics=table,
        left=np.array([0]),
        right=np.array([1]),
        similarity=np.array([similarity], np.float32),
        min_similarity=0.3,
        max_distance=24,
        min_sure_similarity=0.7,
    )
    return bool(found.copies[0]), bool(found.strangers[0])


@pytest.mark.parametrize(
    ("hashes", "similarity", "expected"),
    [
        ([ZERO, NEAR], 0.9, (True, False)),
        ([ZERO, NEAR], 0.5, (False, False)),
        ([ZERO, NEAR], 0.1, (False, False)),
        ([ZERO, FAR], 0.9, (False, False)),
        ([ZERO, FAR], 0.1, (False, True)),
    ],
)
def test_only_near_hashes_with_near_vectors_are_copies_and_only_far_ones_strangers(hashes, similarity, expected):
    assert certain(metrics(hashes), similarity) == expected


def test_flat_graphics_and_pictures_without_structure_are_never_sure_copies():
    assert certain(metrics([ZERO, NEAR], flatness=0.7), 0.9) == (False, False)
    assert certain(metrics([ZERO, NEAR], quality=20), 0.9) == (False, False)
