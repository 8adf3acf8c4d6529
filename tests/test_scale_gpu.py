"""What docs/scale.md says of GPUs: the rates give back what was measured, and the page says what nobody has run."""

import pytest

from jobs.scale_gpu import BILLION, NEAREST, exact_rate, hours_of_join, hours_of_nearest, largest, measured_on_gpu
from jobs.scale_page import scale_page


def test_at_the_size_that_was_measured_the_rates_give_back_the_seconds() -> None:
    for piece, computed in (("ivf", hours_of_join), (NEAREST, hours_of_nearest)):
        run = largest(piece)
        hours = computed(run["vectors"])
        assert hours.lists == run["lists"]
        assert 3600 * hours.training == pytest.approx(run["steps"]["train"])
        assert 3600 * hours.assigning == pytest.approx(run["steps"]["probe"])
    assert 3600 * hours.joining == pytest.approx(run["steps"]["nearest"], rel=1e-3)  # not a whole number of rows to a list
    assert 3600 * hours.copying == pytest.approx(run["steps"]["copy"] * (1 + run["probes"]))


def test_a_billion_by_hand() -> None:
    """Every vector meets sqrt(N) centroids and lists of sqrt(N) vectors: 100 times the vectors make 1,000 times the products."""
    run, hours = largest(NEAREST), hours_of_nearest(BILLION)
    more = (BILLION / run["vectors"]) ** 1.5
    assert 3600 * hours.assigning == pytest.approx(more * run["steps"]["probe"], rel=1e-3)
    assert 3600 * hours.joining == pytest.approx(more * run["steps"]["nearest"], rel=1e-3)
    assert hours.together == pytest.approx(hours.training + hours.assigning + hours.joining + hours.copying)


def test_a_repeated_piece_counts_once_and_recall_stands_beside_its_join() -> None:
    rows = measured_on_gpu()
    keys = [(row["piece"], row["vectors"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert all(0 < row["recall"] <= 1 for row in rows if row["piece"] != "exact")
    exact = largest("exact")
    assert exact_rate() == pytest.approx(exact["vectors"] ** 2 / 2 * 1024 / exact["steps"]["join"], rel=1e-3)


def test_the_page_says_that_nobody_has_run_a_billion() -> None:
    text = " ".join(scale_page().split())
    assert "computed, not run" in text
    assert "nobody has seen imageloom do it" in text
    assert f"on one GPU we have run {largest('ivf')['vectors']:,} vectors" in text
