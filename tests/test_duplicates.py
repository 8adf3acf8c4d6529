"""Star groups: who stands for whom, why, and that nothing is dropped through a chain."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import schema
from curation.errors import ConfigError
from graph.communities import communities, sized, verified_partitions
from graph.duplicates import by_verdicts, duplicates
from graph.exact import exact
from graph.keeper import preference

Pair = tuple[int, int, float]


def images(
    ids: list[str], *, width: list[int] | None = None, length: list[int] | None = None, **columns: list[object]
) -> pa.Table:
    count = len(ids)
    rows = {name: [None] * count for name in schema.IMAGES.names} | {
        "id": ids,
        "uri": [f"/pictures/{i}.jpg" for i in range(count)],
        "container": ["file"] * count,
        "key": [f"{i}.jpg" for i in range(count)],
        "group": ["a"] * count,
        "width": width or [100] * count,
        "height": [100] * count,
        "length": length or [1000] * count,
    }
    return schema.conform(pa.table(rows | columns, schema=schema.IMAGES), schema.IMAGES)


def verdicts(pairs: list[Pair], relation: str = "copy") -> pa.Table:
    rows = [
        {
            "row_a": min(a, b),
            "row_b": max(a, b),
            "similarity": weight,
            "relation": relation,
            "confidence": weight,
            "evidence": json.dumps({"method": "keypoints", "inliers": 40}),
        }
        for a, b, weight in pairs
    ]
    return schema.conform(pa.Table.from_pylist(rows, schema=schema.VERDICTS), schema.VERDICTS)


def names(count: int) -> list[str]:
    return [f"{i:032x}" for i in range(count)]


def grouped(
    table: pa.Table,
    found: pa.Table,
    *,
    pixel_hashes: list[str | None] | None = None,
    joined: pa.Table | None = None,
    keeper: tuple[str, ...] = ("pixels", "bits"),
    source_priority: tuple[str, ...] = (),
    metrics: pa.Table | None = None,
) -> pa.Table:
    hashes = pa.table({"pixel_hash": pa.array(pixel_hashes or [None] * len(table), pa.string())})
    same = exact(images=table, metrics=hashes)
    if joined is None:
        ids = np.array(table["id"].to_pylist(), np.str_)
        partitions = verified_partitions(ids=ids, exact=same, verdicts=found, method="components")
        joined = communities(ids=table["id"], partitions=sized(partitions))
    rank = preference(images=table, metrics=metrics, keeper=keeper, source_priority=source_priority)
    kept = by_verdicts(ids=table["id"], exact=same, rank=rank, verdicts=found, communities=joined)
    return duplicates(images=table, exact=same, kept=kept)


def test_the_largest_picture_is_the_keeper_and_the_drop_says_why():
    table = grouped(images(names(3), width=[100, 300, 100]), verdicts([(0, 1, 0.9)]))
    assert table["keeper_row"].to_pylist() == [1, None, None]
    assert table["keeper"][0].as_py() == names(3)[1]
    assert table["similarity"][0].as_py() == pytest.approx(0.9)
    assert json.loads(table["evidence"][0].as_py()) == {"method": "keypoints", "inliers": 40, "confidence": 0.9}
    assert table["group_size"].to_pylist() == [2, 2, 1]


def test_criteria_are_asked_in_order_and_the_id_decides_last():
    same = images(names(3), length=[1000, 2000, 2000])
    triangle = verdicts([(0, 1, 0.9), (0, 2, 0.9), (1, 2, 0.9)])
    assert grouped(same, triangle)["keeper_row"].to_pylist() == [1, None, 1]
    captioned = images(names(3), length=[1000, 2000, 2000], caption=["a long caption", None, "short"])
    found = grouped(captioned, triangle, keeper=("caption", "bits"))
    assert found["keeper_row"].to_pylist() == [2, 2, None]
    trusted = images(names(3), group=["web", "museum", "web"])
    found = grouped(trusted, triangle, keeper=("source",), source_priority=("museum", "web"))
    assert found["keeper_row"].to_pylist() == [1, None, 1]


def test_the_ends_of_a_chain_stand_for_themselves():
    chain = verdicts([(i, i + 1, 0.9) for i in range(5)])
    table = grouped(images(names(6)), chain)
    assert table["keeper_row"].to_pylist() == [None, 0, None, 2, None, 4]


def test_same_bytes_collapse_onto_the_first_and_share_its_keeper():
    ids = [names(9)[5], names(9)[6], names(9)[5], names(9)[7]]
    table = grouped(images(ids, width=[100, 100, 100, 300]), verdicts([(2, 3, 0.9)]))
    assert table["keeper_row"].to_pylist() == [3, None, 3, None]
    assert json.loads(table["evidence"][0].as_py())["through"] == "same_bytes"
    assert "through" not in json.loads(table["evidence"][2].as_py())  # this very row was compared
    alone = grouped(images(ids), verdicts([]))
    assert alone["keeper_row"].to_pylist() == [None, None, 0, None]
    assert (alone["similarity"][2].as_py(), json.loads(alone["evidence"][2].as_py())) == (1.0, {"method": "same_bytes"})


def test_same_pixels_collapse_without_a_verdict():
    table = images(names(3), length=[1000, 5000, 1000])
    found = grouped(table, verdicts([]), pixel_hashes=["aa", "aa", None])
    assert found["keeper_row"].to_pylist() == [1, None, None]
    assert json.loads(found["evidence"][0].as_py()) == {"method": "same_pixels"}


def test_failed_images_stand_for_themselves_even_with_equal_bytes():
    table = grouped(images([names(1)[0]] * 3, error=["empty", "empty", "empty"]), verdicts([]))
    assert table["keeper_row"].to_pylist() == [None] * 3


def test_containment_is_told_and_drops_nothing():
    table = grouped(images(names(3)), verdicts([(0, 1, 0.8), (0, 2, 0.9)], relation="contained"))
    assert table["keeper"].to_pylist() == [None] * 3
    assert table["contained_in"].to_pylist() == [names(3)[2], None, None]


def test_a_community_border_is_not_crossed():
    found = verdicts([(0, 1, 0.9)])
    apart = pa.table({"id": names(2), "component": [0, 0], "community": [0, 1], "size": [1, 1]})
    table = grouped(images(names(2)), found, joined=apart, keeper=())
    assert table["keeper_row"].to_pylist() == [None, None]


def test_an_unknown_criterion_and_a_missing_table_are_named():
    for keeper, message in ((("beauty",), "unknown criterion 'beauty'"), (("sharpness",), "needs metrics.sharpness")):
        with pytest.raises(ConfigError, match=message):
            preference(images=images(names(2)), keeper=keeper)
    unjudged = pa.table({"aesthetics": pa.nulls(2, pa.float32())})
    with pytest.raises(ConfigError, match="no image has one"):
        preference(images=images(names(2)), scores=unjudged, keeper=("aesthetics",))


def test_an_enlarged_copy_does_not_win_over_its_original():
    pair = images(names(2), width=[100, 200], length=[4000, 5000])
    measured = pa.table({"detail": pa.array([0.9, 0.45], pa.float32())})
    assert preference(images=pair, metrics=measured, keeper=("resolution", "bits")).tolist() == [0, 1]
    assert preference(images=pair, metrics=measured, keeper=("pixels",)).tolist() == [1, 0]


def test_captions_of_dropped_copies_are_offered_to_the_keeper_once_each():
    table = images(names(5), width=[300, 100, 100, 100, 100], caption=["a", "b", "a", " b ", "c"])
    found = grouped(table, verdicts([(0, row, 0.9) for row in (1, 2, 3)]))
    offered = found["merged_captions"].to_pylist()
    assert offered == [[{"caption": "b", "uri": "/pictures/1.jpg", "id": names(5)[1]}], None, None, None, None]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    count=st.integers(1, 12),
    pairs=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.integers(50, 99)), max_size=30),
    shared=st.lists(st.integers(0, 11), max_size=4),
    widths=st.lists(st.integers(1, 5), min_size=12, max_size=12),
)
def test_every_drop_is_an_exact_copy_of_or_verified_against_a_keeper(count, pairs, shared, widths):
    ids = [names(12)[0] if row in shared else names(12)[row] for row in range(count)]
    edges = {(min(a, b), max(a, b)): w / 100 for a, b, w in pairs if a != b and max(a, b) < count}
    found = verdicts([(a, b, w) for (a, b), w in sorted(edges.items())])
    table = grouped(images(ids, width=widths[:count]), found)
    keepers = table["keeper_row"].to_pylist()
    copies = {(ids[a], ids[b]) for a, b in edges} | {(ids[b], ids[a]) for a, b in edges}
    for row, keeper in enumerate(keepers):
        if keeper is not None:
            assert keepers[keeper] is None
            assert ids[row] == ids[keeper] or (ids[row], ids[keeper]) in copies
            assert table["similarity"][row].as_py() is not None
    kept = [ids[row] for row, keeper in enumerate(keepers) if keeper is None]
    assert len(kept) == len(set(kept))  # complete for exact copies
    assert not {(a, b) for a in kept for b in kept if a != b} & copies  # no two keepers are verified copies
    sizes = np.bincount([row if keeper is None else keeper for row, keeper in enumerate(keepers)], minlength=count)
    assert table["group_size"].to_pylist() == [sizes[row if k is None else k] for row, k in enumerate(keepers)]
