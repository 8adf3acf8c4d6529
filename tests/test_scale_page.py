"""docs/scale.md: its arithmetic against figures worked out by hand, and what it says against the code's own numbers."""

import pytest

from jobs import scale_page
from jobs.config_graph import JoinConfig
from jobs.estimate import IMBALANCE
from jobs.scale_page import PAPER_GPUS, PAPER_HOURS, PAPER_ITEMS, sizes
from jobs.scale_page import scale_page as page


def test_the_paper_s_eight_hours_are_230_microseconds_of_a_gpu_each() -> None:
    assert PAPER_HOURS * PAPER_GPUS * 3600 / PAPER_ITEMS == pytest.approx(230e-6, rel=2e-3)


def test_a_billion_vectors_by_hand() -> None:
    """N = 1e9, d = 512: 2 bytes a number; (N^2 / 2) products of 1024 FLOP; 8 bytes a parent; 16 an edge of a forest."""
    found = sizes(10**9)
    assert found["vectors"] == 1.024e12
    assert found["brute"] == pytest.approx(1e18 / 2 * 1024)
    assert found["parent"] == 8e9
    assert found["forest"] == pytest.approx(16e9)
    lists, cells = found["lists"], round(found["lists"] ** 0.5)
    settings = JoinConfig()
    mean = 1e9 / lists
    assert found["joining"] == pytest.approx(IMBALANCE * (0.5 + settings.nprobe - 1) * 1e9 * mean * 1024)
    assert found["assigning"] == pytest.approx(1e9 * (cells + settings.descend * lists / cells) * 1024)  # two levels


def test_everything_grows_with_the_number_of_images() -> None:
    columns = [sizes(rows) for rows in scale_page.SIZES]
    for _, key, _ in scale_page.ROWS:
        values = [column[key] for column in columns]
        assert values == sorted(values), key


def test_work_per_image_grows_far_slower_than_images() -> None:
    """Ten times the images cost at most 30 times the operations: lists of a bounded length, assigned through two levels."""
    for smaller, larger in zip(scale_page.SIZES[1:], scale_page.SIZES[2:], strict=False):
        a, b = (sum(sizes(rows)[key] for key in ("training", "assigning", "joining")) for rows in (smaller, larger))
        assert b / a < 30


def test_the_page_says_what_is_computed_and_names_the_paper() -> None:
    text = page()
    assert "arithmetic, not a measurement" in " ".join(text.split())
    assert "2511.22699" in text
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("|"))
