import numpy as np
import pytest

from graph.caption_rank import caption_ranks

ANIMALS = ("cat", "dog", "horse", "cow")
TEMPLATES = ("a photo of a {}", "one {} in the grass", "{}, seen from the side")


def _collection(seed: int = 0, swapped: float = 0.3) -> tuple[list[str | None], list[list[int]], np.ndarray]:
    """Captions of 400 images of four kinds, some dealt anew; neighbours: 16 of the same kind and 4 of any."""
    generator = np.random.default_rng(seed)
    kind = generator.integers(4, size=400)
    wrong = generator.random(400) < swapped
    named = np.where(wrong, (kind + generator.integers(1, 4, 400)) % 4, kind)
    captions = [TEMPLATES[generator.integers(3)].format(ANIMALS[k]) for k in named]
    same = [generator.choice(np.flatnonzero(kind == k), 16, replace=False) for k in kind]
    neighbours = [[*map(int, rows), *map(int, generator.integers(400, size=4))] for rows in same]
    return list(captions), neighbours, wrong


def test_swapped_captions_rank_behind_true_ones():
    captions, neighbours, wrong = _collection()
    ranks = caption_ranks(captions, neighbours).mean(axis=1)
    assert np.mean(ranks[wrong][:, None] > ranks[~wrong]) > 0.95  # the area under the curve
    assert np.median(ranks[~wrong]) < 0.25 < np.median(ranks[wrong])


def test_ranks_are_what_comparing_every_caption_by_hand_gives():
    captions, neighbours, _ = _collection(1)
    captions, neighbours = captions[:60], [[row for row in rows if row < 60] * 3 for rows in neighbours[:60]]
    words = [set((caption or "").replace(",", "").split()) for caption in captions]
    count = {word: sum(word in said for said in words) for said in words for word in said}

    def vector(said: set[str]) -> dict[str, float]:
        weights = {word: np.log(60 / count[word]) for word in said}
        norm = np.sqrt(sum(weight**2 for weight in weights.values()))
        return {word: weight / norm for word, weight in weights.items()}

    def fit(row: int, said: set[str]) -> float:
        mine = vector(said)
        return sum(mine[word] * vector(words[n]).get(word, 0) for n in neighbours[row] for word in mine)

    fits = np.array([[fit(row, other) for other in words] for row in range(60)])
    own = fits.diagonal()[:, None]
    expected = np.stack([(fits > own + 1e-9).mean(axis=1), (fits > own - 1e-9).mean(axis=1)], axis=1)
    ranks = caption_ranks(captions, neighbours)
    enough = np.array([len(rows) >= 5 for rows in neighbours])
    assert ranks[enough] == pytest.approx(expected[enough])
    assert np.isnan(ranks[~enough]).all()


def test_nothing_is_said_without_a_caption_or_neighbours_with_one():
    ranks = caption_ranks(["a cat", None, "", "a dog", "..."], [[1, 2, 3, 4]] * 5)
    assert np.isnan(ranks).all()
    assert len(caption_ranks([], [])) == 0


def test_scripts_without_spaces_have_words_too():
    captions, neighbours, wrong = _collection(2)
    chinese = dict(zip(ANIMALS, ("\u732b", "\u72d7", "\u9a6c", "\u725b"), strict=True))
    translated: list[str | None] = [f"\u4e00\u53ea{next(chinese[a] for a in ANIMALS if a in (c or ''))}" for c in captions]
    ranks = caption_ranks(translated, neighbours).mean(axis=1)
    assert np.mean(ranks[wrong][:, None] > ranks[~wrong]) > 0.9
