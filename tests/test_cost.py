"""The arithmetic of deduplication: closed forms against counting, and against what real joins do."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph import cost


def test_pairs_are_counted_as_enumeration_counts_them() -> None:
    for rows in (0, 1, 2, 7):
        assert cost.all_pairs(rows) == len(list(itertools.combinations(range(rows), 2)))


def test_equal_lists_have_an_imbalance_of_one_and_unequal_ones_more() -> None:
    assert cost.imbalance([5, 5, 5], [10, 10, 10]) == pytest.approx(1.0)
    assert cost.imbalance([9, 3, 3], [10, 10, 10]) > 1.0
    assert cost.imbalance([], []) == 1.0


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_the_join_over_equal_lists_is_the_sum_over_lists(sizes: list[int]) -> None:
    """With every list as long as the mean, products at home and of guests are those of counting list by list, up to n / 2."""
    size, lists, nprobe = sizes[0], len(sizes), min(3, len(sizes))
    found = cost.join(size * lists, dimension=8, lists=lists, nprobe=nprobe)
    assert found.at_home == pytest.approx(lists * size * size / 2)
    assert found.guests == pytest.approx(lists * size * (nprobe - 1) * size)


def test_one_list_and_one_probe_is_the_exact_join() -> None:
    assert cost.join(1000, dimension=8, lists=1, nprobe=1).products == pytest.approx(cost.all_pairs(1000), rel=2e-3)


def test_a_product_is_two_operations_per_term() -> None:
    a, b = np.ones((3, 16)), np.ones((5, 16))
    multiplications, additions = a.shape[0] * b.shape[0] * 16, a.shape[0] * b.shape[0] * 16
    assert cost.flops(3 * 5, 16) == multiplications + additions


def test_two_levels_assign_with_far_fewer_products() -> None:
    wide = {"sample_per_list": 30, "iterations": 6}
    one = cost.quantiser(10**9, lists=262_144, two_level_from=10**9, **wide)
    two = cost.quantiser(10**9, lists=262_144, two_level_from=4096, **wide)
    assert two.cells == 512
    assert one.assigning(10**9, descend=8) / two.assigning(10**9, descend=8) == pytest.approx(262_144 / (512 * 9))
    assert one.training > 100 * two.training


def test_a_sample_is_never_larger_than_the_collection() -> None:
    assert cost.quantiser(100, lists=10, sample_per_list=30, iterations=6, two_level_from=4096).sample == 100


def test_a_forest_has_fewer_edges_than_images() -> None:
    assert cost.Components(rows=10, edges=1000).forest_bytes == 9 * cost.FOREST_BYTES
    assert cost.Components(rows=10, edges=3).forest_bytes == 3 * cost.FOREST_BYTES
    assert cost.Components(rows=0, edges=0).forest_bytes == 0


def test_a_large_group_is_thin_in_a_neighbour_graph() -> None:
    """The pitfall of truncated lists: a clique of s copies keeps the density 2 k / (s - 1), counted here on a ring of lists."""
    size, k = 61, 6
    named = {(min(i, (i + j) % size), max(i, (i + j) % size)) for i in range(size) for j in range(1, k + 1)}
    assert cost.truncation(size, k) == pytest.approx(len(named) / cost.all_pairs(size))
    assert cost.truncation(5, 20) == 1.0
