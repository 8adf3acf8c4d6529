"""Balance: BM25 and water-filling in closed form, draws by their frequencies, and what no order of images may change."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from benchmarks.balance import compare, flat, zipf_tags
from curation.any_of import any_of, tail_share, threshold_of
from curation.bags import fold
from curation.balance import Weighing, balance
from curation.bm25 import bm25, concept_images
from curation.decisions import overlaid
from curation.draw import draw, keys, uniforms
from curation.errors import ConfigError, SchemaError
from curation.languages import image_languages, rake
from curation.scaling import clipped
from curation.schema import BALANCE, CAPTIONS, OCR, SELECTION
from curation.targets import concept_targets, effective_number
from curation.waterfill import water_fill
from jobs.config import parse_config


def _ids(num: int) -> list[str]:
    return [f"{n * 2654435761 % 2**32:032x}" for n in range(num)]


def _named(rows: list[list[int]], num_concepts: int) -> sparse.csr_matrix:
    dense = np.zeros((len(rows), num_concepts))
    for image, concepts in enumerate(rows):
        for concept in concepts:
            dense[image, concept] += 1
    return sparse.csr_matrix(dense)


def test_bm25_equals_its_formula_written_out() -> None:
    rows = [[0, 0, 1], [1], [], [0, 1, 2, 2, 2, 3]]
    found = bm25(_named(rows, 4)).toarray()
    mean = sum(map(len, rows)) / 4
    for image, row in enumerate(rows):
        for concept in range(4):
            tf, df = row.count(concept), sum(concept in other for other in rows)
            idf = np.log(1 + (4 - df + 0.5) / (df + 0.5))
            expected = idf * tf * 2.5 / (tf + 1.5 * (0.25 + 0.75 * len(row) / mean)) if tf else 0.0
            assert found[image, concept] == pytest.approx(expected)


def _poured(total: float, node: int, capacity: np.ndarray, children: dict[int, list[int]], own: np.ndarray) -> None:
    """Water-filling by bisection of the level, node by node: slow, and plainly right."""
    branches = children.get(node, [])
    whole = [_whole(child, capacity, children) for child in branches] + ([capacity[node]] if node >= 0 else [])
    low, high = 0.0, max([*whole, 1.0])
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if sum(min(level, c) for c in whole) < total else (low, level)
    for child, held in zip(branches, whole, strict=False):
        _poured(min(high, held), child, capacity, children, own)
    if node >= 0:
        own[node] = min(high, capacity[node])


def _whole(node: int, capacity: np.ndarray, children: dict[int, list[int]]) -> float:
    return float(capacity[node]) + sum(_whole(child, capacity, children) for child in children.get(node, []))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-1, 11)), min_size=1, max_size=12), st.floats(0, 1.5))
def test_water_filling_equals_bisection_node_by_node(nodes: list[tuple[int, int]], fullness: float) -> None:
    capacity = np.array([held for held, _ in nodes], float)
    parent = np.array([min(above, child - 1) for child, (_, above) in enumerate(nodes)])
    children: dict[int, list[int]] = {}
    for child, above in enumerate(parent.tolist()):
        children.setdefault(above, []).append(child)
    total, slow = fullness * capacity.sum(), np.zeros(len(nodes))
    _poured(total, -1, capacity, children, slow)
    fast = water_fill(total, capacity, parent)
    np.testing.assert_allclose(fast, slow, atol=1e-6)
    assert fast.sum() == pytest.approx(min(total, capacity.sum()))


def test_a_branch_of_many_weighs_as_much_as_a_branch_of_few() -> None:
    parent = np.array([-1, -1, *[0] * 8, *[1] * 2])
    wanted = water_fill(120.0, np.array([0.0, 0.0, *[100.0] * 10]), parent)
    assert wanted[2:10].sum() == pytest.approx(60)
    assert wanted[10:].sum() == pytest.approx(60)


def test_a_concept_that_users_ask_for_gets_more_and_a_rare_one_no_more_than_it_can_hold() -> None:
    wanted = concept_targets(np.array([100.0, 100.0, 1.0]), parent=np.full(3, -1), prior=np.array([1.0, 3.0, 1.0]), gain=4)
    assert wanted[1] == pytest.approx(3 * wanted[0])
    assert wanted[2] == 4.0


def test_parents_in_a_circle_are_refused_by_name() -> None:
    with pytest.raises(SchemaError, match="concept 1 is its own ancestor, through 2"):
        water_fill(1.0, np.ones(3), np.array([-1, 2, 1]))


def test_the_iteration_beats_every_formula_on_the_synthetic_collection() -> None:
    rows = compare(20_000)
    effective = [int(str(row["effective_concepts"])) for row in rows]
    ours = next(n for row, n in zip(rows, effective, strict=True) if "bm25_power = 0.5" in str(row["weights"]))
    assert ours > 1.4 * max(effective[:-4])  # measured 1.7 with 200,000 images
    assert ours > 0.97 * effective[-4]


def test_frequencies_of_a_draw_are_those_of_successive_draws() -> None:
    """Efraimidis & Spirakis: the keys draw as one ball after another; both by chi-square against the exact probabilities."""
    weights, seeds = np.array([5.0, 3.0, 1.0, 1.0]), 20_000
    ids = _ids(4)
    taken = sum(draw(ids, weights, 2, seed=seed).astype(int) for seed in range(seeds))
    share = weights / weights.sum()
    exact = np.array([share[i] + sum(share[j] * share[i] / (1 - share[j]) for j in range(4) if j != i) for i in range(4)])
    statistic = ((taken - seeds * exact) ** 2 / (seeds * exact * (1 - exact))).sum()
    assert stats.chi2.sf(statistic, df=3) > 1e-4


def test_the_first_drawn_is_drawn_in_proportion_to_its_weight() -> None:
    weights, ids = np.array([8.0, 4.0, 2.0, 1.0]), _ids(4)
    first = np.bincount([int(draw(ids, weights, 1, seed=seed).argmax()) for seed in range(15_000)], minlength=4)
    assert stats.chisquare(first, 15_000 * weights / weights.sum()).pvalue > 1e-4


def test_uniforms_are_uniform_and_never_0_or_1() -> None:
    found = uniforms(_ids(20_000), seed=3)
    assert stats.kstest(found, "uniform").pvalue > 1e-4
    assert found.min() > 0
    assert found.max() < 1


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1.0])
def test_a_weight_that_is_no_weight_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=f"weight {wrong} of image {_ids(2)[1]}"):
        keys(_ids(2), np.array([1.0, wrong]), seed=0)


def test_weight_zero_is_never_drawn_and_a_target_above_the_pool_takes_all() -> None:
    assert draw(_ids(4), np.array([1.0, 0.0, 2.0, 0.0]), 9, seed=1).tolist() == [True, False, True, False]


MODES: tuple[dict[str, object], ...] = ({"mode": "concepts"}, {"mode": "metaclip"}, {"mode": "communities"}, {"mode": "none"})


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(MODES), st.sampled_from([None, 7, 0.5]))
def test_the_order_of_images_changes_nothing(random: object, how: dict[str, object], budget: float | None) -> None:
    generator = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    num, ids = 40, _ids(40)
    named = _named([generator.integers(0, 9, generator.integers(0, 5)).tolist() for _ in range(num)], 9)
    kept, language, group = generator.random(num) < 0.8, generator.integers(0, 3, num), generator.integers(0, 4, num)
    order = generator.permutation(num)

    def made(rows: np.ndarray) -> dict[str, dict[str, object]]:
        weighing = Weighing(
            named=named[rows], parent=np.array([-1, 0, 0, 1, 1, -1, -1, 5, 5]), prior=np.ones(9), language=language[rows],
            group=group[rows], language_shares={0: 0.5, 1: 0.5}, reference=0, **how,
        )  # fmt: skip
        table = balance(ids=[ids[row] for row in rows], kept=kept[rows], weighing=weighing, budget=budget, seed=5)
        assert table.schema.equals(BALANCE)
        return {row["id"]: row for row in table.to_pylist()}

    found = made(np.arange(num))
    assert made(order) == found
    weights = np.array([row["weight"] for row in found.values() if row["keep"]])
    assert np.isfinite(weights).all()
    assert weights.mean() == pytest.approx(1, rel=1e-5)
    assert all(row["weight"] == 0 for row in found.values() if not row["keep"])
    wanted = kept.sum() if budget is None else min(kept.sum(), 7 if budget == 7 else round(budget * kept.sum()))
    assert len(weights) == wanted


def test_a_larger_budget_of_equal_weights_only_adds_images() -> None:
    ids, kept = _ids(200), np.ones(200, bool)
    none = Weighing(mode="none", named=sparse.csr_matrix((200, 0)))
    small, large = (balance(ids=ids, kept=kept, weighing=none, budget=n)["keep"].to_numpy() for n in (50, 120))
    assert (small.sum(), large.sum(), (small & ~large).sum()) == (50, 120, 0)


def test_what_the_budget_leaves_out_says_so_and_what_is_fixed_stays() -> None:
    ids, fixed = _ids(20), np.arange(20) < 6
    none = Weighing(mode="none", named=sparse.csr_matrix((20, 0)))
    made = balance(ids=ids, kept=np.ones(20, bool), weighing=none, budget=8, fixed=fixed).to_pylist()
    assert all(row["keep"] for row in made[:6])
    assert sum(row["keep"] for row in made) == 8
    assert all(row["detail"].startswith("8 of 20 images: key -") for row in made if not row["keep"])
    full = balance(ids=ids, kept=np.ones(20, bool), weighing=none, budget=4, fixed=fixed).to_pylist()
    assert [row["keep"] for row in full] == fixed.tolist()
    assert full[9]["detail"].endswith("counts for nothing, those that stay fill it")
    columns = {"id": ids, "keep": [True] * 20, "status": ["kept"] * 20, "reason": None, "detail": None, "bucket": ["32x32"] * 20}
    selection = pa.table({n: v or [None] * 20 for n, v in columns.items()}, schema=SELECTION)
    decided = overlaid(selection, pa.Table.from_pylist(made, schema=BALANCE)).to_pylist()
    assert sum(row["reason"] == "budget" and row["status"] == "dropped" and row["bucket"] is None for row in decided) == 12


def test_images_without_concepts_and_one_concept_nearly_everywhere_survive() -> None:
    rows = [[0] for _ in range(90)] + [[] for _ in range(5)] + [[1], [1], [2], [0, 3], [3]]
    made = balance(ids=_ids(100), kept=np.ones(100, bool), weighing=flat(_named(rows, 4)))
    weight = made["weight"].to_numpy()
    assert weight[97] > 3 * weight[0]
    assert 0.24 < weight.min()
    assert weight.max() < 4.01
    assert made["concepts"].to_pylist()[92:96] == [[], [], [], [1]]


@pytest.mark.parametrize("mode", ["concepts", "metaclip"])
def test_no_concept_at_all_weighs_every_image_the_same(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    weighing = Weighing(mode=mode, named=sparse.csr_matrix((5, 0)))  # type: ignore[arg-type]
    assert balance(ids=_ids(5), kept=np.ones(5, bool), weighing=weighing)["weight"].to_pylist() == [1.0] * 5
    assert "no kept image shows a concept" in caplog.text


def test_nothing_kept_gives_no_weights() -> None:
    made = balance(ids=_ids(3), kept=np.zeros(3, bool), weighing=flat(_named([[0], [1], []], 2)), budget=0.5)
    assert made["weight"].to_pylist() == [0, 0, 0]
    assert made["concepts"].to_pylist() == [None, None, None]


def test_a_budget_above_the_pool_keeps_all_and_one_below_an_image_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    none = Weighing(mode="none", named=sparse.csr_matrix((3, 0)))
    assert balance(ids=_ids(3), kept=np.ones(3, bool), weighing=none, budget=99)["keep"].to_pylist() == [True] * 3
    assert "balance.budget is 99, and 3 images are kept" in caplog.text
    for wrong in (0, -1, 1.5, 0.0, float("nan")):
        with pytest.raises(ConfigError, match="a whole number of images from 1 on, or a share"):
            balance(ids=_ids(3), kept=np.ones(3, bool), weighing=none, budget=wrong)


def test_languages_are_raked_to_their_shares_and_others_stay() -> None:
    language = np.array([0] * 80 + [1] * 10 + [2] * 10)
    raked = rake(np.ones(100), language, {0: 0.5, 1: 0.5, 3: 0.5})
    assert [raked[language == code].sum() for code in range(3)] == pytest.approx([45, 45, 10])


def test_the_language_of_an_image_is_its_captions_else_that_of_its_text() -> None:
    source = {"language": "zh", "level": "source", "text": "\u732b", "backend": "source", "evidence": [], "flags": []}
    ours = source | {"level": "tags", "language": "en", "text": "cat"}
    line = {"text": "SALE", "confidence": 0.9, "language": "en", "polygon": []}
    captions = pa.Table.from_pylist(
        [{"id": i, "captions": c} for i, c in zip("abc", [[ours, source], [ours], None], strict=True)], CAPTIONS
    )
    ocr = pa.Table.from_pylist([{"id": "a", "lines": [line]}, {"id": "b", "lines": [line]}, {"id": "c", "lines": None}], OCR)
    assert image_languages(captions, ocr) == ["zh", "en", "none"]


def test_metaclip_equals_its_formula_and_carries_the_tail_share() -> None:
    rows = [[0, 1], [0], [0], [0, 2], []]
    draws = {0: min(1, 2 / 4), 1: 1.0, 2: 1.0}
    expected = [1 - np.prod([1 - draws[c] for c in row]) if row else 1.0 for row in rows]
    np.testing.assert_allclose(any_of(_named(rows, 3), 2.0), expected)
    english, chinese = np.array([100.0, 50, 10, 5, 5]), np.array([40.0, 20, 2, 2, 1])
    share = tail_share(english, 50)
    assert share == 20 / 170
    carried = threshold_of(chinese, share)
    assert tail_share(chinese, carried) >= share
    assert tail_share(chinese, carried - 1) < share


def test_bounds_hold_after_clipping_and_the_mean_is_one() -> None:
    weights = clipped(np.random.default_rng(0).lognormal(0, 3, 1000), least=0.25, most=4)
    assert weights.mean() == pytest.approx(1)
    assert weights.min() >= 0.25 * (1 - 1e-6)
    assert weights.max() <= 4 * (1 + 1e-6)


def test_effective_number_counts_equal_concepts() -> None:
    assert effective_number(np.array([7.0] * 12 + [0.0])) == pytest.approx(12)
    assert effective_number(np.zeros(4)) == 0.0


def test_full_width_and_decomposed_spellings_are_one_concept() -> None:
    assert fold("\uff23\uff21\uff34 ") == fold("cat")
    assert fold("cafe\u0301") == fold("caf\u00e9")


def test_the_old_key_names_its_new_place() -> None:
    with pytest.raises(ConfigError, match=r"balance: \{mode: communities, by: images\.group, alpha: 0\.5\}"):
        parse_config({"source": "a", "out": "b", "select": {"balance": {"by": "group"}}}, origin="run.yaml")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"alpha": 0.3}, "alpha has no effect with mode concepts; it belongs to mode communities"),
        ({"mode": "none", "steps": 3}, "steps has no effect with mode none"),
        ({"budget": 1.5}, "neither a whole number of images nor a share"),
        ({"languages": {"zh": 0.0}}, r"shares of languages lie in \(0, 1\]"),
    ],
)
def test_a_setting_without_effect_or_sense_is_refused(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"source": "a", "out": "b", "balance": section}, origin="run.yaml")


def test_concepts_of_an_image_stand_by_what_they_say_of_it() -> None:
    named = zipf_tags(300, num_concepts=50)
    made = balance(ids=_ids(300), kept=np.ones(300, bool), weighing=flat(named))
    assert sum(len(row) for row in made["concepts"].to_pylist()) == named.nnz
    assert all(row == sorted(row, reverse=True) for row in made["bm25"].to_pylist())
    assert concept_images(named).sum() == named.nnz
