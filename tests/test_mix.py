"""Text-to-image and editing in one plan, and batch sizes by token budget."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_index import index

from curation.errors import ConfigError
from model.buckets import TOKENS_PER_WORD
from model.passes import Passes, last_at_most
from model.plan import Plan, PlannedBatch

SETTINGS = {
    "batch_size": 8, "resolution_px": 32, "unit_px": 8, "seed": 0, "level_weights": {"source": 1.0},
    "language_weights": {"en": 1.0},
}  # fmt: skip
MANY = {"32x32": 90, "64x16": 41}
FEW = {"32x32": 13, "16x48": 5}


def mixed(share: float, **changes: object) -> Plan:
    edits = index(FEW, levels=("instruction",))
    return Plan(index(MANY), edits=edits, edit_share=share, **{**SETTINGS, **changes})  # type: ignore[arg-type]


def epochs_of(plan: Plan, stop: int) -> list[PlannedBatch]:
    return [plan.batch(epoch, number) for epoch in range(stop) for number in range(plan.epoch_length(epoch))]


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.02, 0.9), batch_size=st.integers(1, 9), budget=st.sampled_from([0, 200]), seed=st.integers(0, 9))
def test_edits_are_their_share_of_the_samples_at_the_end_of_every_epoch(share: float, batch_size: int, budget: int, seed: int):
    plan = mixed(share, batch_size=batch_size, token_budget=budget, seed=seed)
    edited = images = 0
    largest = max(b["batch_size"] for b in plan.report()["edits"]["buckets"])
    for epoch in range(4):
        for batch in (plan.batch(epoch, number) for number in range(plan.epoch_length(epoch))):
            edited += len(batch.rows) * (batch.task == "edit")
            images += len(batch.rows) * (batch.task == "image")
        due = images * share / (1 - share)
        assert due - largest - 1 < edited <= due + 1e-6


def test_neither_task_loses_or_repeats_a_batch_by_being_mixed():
    plan = mixed(0.2)
    batches = epochs_of(plan, 6)
    alone = Plan(index(MANY), **SETTINGS)
    assert [b.rows for b in batches if b.task == "image"] == [b.rows for b in epochs_of(alone, 6)]
    edits = [b.rows for b in batches if b.task == "edit"]
    seen = np.bincount([row for rows in edits for row in rows], minlength=18)
    assert len(edits) == 24 and seen.max() - seen.min() <= 2  # two buckets, each with at most one pass under way
    again = mixed(0.2)
    assert [again.batch(b.epoch, b.number) for b in reversed(batches)] == batches[::-1]  # by lookup, in any order


def test_tasks_stand_in_drawn_order_that_differs_between_epochs():
    plan = mixed(0.2)
    orders = [[plan.batch(epoch, n).task for n in range(plan.epoch_length(epoch))] for epoch in range(3)]
    assert all("edit" in order for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert orders[1] != sorted(orders[1])


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=3), size=st.integers(1, 20), seed=st.integers(0, 9))
def test_a_position_is_found_as_by_counting(counts: list[int], size: int, seed: int):
    names = ("32x32", "64x16", "16x64")
    plan = Plan(index(dict(zip(names, counts, strict=False))), **{**SETTINGS, "batch_size": size})
    passes = Passes(plan.buckets, seed=seed)
    walked = [passes.batch(e, n) for e in range(12) for n in range(passes.epoch_length(e))]
    for position, (bucket, rows) in enumerate(walked):
        found, same = passes.at(position)
        assert found is bucket and np.array_equal(rows, same)
    ends = np.cumsum([len(rows) for _, rows in walked])
    for samples in range(int(ends[-1]) if len(ends) else 0):
        assert passes.batches_within(samples) == int((ends <= samples).sum())


def test_the_largest_at_most_a_bound_is_found():
    growing = [0, 0, 3, 3, 3, 7, 12]
    for bound in range(11):
        assert last_at_most(lambda n: growing[min(n, 6)] + max(0, n - 6), bound) == max(
            n for n, v in enumerate(growing) if v <= bound
        )


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"data.pair_share is 1.0; it must be between 0 and 1"):
        mixed(1.0)


def test_an_edit_counts_both_its_pictures_and_its_instruction():
    report = mixed(0.2, token_budget=300, pad_to=8, reference_tokens=5).report()
    images, edits = (part["buckets"][-1]["tokens_per_sample"] for part in (report, report["edits"]))
    text = 8  # two words are three tokens, padded to eight
    assert (images, edits) == (16 + text, 2 * 16 + text + 5)


@settings(max_examples=40, deadline=None)
@given(budget=st.integers(1, 4000), multiple=st.integers(1, 12), words=st.integers(0, 60), pad_to=st.sampled_from([1, 8, 32]))
def test_batches_fill_the_budget_in_whole_units(budget: int, multiple: int, words: int, pad_to: int):
    table = index({"64x64": 9, "128x32": 7, "32x96": 5}, words=words)
    plan = Plan(table, **{**SETTINGS, "resolution_px": 64}, token_budget=budget, batch_multiple=multiple, pad_to=pad_to)
    for bucket in plan.buckets:
        image = bucket.shape.width_px * bucket.shape.height_px // 64
        text = max(1, round(words * TOKENS_PER_WORD))
        tokens = sum(-(-n // pad_to) * pad_to for n in (image, text))
        assert (bucket.sample_tokens, bucket.padding_tokens) == (tokens, tokens - image - text)
        assert bucket.batch_size % multiple == 0
        assert bucket.batch_size == multiple or bucket.batch_size * tokens <= budget
        assert (bucket.batch_size + multiple) * tokens > budget
    for batch in itertools.islice(epochs_of(plan, 2), 20):
        assert len(batch.rows) == batch.bucket.batch_size


def test_the_report_says_sizes_leftovers_repeats_and_enlargement():
    table = pa.concat_tables([index({"32x32": 10, "16x48": 3}), index({"24x24": 2})])
    narrow, square = Plan(table, **SETTINGS).report()["buckets"]
    assert (narrow["samples"], square["samples"]) == (3, 12)
    assert (narrow["batch_size"], narrow["left_for_the_next_epoch"], narrow["most_repeats_per_batch"]) == (8, 3, 3)
    assert (square["left_for_the_next_epoch"], square["most_repeats_per_batch"], square["most_repeats_per_epoch"]) == (4, 1, 1)
    assert square["enlarged"] == 2


def test_every_setting_of_the_mix_changes_the_digest():
    plans = [mixed(0.2), mixed(0.3), mixed(0.2, token_budget=500), mixed(0.2, batch_multiple=2), Plan(index(MANY), **SETTINGS)]
    assert len({plan.digest for plan in plans}) == 5


def test_edits_made_of_an_image_that_is_held_out_are_left_out():
    edits = index(FEW, levels=("instruction",))
    made_of = [[f"{row:032x}", f"{row + 40:032x}"][: row % 3] for row in range(len(edits))]  # none, one or two images
    plan = Plan(
        index(MANY), edits=edits.append_column("images", pa.array(made_of, pa.list_(pa.string()))), held_out_share=0.3, **SETTINGS
    )
    hidden = {index(MANY)["id"][int(row)].as_py() for bucket in plan.held_out for row in bucket.rows}
    seen = {row for batch in epochs_of(plan, 12) if batch.task == "edit" for row in batch.rows}
    assert seen == {row for row, images in enumerate(made_of) if not hidden & set(images)}
    assert plan.report()["edits"]["excluded"] == {"held out for validation": len(edits) - len(seen)}
    assert 0 < len(edits) - len(seen) < len(edits) / 2
