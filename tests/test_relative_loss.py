"""Losses of single images: comparable inside a time only, summed up by group and caption, the extremes first."""

import numpy as np
import pyarrow as pa
import pytest

from curation.relative_loss import by_column, by_time, extremes, relative_losses
from curation.schema import SAMPLE_LOSS

SCALE = {0.2: 4.0, 0.8: 0.5}


def losses(hardness: dict[int, float], *, captions: dict[int, list[str]] | None = None, help_of: float = 0.25) -> pa.Table:
    """Losses whose means are SCALE at every time, times the hardness of each image."""
    mean = np.mean([hardness[row] for row in hardness for _ in (captions or {}).get(row, ["short"])])
    rows = [
        {"id": f"{row:032x}", "row": row, "group": "ab"[row % 2], "level": level, "language": "en", "held_out": row == 0,
         "step": 9, "t": t, "loss": scale * value / mean, "loss_empty": scale * value / mean + help_of * scale, "error": None}
        for row, value in hardness.items() for level in (captions or {}).get(row, ["short"]) for t, scale in SCALE.items()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SAMPLE_LOSS)


def test_hardness_is_relative_to_the_mean_of_the_same_time():
    found = relative_losses(losses({0: 0.5, 1: 1.0, 2: 1.5}))
    assert found["row"].to_pylist() == [0, 1, 2]
    assert found["hardness"].to_pylist() == pytest.approx([0.5, 1.0, 1.5])
    assert found["help"].to_pylist() == pytest.approx([0.25] * 3)


def test_rows_with_an_error_and_losses_without_an_empty_caption_do_no_harm():
    table = losses({0: 0.5, 1: 1.5})
    bad = {name: None for name in table.column_names} | {"id": "f" * 32, "row": 7, "group": "a", "held_out": False, "step": 9,
                                                          "error": "truncated"}  # fmt: skip
    without = table.set_column(table.column_names.index("loss_empty"), "loss_empty", pa.nulls(4, pa.float32()))
    found = relative_losses(pa.concat_tables([without, pa.Table.from_pylist([bad], schema=SAMPLE_LOSS)]))
    assert found["row"].to_pylist() == [0, 1]
    assert found["help"].null_count == 2
    assert extremes(found, [("help", "ascending")], num=3).num_rows == 0
    assert relative_losses(table.slice(0, 0)).num_rows == 0


def test_every_image_weighs_the_same_whatever_its_captions():
    found = relative_losses(losses({0: 1.0, 2: 3.0, 1: 1.0}, captions={0: ["short", "long", "tags"], 2: ["long"], 1: ["long"]}))
    groups = by_column(found, "group")
    assert groups["group"].to_pylist() == ["a", "b"]
    assert groups["images"].to_pylist() == [2, 1]
    ratio = np.array(groups["hardness"])[0] / np.array(groups["hardness"])[1]
    assert ratio == pytest.approx(2.0)  # (1 + 3) / 2 over 1
    assert by_column(found, "group", min_images=2)["group"].to_pylist() == ["a"]


def test_extremes_are_different_images_and_ties_go_by_row():
    found = relative_losses(losses({0: 2.0, 1: 2.0, 2: 1.0}, captions={0: ["short", "long"]}))
    assert extremes(found, [("hardness", "descending")], num=2)["row"].to_pylist() == [0, 1]
    assert extremes(found, [("hardness", "ascending")], num=9)["row"].to_pylist() == [2, 0, 1]


def test_losses_by_time_keep_held_out_images_apart():
    found = by_time(losses({0: 1.0, 1: 1.0, 2: 1.0})).to_pylist()
    assert [(round(one["t"], 3), one["held_out"], one["images"]) for one in found] == [
        (0.2, False, 2), (0.2, True, 1), (0.8, False, 2), (0.8, True, 1)
    ]  # fmt: skip
    assert found[0]["loss"] == pytest.approx(4.0)
    assert found[0]["loss_empty"] == pytest.approx(5.0)
