"""The generator of the deduplication benchmarks does what its description says, and SemDeDup is the published rule."""

import numpy as np
import pytest

from benchmarks.planted import CHAIN, GROUP, HARD, KINDS, NEITHER, UNIQUE, Planted, errors, planted
from benchmarks.semdedup import semdedup, sweep


@pytest.fixture(scope="module")
def truth() -> Planted:
    return planted(12_000, seed=7)


def test_any_slice_equals_the_whole(truth: Planted) -> None:
    rows = truth.vectors()
    assert np.array_equal(rows[3000:9000], truth.vectors(3000, 9000))
    assert np.array_equal(rows, np.concatenate(list(truth.parts(5000))))
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.array_equal(planted(12_000, seed=7).vectors(0, 100), rows[:100])


def test_kinds_have_their_shares_and_unique_rows_their_own_entity(truth: Planted) -> None:
    share = np.bincount(truth.kind, minlength=len(KINDS)) / len(truth)
    assert share == pytest.approx([0.64, 0.22, 0.08, 0.03, 0.03], abs=0.02)
    assert len(np.unique(truth.entity[truth.kind == UNIQUE])) == (truth.kind == UNIQUE).sum()
    assert len(np.unique(truth.entity[truth.kind == HARD])) == (truth.kind == HARD).sum()
    assert np.bincount(truth.entity[truth.kind == CHAIN]).max() == 4


def test_copies_are_at_the_stated_cosine_to_their_source(truth: Planted) -> None:
    rows = truth.vectors()
    source = np.full(int(truth.structure.max()) + 1, -1)
    first = (truth.kind == GROUP) & (truth.position == 0)
    source[truth.structure[first]] = np.flatnonzero(first)
    copies = np.flatnonzero((truth.kind == GROUP) & (truth.position > 0))
    cosine = np.einsum("nd,nd->n", rows[copies], rows[source[truth.structure[copies]]])
    assert 0.749 < cosine.min() and cosine.max() < 0.991
    assert np.median(cosine) == pytest.approx(0.94, abs=0.01)


def test_errors_count_lost_entities_and_surplus_copies(truth: Planted) -> None:
    nothing_done = errors(truth, np.ones(len(truth), bool))
    counted = truth.entity != NEITHER
    assert (nothing_done.lost, nothing_done.residual_share) == (0, 1.0)
    assert nothing_done.surplus == counted.sum() - len(np.unique(truth.entity[counted]))
    perfect = np.zeros(len(truth), bool)
    perfect[np.unique(truth.entity, return_index=True)[1]] = True
    assert errors(truth, perfect).err == 0
    assert errors(truth, np.zeros(len(truth), bool)).lost_share == 1.0


def test_semdedup_drops_an_item_close_to_a_dropped_one() -> None:
    angle = np.deg2rad(8) * np.arange(6)  # six vectors eight degrees apart; cosine of neighbours .990
    chain = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float16)
    kept = semdedup(chain, quality=-np.arange(6, dtype=np.float32), num_clusters=1, threshold=0.985)
    assert kept.tolist() == [True, False, False, False, False, False]


def test_a_lower_threshold_of_semdedup_keeps_no_more(truth: Planted) -> None:
    rows = truth.vectors(0, 4000).astype(np.float16)
    kept = sweep(rows, quality=truth.quality[:4000], num_clusters=20, thresholds=(0.75, 0.8, 0.85))
    assert (kept[0.75] <= kept[0.8]).all() and (kept[0.8] <= kept[0.85]).all()
    assert kept[0.75].sum() < kept[0.85].sum() < 4000
