import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.ancestry import forest, levels

CASES = st.integers(1, 14).flatmap(
    lambda n: st.tuples(
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from([1.0, 2.0, 3.0])), max_size=50),
        st.permutations(range(n)),
        st.integers(0, 5),
        st.randoms(use_true_random=False),
    )
)


def grown(edges, importance, max_depth):
    child, parent, strength = (np.array([edge[i] for edge in edges]) for i in range(3))
    return forest(
        child=child.astype(np.int64),
        parent=parent.astype(np.int64),
        strength=strength.astype(float),
        importance=np.array(importance, float),
        max_depth=max_depth,
    )


def ancestors(parent, node):
    found = []
    while parent[node] >= 0:
        node = int(parent[node])
        assert node not in found
        found.append(node)
    return found


@settings(max_examples=300, deadline=None)
@given(CASES)
def test_any_candidates_give_a_forest_of_bounded_depth(case):
    edges, importance, max_depth, _ = case
    parent, level = grown(edges, importance, max_depth)
    assert [len(ancestors(parent, node)) for node in range(len(importance))] == level.tolist()
    assert level.max() <= max_depth
    unbounded, _ = grown(edges, importance, 99)
    candidates = {(c, p) for c, p, _ in edges if c != p}
    for node in range(len(importance)):
        if unbounded[node] >= 0:
            assert (node, unbounded[node]) in candidates
        if parent[node] >= 0:
            assert parent[node] in ancestors(unbounded, node)


@settings(max_examples=200, deadline=None)
@given(CASES)
def test_a_node_is_a_root_only_where_it_has_no_candidate_or_cuts_a_cycle(case):
    edges, importance, _, _ = case
    parent, _ = grown(edges, importance, 99)
    reach = {node: {node} for node in range(len(importance))}
    for _ in importance:
        for child, above, _ in edges:
            reach[child] |= reach[above]
    for node in np.flatnonzero(parent < 0):
        above = reach[int(node)] - {int(node)}
        assert all(int(node) in reach[other] for other in above)  # whatever is above it is also below it
        assert all(importance[node] > importance[other] for other in above)


@settings(max_examples=200, deadline=None)
@given(CASES)
def test_neither_the_order_of_candidates_nor_the_numbering_matters(case):
    edges, importance, max_depth, random = case
    parent, level = grown(edges, importance, max_depth)
    shuffled = [*edges, *edges[:3]]
    random.shuffle(shuffled)
    again, _ = grown(shuffled, importance, max_depth)
    assert again.tolist() == parent.tolist()
    number = list(range(len(importance)))
    random.shuffle(number)
    renamed = [(number[c], number[p], s) for c, p, s in edges]
    moved = [importance[number.index(i)] for i in range(len(number))]
    other, other_level = grown(renamed, moved, max_depth)
    assert [other[number[i]] for i in range(len(number))] == [number[p] if p >= 0 else -1 for p in parent]
    assert [other_level[number[i]] for i in range(len(number))] == level.tolist()


def test_the_strongest_candidate_wins_then_the_deepest():
    edges = [(1, 0, 1.0), (2, 1, 1.0), (3, 0, 1.0), (3, 2, 1.0), (4, 0, 2.0), (4, 2, 1.0)]
    parent, level = grown(edges, [5, 4, 3, 2, 1], 9)
    assert parent.tolist() == [-1, 0, 1, 0, 0]  # 3: breadth-first depth 1, before node 2
    assert level.tolist() == [0, 1, 2, 1, 1]


def test_nothing_gives_nothing_and_a_cycle_of_parents_is_refused():
    assert [side.tolist() for side in grown([], [], 3)] == [[], []]
    with pytest.raises(ValueError, match="cycle"):
        levels(np.array([1, 0]))
