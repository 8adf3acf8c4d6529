import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.ancestry import levels
from graph.tag_tree import tag_tree


def vectors(count, seed=0, dimension=8):
    random = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return random / np.linalg.norm(random, axis=1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(2, 9), st.integers(0, 4), st.integers(0, 3))
def test_any_texts_give_a_forest_whose_groups_have_two_members_or_more(count, branching, max_levels, seed):
    texts = vectors(count, seed)
    texts[: count // 3] = texts[:1]  # equal texts are no obstacle
    tree = tag_tree(texts, branching=branching, max_levels=max_levels)
    assert levels(tree.parent).max(initial=0) <= max_levels
    assert all(len(tree.children(group)) >= 2 for group in range(count, len(tree.parent)))
    assert (tree.parent[: len(tree.parent)] != np.arange(len(tree.parent))).all()
    assert np.allclose(np.linalg.norm(tree.vectors, axis=1), 1, atol=1e-5)


def test_clear_groups_are_found_and_their_children_stand_by_how_central_they_are():
    centres = vectors(4, 1, 32)
    texts = np.concatenate([0.9 * centre + 0.02 * vectors(6, 2 + i, 32) for i, centre in enumerate(centres)])
    texts = np.concatenate([texts, centres])  # the centres themselves are texts 24 to 27
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    tree = tag_tree(texts, branching=7, max_levels=1)
    groups = tree.parent.reshape(-1)[:24].reshape(4, 6)
    assert sorted({tuple(set(row)) for row in groups.tolist()}) == [(28,), (29,), (30,), (31,)]
    for group in range(28, 32):
        members = tree.children(group)
        centre = texts[members].mean(axis=0)
        assert members[0] == members[np.argmax(texts[members] @ centre)]


def test_the_same_texts_give_the_same_tree():
    one, two = (tag_tree(vectors(50), branching=5) for _ in range(2))
    assert one.parent.tolist() == two.parent.tolist()
