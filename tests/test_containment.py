"""Containment: which of two pictures goes when one lies inside the other."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curation.containment import dropped_by_containment
from curation.schema import DUPLICATES


def table(inside: dict[int, int], count: int, keeper: dict[int, int] | None = None) -> pa.Table:
    ids = [f"{row:032x}" for row in range(count)]
    rows = [
        {
            "id": ids[row],
            "keeper": ids[keeper[row]] if keeper and row in keeper else None,
            "keeper_row": keeper.get(row) if keeper else None,
            "group_size": 1,
            "contained_in": ids[inside[row]] if row in inside else None,
        }
        for row in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=DUPLICATES)


def decided(duplicates: pa.Table, policy: str, kept: list[bool] | None = None) -> list[tuple[int, int]]:
    mask = np.ones(len(duplicates), bool) if kept is None else np.array(kept)
    rows, others = dropped_by_containment(duplicates, mask, policy=policy)
    return list(zip(rows.tolist(), others.tolist(), strict=True))


def test_the_policy_says_which_goes():
    pair = table({0: 2}, 3)
    assert decided(pair, "keep") == []
    assert decided(pair, "drop_part") == [(0, 2)]
    assert decided(pair, "drop_whole") == [(2, 0)]


def test_a_part_stays_when_its_whole_is_gone_for_another_reason():
    assert decided(table({0: 2}, 3), "drop_part", [True, True, False]) == []
    assert decided(table({0: 2}, 3), "drop_whole", [False, True, True]) == []


def test_a_part_of_a_copy_is_a_part_of_its_keeper():
    duplicates = table({0: 2}, 3, keeper={2: 1})
    assert decided(duplicates, "drop_part", [True, True, False]) == [(0, 1)]


def test_a_collage_of_three_pictures_goes_once():
    assert decided(table({0: 3, 1: 3, 2: 3}, 4), "drop_whole") == [(3, 0)]


@given(st.dictionaries(st.integers(0, 7), st.integers(0, 7)), st.sampled_from(["drop_part", "drop_whole"]))
def test_nothing_goes_without_a_survivor_on_its_trail_whatever_the_circles(inside, policy):
    gone = dict(decided(table({a: b for a, b in inside.items() if a != b}, 8), policy))
    for row in gone:
        trail = {row}
        while row in gone:
            row = gone[row]
            assert row not in trail
            trail.add(row)
