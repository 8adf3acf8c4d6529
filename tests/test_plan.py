from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_index import index

from curation.errors import ConfigError
from model.plan import Plan, draws, training_shape
from model.train_batch import slots_of

SETTINGS = {
    "batch_size": 8, "resolution_px": 32, "unit_px": 8, "seed": 0, "level_weights": {"source": 1.0, "short": 1.0},
    "language_weights": {"en": 1.0, "zh": 1.0},
}  # fmt: skip


def counts(plan: Plan, epochs: range) -> Counter[int]:
    return Counter(row for e in epochs for n in range(plan.epoch_length(e)) for row in plan.batch(e, n).rows)


def test_every_sample_is_seen_equally_often_over_epochs_and_none_is_dropped():
    plan = Plan(index({"32x32": 30, "48x16": 11}), **SETTINGS)
    seen = counts(plan, range(8))
    assert set(seen) == set(range(41))
    assert max(seen.values()) - min(seen.values()) <= 1


def test_a_batch_has_one_shape_and_the_size_of_the_configuration():
    plan = Plan(index({"32x32": 30, "48x16": 11}), **SETTINGS)
    shapes = set()
    for number in range(plan.epoch_length(0)):
        batch = plan.batch(0, number)
        shapes.add(batch.shape)
        assert len(batch.rows) == 8
        assert {row < 30 for row in batch.rows} == {batch.shape == (32, 32)}
    assert shapes == {(32, 32), (56, 16)}


def test_a_bucket_smaller_than_a_batch_is_still_trained_on():
    plan = Plan(index({"32x32": 16, "16x48": 3}), **SETTINGS)
    seen = counts(plan, range(16))
    assert {seen[row] for row in range(16, 19)} == {16}


def test_weights_are_met_in_the_long_run():
    weights = [0.5, 1.0, 2.0, 4.0] * 8
    plan = Plan(index({"32x32": 32}, weights=weights), **SETTINGS)
    seen = counts(plan, range(200))
    per_pass = np.array([seen[i] for i in range(32)]) / 200
    assert per_pass == pytest.approx(np.array(weights) / np.mean(weights), abs=0.03)
    flat = Plan(index({"32x32": 32}, weights=weights), **SETTINGS, use_weights=False)
    assert set(counts(flat, range(2)).values()) == {2}


def test_the_plan_is_a_function_of_index_settings_and_seed():
    a, b = (Plan(index({"32x32": 40}), **SETTINGS) for _ in range(2))
    assert [a.batch(3, n) for n in range(5)] == [b.batch(3, n) for n in range(5)]
    assert a.digest == b.digest
    others = [
        Plan(index({"32x32": 41}), **SETTINGS),
        Plan(index({"32x32": 40}), **{**SETTINGS, "seed": 1}),
        Plan(index({"32x32": 40}), **{**SETTINGS, "batch_size": 4}),
    ]
    assert len({a.digest, *(plan.digest for plan in others)}) == 4
    assert others[1].batch(0, 0) != a.batch(0, 0)


def test_epochs_differ():
    plan = Plan(index({"32x32": 40}), **SETTINGS)
    assert plan.batch(0, 0).rows != plan.batch(1, 0).rows


def test_a_batch_far_ahead_is_found_without_replaying():
    plan = Plan(index({"32x32": 40}), **SETTINGS)
    far = plan.batch(100_000, 2)
    assert len(set(far.rows)) == 8
    assert plan.after(7, plan.epoch_length(7)) == (8, 0)


def test_what_is_never_drawn_is_reported_by_reason():
    captioned = index({"32x32": 10})
    silent = index({"32x32": 4}, levels=("long",))
    zero = index({"32x32": 3}, weights=[0.0] * 3)
    plan = Plan(pa.concat_tables([captioned, silent, zero]), **SETTINGS, groups=["a"])
    assert plan.excluded == {"other group": 9, "no caption of the chosen levels and languages": 2, "weight is 0": 1}
    report = plan.report()
    assert sum(b["samples"] for b in report["buckets"]) + sum(plan.excluded.values()) == 17


