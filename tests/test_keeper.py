"""The order of preference: what each criterion prefers, and what decides when all are equal."""

import numpy as np
import pyarrow as pa
import pytest

from curation import schema
from curation.errors import ConfigError
from graph.keeper import CRITERIA, preference, tables_of


def images(count: int, **columns: object) -> pa.Table:
    ids = [f"{i:032x}" for i in range(count)]
    rows = {name: [None] * count for name in schema.IMAGES.names} | {
        "id": ids, "uri": ids, "container": ["file"] * count, "key": ids, "group": ["a"] * count,
        "width": [100] * count, "height": [100] * count, "length": [1000] * count,
    }  # fmt: skip
    return pa.table(rows | columns, schema=schema.IMAGES)


def best(table: pa.Table, *keeper: str, **options: object) -> int:
    return int(np.argmin(preference(images=table, keeper=keeper, **options)))  # type: ignore[arg-type]


def test_resolution_counts_pixels_that_hold_detail_inside_borders() -> None:
    table = images(3, width=[400, 300, 100])
    measured = {"detail": [0.5, 0.9, 0.9], "border_left_px": [0, 0, 0], "border_right_px": [0, 0, 0]}
    assert best(table, "resolution", metrics=pa.table(measured | {"detail": [0.9, 0.9, 0.9]})) == 0
    assert best(table, "resolution", metrics=pa.table(measured)) == 1
    framed = pa.table(measured | {"border_left_px": [0, 280, 0]})
    assert best(table, "resolution", "bits", metrics=framed) != 1


@pytest.mark.parametrize(
    ("criterion", "columns", "winner"),
    [
        ("pixels", {"width": [100, 101, 99]}, 1),
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
        ("borders", "metrics", {f"border_{side}_px": [4, 4, 0] for side in ("left", "right", "top", "bottom")}, 2),
        ("watermark", "scores", {"watermark": [0.9, 0.1, 0.5]}, 1),
        ("aesthetics", "scores", {"aesthetics": [4.0, 5.0, 6.5]}, 2),
    ],
)
def test_criteria_that_were_measured(criterion: str, table: str, columns: dict[str, list[float]], winner: int) -> None:
    assert best(images(3), criterion, **{table: pa.table(columns)}) == winner
    with pytest.raises(ConfigError, match=f"'{criterion}' needs {table}"):
        best(images(3), criterion)


def test_a_frame_is_worse_than_a_uniform_sky_and_a_copy_in_one_than_its_original() -> None:
    sides = {"left": [0, 12, 0, 2], "right": [0, 12, 0, 1], "top": [30, 12, 0, 30], "bottom": [0, 12, 0, 30]}
    measured = pa.table({f"border_{side}_px": widths for side, widths in sides.items()} | {"detail": [0.9] * 4})
    order = preference(images=images(4), metrics=measured, keeper=("borders",))
    assert np.argsort(order).tolist() == [0, 2, 3, 1]  # sky and none are equal; letterboxed; framed
    larger = images(4, length=[1000, 5000, 900, 900])  # a frame saved without loss has more bits
    assert np.argmin(preference(images=larger, metrics=measured, keeper=("borders", "bits"))) == 0


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
    assert tables_of(("resolution", "aesthetics")) == {"metrics", "scores"}
