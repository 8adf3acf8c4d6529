import numpy as np
import pytest

from graph.misplaced import MIN_RANKS, misplaced, random_share


def _ranks(seed: int, *, random: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of captions of which some are drawn at random, the others crowd near 0; and which are random."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(count) < random
    return _points(np.where(wrong, generator.random(count), generator.beta(1, 20, count))), wrong


def _points(ranks: np.ndarray) -> np.ndarray:
    return np.stack([ranks, ranks], axis=1)


@pytest.mark.parametrize("random", [0.02, 0.1, 0.3])
def test_the_share_and_the_chances_of_random_captions_are_those_planted(random):
    for seed in range(3):
        ranks, wrong = _ranks(seed, random=random)
        assert random_share(ranks) == pytest.approx(wrong.mean(), abs=0.02)
        good = 20 * (1 - ranks[:, 0]) ** 19  # the density of beta(1, 20)
        exact = random / (random + (1 - random) * good)
        assert np.abs(misplaced(ranks) - exact).mean() < 0.03
        assert wrong[misplaced(ranks) > 0.9].mean() > 0.85


def test_chances_never_fall_as_the_rank_grows():
    ranks, _ = _ranks(5, random=0.2)
    assert (np.diff(misplaced(ranks)[np.argsort(ranks[:, 0])]) >= 0).all()


def test_nothing_is_said_when_neighbours_know_nothing_or_images_are_few():
    uniform = _points(np.random.default_rng(1).random(4000))
    assert np.isnan(misplaced(uniform)).all()
    assert np.isnan(misplaced(_ranks(2, random=0.1, count=MIN_RANKS - 1)[0])).all()
    assert misplaced(np.empty((0, 2))).shape == (0,) and np.isnan(random_share(np.full((3, 2), np.nan)))


def test_images_without_a_rank_stay_without_a_chance():
    ranks, _ = _ranks(3, random=0.1)
    ranks[::3] = np.nan
    assert (np.isnan(misplaced(ranks)) == np.isnan(ranks[:, 0])).all()


def test_captions_that_are_all_right_are_not_suspected():
    ranks = _points(np.random.default_rng(4).beta(1, 40, 3000))
    assert not (misplaced(ranks) > 0.5).any()


def test_ranks_of_few_kinds_are_judged_as_those_of_many():
    generator = np.random.default_rng(6)
    wrong = generator.random(2000) < 0.2
    kind = np.where(wrong, generator.integers(5, size=2000), 0)  # the nth best of five kinds of captions, each a fifth of all
    ranks = np.stack([kind / 5, (kind + 1) / 5], axis=1)
    assert random_share(ranks) == pytest.approx(0.2, abs=0.03)
    chances = misplaced(ranks)
    assert chances[kind > 0].min() > 0.9
    assert chances[kind == 0].max() == pytest.approx(0.04 / 0.84, abs=0.02)  # a random caption names the right kind by chance