def test_samples_without_any_caption_are_left_out_and_those_of_an_older_index_are_not():
    table = index({"32x32": 12})
    place = table.schema.get_field_index("caption_lengths")
    listed = [None, [], [{"language": None, "level": "source", "characters": 5, "words": 2}]] * 4
    table = table.set_column(place, table.schema.field(place), pa.array(listed, table.schema.field(place).type))
    plan = Plan(table, **SETTINGS)
    assert plan.excluded == {"no caption of the chosen levels and languages": 4}
    assert set(counts(plan, range(4))) == {0, 2, 3, 5, 6, 8, 9, 11}


def test_wrong_requests_are_named():
    with pytest.raises(ConfigError, match=r"no sample has group 'c'; the shards have \['a', 'b'\]"):
        Plan(index({"32x32": 10}), **SETTINGS, groups=["c"])
    with pytest.raises(ConfigError, match="multiple of 8"):
        Plan(index({"32x32": 10}), **{**SETTINGS, "resolution_px": 30})
    with pytest.raises(ConfigError, match=r"10 for no caption .*; captions there: long \(en\)"):
        Plan(index({"32x32": 10}, levels=("long",)), **SETTINGS)


def test_training_shapes_keep_the_area_and_the_aspect():
    assert training_shape("64x64", resolution_px=32, unit_px=8) == (32, 32)
    assert training_shape("1024x1024", resolution_px=512, unit_px=16) == (512, 512)
    width, height = training_shape("1360x768", resolution_px=256, unit_px=16)
    assert (width, height) == (336, 192)
    assert training_shape("2000x32", resolution_px=32, unit_px=8)[1] == 8


def test_draws_belong_to_a_slot():
    assert draws(0, 1, 2, 3).random() == draws(0, 1, 2, 3).random()
    assert len({draws(*key).random() for key in ((0, 1, 2, 3), (1, 1, 2, 3), (0, 2, 2, 3), (0, 1, 3, 3), (0, 1, 2, 4))}) == 5


@given(size=st.integers(1, 70), world=st.integers(1, 70))
def test_the_slices_of_all_ranks_are_the_global_batch(size: int, world: int):
    if size < world:
        with pytest.raises(ConfigError, match=f"a batch of {size} cannot be cut into {world} parts"):
            slots_of(size, rank=0, world_size=world)
        return
    parts = [slots_of(size, rank=rank, world_size=world) for rank in range(world)]
    assert [slot for part in parts for slot in part] == list(range(size))
    assert {len(part) for part in parts} <= {size // world, -(-size // world)}


@settings(max_examples=30, deadline=None)
@given(
    weights=st.lists(st.floats(0.05, 8), min_size=3, max_size=20),
    square=st.integers(1, 20),
    batch_size=st.integers(1, 9),
    epochs=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_every_sample_is_drawn_as_its_weight_says(weights: list[float], square: int, batch_size: int, epochs: int, seed: int):
    square = min(square, len(weights) - 1)
    shapes = {"32x32": square, "48x16": len(weights) - square}
    plan = Plan(index(shapes, weights=weights), **{**SETTINGS, "seed": seed, "batch_size": batch_size})
    seen = counts(plan, range(epochs))
    relative = np.float32(weights).astype(float) / np.float32(weights).astype(float).mean()
    for bucket in plan.buckets:
        due = bucket.occurrences(epochs) - bucket.occurrences(0)  # the closed form of the module's docstring
        assert np.all(np.abs(due - epochs * relative[bucket.rows]) < 1 + 1e-9)
        left = due - np.array([seen[row] for row in bucket.rows])
        assert left.min() >= 0 and left.sum() == due.sum() % batch_size  # only what does not fill a batch waits
