"""Enrichment: exact tests against scipy's own, adjusted p against the definition, intervals against published numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from graph.enrichment import difference_interval, enrichment, wilson

COUNTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 200)), min_size=1, max_size=8).filter(
    lambda pairs: sum(a for a, _ in pairs) > 0 and sum(b for _, b in pairs) > 0
)


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_p_is_fishers_one_sided_exact_test(pairs: list[tuple[int, int]]) -> None:
    sample, background = (np.array(column) for column in zip(*pairs, strict=True))
    found = enrichment(sample=sample, background=background)
    for a, b, p in zip(sample, background, found.p, strict=True):
        table = [[a, sample.sum() - a], [b, background.sum() - b]]
        assert p == pytest.approx(fisher_exact(table, alternative="greater").pvalue, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_q_is_the_smallest_rate_at_which_the_group_is_reported(pairs: list[tuple[int, int]]) -> None:
    sample, background = (np.array(column) for column in zip(*pairs, strict=True))
    found = enrichment(sample=sample, background=background)
    ordered = np.sort(found.p)
    by_definition = [
        min(ordered[j] * len(ordered) / (j + 1) for j in range(len(ordered)) if ordered[j] >= p - 1e-15) for p in found.p
    ]
    assert found.q == pytest.approx(np.minimum(by_definition, 1.0), abs=1e-9)


def test_ratio_is_share_over_share() -> None:
    found = enrichment(sample=np.array([6, 4, 0, 0]), background=np.array([100, 100, 200, 0]))
    assert found.ratio[:3] == pytest.approx([0.6 / 0.25, 0.4 / 0.25, 0])
    assert np.isnan(found.ratio[3])
    assert np.isinf(enrichment(sample=np.array([1, 1]), background=np.array([0, 5])).ratio[0])


def test_equal_shares_are_no_enrichment() -> None:
    found = enrichment(sample=np.array([10, 30]), background=np.array([1000, 3000]))
    assert found.ratio == pytest.approx([1, 1])
    assert (found.q > 0.5).all()


@pytest.mark.parametrize("sample", [np.zeros(3, int), np.ones(3, int)])
def test_an_empty_side_is_refused(sample: np.ndarray) -> None:
    with pytest.raises(ValueError, match="lie in any group"):
        enrichment(sample=sample, background=1 - sample)


def test_intervals_are_those_of_the_literature() -> None:
    # Newcombe 1998, table II: method 10 of 56/70 - 48/80, 9/10 - 3/10 and 10/10 - 0/10; method 3 of 81/263
    low, high = difference_interval(first=np.array([56.0]), num_first=70, second=np.array([48.0]), num_second=80)
    assert (low[0], high[0]) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))
    low, high = difference_interval(first=np.array([9.0, 10.0]), num_first=10, second=np.array([3.0, 0.0]), num_second=10)
    assert low == pytest.approx([0.1705, 0.6075], abs=5e-5)
    assert high == pytest.approx([0.8090, 1.0], abs=5e-5)
    low, high = wilson(successes=np.array([81.0]), trials=263)
    assert (low[0], high[0]) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
