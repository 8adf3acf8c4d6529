"""Counts of deduplication against counting by hand, in tables small enough to read."""

import json

import numpy as np
import pyarrow as pa

from curation.schema import DUPLICATES
from graph import tally


def duplicates(*rows: tuple[int | None, str | None, float | None]) -> pa.Table:
    """DUPLICATES from (keeper row, method, similarity); sizes are counted from the keepers."""
    stand = [row if keeper is None else keeper for row, (keeper, _, _) in enumerate(rows)]
    return pa.Table.from_pylist(
        [
            {
                "id": f"{row:032x}",
                "keeper": None if keeper is None else f"{keeper:032x}",
                "keeper_row": keeper,
                "similarity": similarity,
                "evidence": None if method is None else json.dumps({"agreement": 0.9, "method": method}),
                "group_size": stand.count(stand[row]),
            }
            for row, (keeper, method, similarity) in enumerate(rows)
        ],
        schema=DUPLICATES,
    )


ALONE = (None, None, None)
TABLE = duplicates(
    ALONE, (0, "same_bytes", 1.0), (0, "same_pixels", 0.999), (0, "keypoints", 0.7), ALONE, (4, "whole", 0.9), ALONE
)


def test_exact_copies_are_counted_apart_from_near_ones() -> None:
    assert tally.copies(TABLE) == {"images": 7, "groups": 2, "copies": 4, "same_bytes": 1, "same_pixels": 1, "near": 2}


def test_an_exact_copy_of_a_near_copy_is_counted_as_exact() -> None:
    """Row 1 is a near copy of row 0, row 2 the same file as row 1: its evidence against the keeper is that of row 1."""
    table = duplicates(ALONE, (0, "whole", 0.9), (0, "whole", 0.9))
    exact = pa.table({"how": pa.array([None, None, "same_bytes"])})
    found = tally.copies(table, exact)
    assert (found["same_bytes"], found["same_pixels"], found["near"]) == (1, 0, 1)


def test_groups_are_counted_by_size_and_their_copies_add_up() -> None:
    sizes = tally.group_sizes(TABLE)
    assert [(row["label"], row["groups"], row["copies"]) for row in sizes] == [("2", 1, 1), ("4", 1, 3)]
    assert sum(row["copies"] for row in sizes) == tally.copies(TABLE)["copies"]


def test_similarities_leave_exact_copies_out() -> None:
    assert np.allclose(sorted(tally.near_similarities(TABLE)), [0.7, 0.9])


def test_methods_are_counted_most_first() -> None:
    assert tally.methods(TABLE["evidence"]) == {"keypoints": 1, "same_bytes": 1, "same_pixels": 1, "whole": 1}
    assert tally.methods(pa.chunked_array([["not json", None, '{"method":"a"}']])) == {"a": 1, "unknown": 1}


def test_a_collection_without_copies_counts_nothing() -> None:
    alone = duplicates(ALONE, ALONE)
    assert tally.copies(alone) == {"images": 2, "groups": 0, "copies": 0, "same_bytes": 0, "same_pixels": 0, "near": 0}
    assert tally.group_sizes(alone) == []
    assert not len(tally.near_similarities(alone))


def test_giants_are_the_largest_components_with_what_became_of_them() -> None:
    component = np.repeat([0, 60, 160], [60, 100, 3])
    communities = pa.table({"component": component, "community": np.arange(163) // 10})
    found = tally.giants(communities, np.arange(163) // 5, min_size=50)
    assert [row["component"] for row in found] == [60, 0]
    assert found[1] == {"component": 0, "images": 60, "communities": 6, "keepers": 12}


def test_levels_say_how_many_clusters_and_how_large() -> None:
    table = pa.table({"level_0": [0, 0, 1, None], "level_1": [0, 0, 0, None]})
    assert tally.levels(table, ["level_0", "level_1"]) == [
        {"level": "level_0", "clusters": 2, "median": 1.5, "largest": 2},
        {"level": "level_1", "clusters": 1, "median": 3.0, "largest": 3},
    ]
