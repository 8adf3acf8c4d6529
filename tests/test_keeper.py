"""The order of preference: what each criterion prefers, and what decides when all are equal."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import schema
from curation.errors import ConfigError
from graph.keeper import CRITERIA, DEFAULT, _levels, preference, tables_of


def images(count: int, **columns: object) -> pa.Table:
    ids = [f"{i:032x}" for i in range(count)]
    rows = {name: [None] * count for name in schema.IMAGES.names} | {
        "id": ids, "uri": ids, "container": ["file"] * count, "key": ids, "group": ["a"] * count,
        "width": [100] * count, "height": [100] * count, "length": [1000] * count,
    }  # fmt: skip
    return pa.table(rows | columns, schema=schema.IMAGES)


def best(table: pa.Table, *keeper: str, **options: object) -> int:
    return int(np.argmin(preference(images=table, keeper=keeper, **options)))  # type: ignore[arg-type]


def test_resolution_counts_sides_that_hold_detail_without_the_ground_around_them() -> None:
    table = images(3, width=[400, 300, 100], height=[400, 300, 100])
    measured = {"detail": [0.4, 0.8, 0.8], "padding": [0.0, 0.0, 0.0]}
    assert best(table, "resolution", metrics=pa.table(measured | {"detail": [0.8, 0.8, 0.8]})) == 0
    assert best(table, "resolution", metrics=pa.table(measured)) == 1
    assert best(table, "resolution", metrics=pa.table(measured | {"padding": [0.0, 0.9, 0.0]})) == 0


def test_what_is_within_the_tolerance_of_the_best_of_its_group_is_left_to_the_next_criterion() -> None:
    detail = pa.table({"detail": [0.80, 0.79, 0.5, 0.49], "padding": [0.0] * 4})
    order = preference(images=images(4, length=[4, 3, 2, 1]), metrics=detail, keeper=("resolution", "bytes"))
    assert np.argsort(order).tolist() == [1, 0, 3, 2]
    apart = preference(
        images=images(4, length=[4, 3, 2, 1]), metrics=detail, keeper=("resolution", "bytes"), groups=np.array([0, 1, 0, 1])
    )
    assert apart[0] < apart[2] and apart[1] < apart[3]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-4, 4)), max_size=30), st.sampled_from([0.0, 0.3, 1.5]))
def test_levels_begin_at_the_best_of_each_group(rows: list[tuple[int, float]], tolerance: float) -> None:
    cell, values = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float64)
    found = _levels(values, cell, tolerance)
    for group in set(cell.tolist()):  # one at a time, from the best down
        level, anchor = -1, np.inf
        for row in sorted(np.flatnonzero(cell == group), key=lambda row: -values[row]):
            if values[row] < anchor - tolerance:
                level, anchor = level + 1, values[row]
            assert not tolerance or found[row] == level
    left, right = np.nonzero((cell[:, None] == cell) & (values[:, None] > values))
    assert (found[left] <= found[right]).all()


@pytest.mark.parametrize(
    ("criterion", "columns", "winner"),
    [
        ("pixels", {"width": [100, 101, 99]}, 1),
        ("bytes", {"length": [1000, 900, 1001]}, 1),
        ("bits", {"length": [1000, 900, 1001]}, 2),
        ("caption", {"caption": [None, "  ", "a tree"]}, 2),
    ],
)
def test_criteria_of_the_file(criterion: str, columns: dict[str, list[object]], winner: int) -> None:
    assert best(images(3, **columns), criterion) == winner


@pytest.mark.parametrize(
    ("criterion", "table", "columns", "winner"),
    [
        ("sharpness", "metrics", {"sharpness": [1.0, 3.0, 2.0]}, 1),
        ("borders", "metrics", {"padding": [0.1, 0.1, 0.02]}, 2),
        ("tones", "metrics", {"tonal_gaps": [0.6, 0.4, 0.7]}, 1),
        ("compression", "metrics", {"quantisation_step": [30.0, 12.0, 8.0]}, 2),
        ("quantisation", "metrics", {"quantisation_step": [8.0, 1.0, 6.0]}, 1),
        ("noise", "metrics", {"grain": [-30.0, -40.0, -35.0]}, 1),
        ("enlargement", "metrics", {"detail": [0.3, 0.3, 0.7]}, 2),
        ("clipping", "metrics", {"clipped": [0.1, 0.01, 0.06]}, 1),
        ("grain", "metrics", {"grain": [-30.0, -36.0, -36.0], "detail": [0.8, 0.6, 0.8]}, 2),
        ("watermark", "scores", {"watermark": [0.9, 0.1, 0.5]}, 1),
        ("aesthetics", "scores", {"aesthetics": [4.0, 5.0, 6.5]}, 2),
    ],
)
def test_criteria_that_were_measured(criterion: str, table: str, columns: dict[str, list[float]], winner: int) -> None:
    assert best(images(3), criterion, **{table: pa.table(columns)}) == winner
    with pytest.raises(ConfigError, match=f"'{criterion}' needs {table}"):
        best(images(3), criterion)


def test_the_picture_amid_its_copies_is_preferred_and_of_two_none_is() -> None:
    layouts = np.full((4, 8, 8, 3), 100, np.uint8)
    layouts[1, :4], layouts[2, :, :4], layouts[3, 2:6, 2:6] = 160, 30, 250
    table = pa.table({"layout": [layout.tobytes() for layout in layouts]})
    for members in ([0, 1, 2, 3], [1, 0, 2], [3, 2, 0]):
        some = pa.array(members)
        order = preference(
            images=images(4).take(some), metrics=table.take(some), keeper=("consensus",), groups=np.zeros(len(members), np.int64)
        )
        assert members[int(np.argmin(order))] == 0
    pair = preference(images=images(4), metrics=table, keeper=("consensus", "bits"), groups=np.array([0, 0, 1, 1]))
    assert pair.tolist() == [0, 1, 2, 3]


def test_the_source_of_highest_priority_comes_first_and_unnamed_ones_last() -> None:
    table = images(3, group=["web", "museum", "archive"])
    assert best(table, "source", source_priority=("museum", "archive")) == 1
    assert best(table, "source", source_priority=("archive",)) == 2


def test_the_id_decides_last_whatever_the_order_of_rows() -> None:
    table = images(5).take([3, 1, 4, 0, 2])
    assert preference(images=table, keeper=("bits",)).tolist() == [3, 1, 4, 0, 2]


def test_every_criterion_is_in_the_configuration() -> None:
    from typing import get_args

    from jobs.config_graph import DuplicateConfig

    (names,) = get_args(DuplicateConfig.model_fields["keeper"].annotation)
    assert set(get_args(names)) == set(CRITERIA)
    assert tuple(DuplicateConfig().keeper) == DEFAULT
    assert tables_of(("resolution", "aesthetics")) == {"metrics", "scores"}
