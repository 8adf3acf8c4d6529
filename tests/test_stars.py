"""Stars: every member is close to its own keeper, and pictures of one kind are not taken for copies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from graph.stars import by_size, edge_stars, stars

Floats = NDArray[np.float32]


def cosines(vectors: NDArray[np.floating]) -> Floats:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.minimum(unit @ unit.T, 1).astype(np.float32)


def keepers(similarity: Floats, rank: list[int] | None = None, **options: float) -> list[int]:
    order = np.arange(len(similarity)) if rank is None else np.array(rank)
    return list(stars(similarity[None], order[None], **{"min_similarity": 0.75} | options)[0])


def copies(cosine_to_source: list[float], seed: int = 0) -> Floats:
    """Return the cosines of a source, first, and edits of it that have nothing else in common."""
    noise = np.linalg.qr(np.random.default_rng(seed).standard_normal((64, 64)))[0]
    rows = [c * noise[0] + np.sqrt(1 - c**2) * noise[i + 1] for i, c in enumerate(cosine_to_source)]
    return cosines(np.stack([noise[0], *rows]))


def test_no_member_of_a_chain_is_farther_from_its_keeper_than_the_threshold() -> None:
    angle = np.deg2rad(8) * np.arange(6)  # neighbours .990, the ends .766
    chain = cosines(np.stack([np.cos(angle), np.sin(angle)], 1))
    found = keepers(chain, min_similarity=0.985)
    assert all(chain[row, keeper] >= 0.985 and found[keeper] == keeper for row, keeper in enumerate(found))
    assert len(set(found)) == 2  # SemDeDup keeps two as well, but drops one at .961 from both


def test_copies_gather_around_their_source_and_the_best_that_reaches_all_stays() -> None:
    similarity = copies([0.8, 0.85, 0.9, 0.8])
    assert keepers(similarity, rank=[4, 0, 1, 2, 3]) == [0] * 5  # copies do not reach one another, only the source reaches all
    tight = copies([0.95, 0.97, 0.96])
    assert keepers(tight, rank=[3, 1, 0, 2]) == [2] * 4  # here a better copy may stand for all


def test_pictures_of_one_kind_are_no_copies() -> None:
    series = np.full((6, 6), 0.82, np.float32)
    np.fill_diagonal(series, 1)
    assert keepers(series) == list(range(6))
    assert keepers(series, max_partial=1.0) == [0] * 6
    series[series < 1] = 0.9  # beyond doubt
    assert keepers(series) == [0] * 6


def test_two_images_give_no_evidence_but_their_cosine() -> None:
    pair = np.array([[1, 0.8], [0.8, 1]], np.float32)
    assert keepers(pair) == [0, 0]
    assert keepers(pair, min_similarity=0.81) == [0, 1]


@st.composite
def random_vectors(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 24))
    centres = generator.standard_normal((draw(st.integers(1, 4)), 16))
    spread = draw(st.floats(0.05, 1.2))
    return centres[generator.integers(0, len(centres), count)] + spread * generator.standard_normal((count, 16)), (
        generator.permutation(count)
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(random_vectors(), st.sampled_from([0.5, 0.75, 0.9]))
def test_the_contract_holds_on_random_vectors(case: tuple[NDArray[np.float64], NDArray[np.int64]], threshold: float) -> None:
    vectors, rank = case
    similarity = cosines(vectors)
    found = stars(similarity[None], rank[None], min_similarity=threshold)[0]
    for row, keeper in enumerate(found):
        assert found[keeper] == keeper
        assert row == keeper or similarity[row, keeper] >= np.float32(threshold)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(random_vectors(), st.randoms(use_true_random=False))
def test_stars_do_not_depend_on_the_order_of_the_members(
    case: tuple[NDArray[np.float64], NDArray[np.int64]], random: object
) -> None:
    vectors, rank = case
    order = np.array(sorted(range(len(rank)), key=lambda _: random.random()))  # type: ignore[attr-defined]
    similarity = cosines(vectors)
    before = stars(similarity[None], rank[None], min_similarity=0.75)[0]
    after = stars(similarity[np.ix_(order, order)][None], rank[order][None], min_similarity=0.75)[0]
    assert np.array_equal(order[after], before[order])


def test_a_batch_gives_what_its_communities_give_alone() -> None:
    generator = np.random.default_rng(1)
    batch = np.stack([cosines(generator.standard_normal((1, 8)) + 0.5 * generator.standard_normal((9, 8))) for _ in range(20)])
    rank = np.stack([generator.permutation(9) for _ in range(20)])
    together = stars(batch, rank, min_similarity=0.75)
    alone = [stars(batch[i : i + 1], rank[i : i + 1], min_similarity=0.75)[0] for i in range(20)]
    assert np.array_equal(together, np.stack(alone))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=40), st.randoms(use_true_random=False))
def test_edge_stars_take_only_along_edges_and_leave_no_edge_between_keepers(edges: list[tuple[int, int]], random: object) -> None:
    pairs = np.array([(a, b) for a, b in edges if a != b], np.int64).reshape(-1, 2)
    rank = np.array(sorted(range(15), key=lambda _: random.random()))  # type: ignore[attr-defined]
    keeper = edge_stars(pairs[:, 0], pairs[:, 1], rank)
    joined = {tuple(pair) for pair in pairs.tolist()} | {tuple(pair[::-1]) for pair in pairs.tolist()}
    assert all(row == k or ((row, k) in joined and rank[k] < rank[row]) for row, k in enumerate(keeper.tolist()))
    kept = {row for row, k in enumerate(keeper.tolist()) if row == k}
    assert not {(a, b) for a, b in joined if a in kept and b in kept}


def test_groups_are_yielded_by_size() -> None:
    blocks = [block.tolist() for block in by_size(np.array([5, 3, 5, 9, 3, 7, 5]))]
    assert blocks == [[[1, 4]], [[0, 2, 6]]]
    assert list(by_size(np.empty(0, np.int64))) == []


@pytest.mark.parametrize("count", [1, 2, 5])
def test_images_out_of_reach_stand_for_themselves(count: int) -> None:
    assert keepers(np.eye(count, dtype=np.float32)) == list(range(count))
