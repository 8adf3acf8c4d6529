"""Edits are reversible: inverses undo, composition is associative, N edits give N(N + 1) pairs."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curation.edits import Edit, Operation, apply, between, compose, edit, intersect, invert, ordered_pairs
from curation.errors import EditError

SUBJECTS = ("line:0", "line:1", "sticker:a", "brightness", "crop")
VALUES = st.sampled_from([None, 1, 2, {"text": "A"}, {"text": "B"}])


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    chosen = draw(st.lists(st.sampled_from(SUBJECTS), unique=True))
    made = [Operation(subject, draw(VALUES), draw(VALUES)) for subject in chosen]
    return edit([one for one in made if one.before != one.after])


@st.composite
def versions(draw: st.DrawFn, max_size: int = 6) -> tuple[dict[str, object], list[Edit]]:
    """Draw a base state and different edits of it."""
    state = {subject: draw(VALUES) for subject in SUBJECTS}
    made: list[Edit] = []
    for _ in range(draw(st.integers(0, max_size))):
        chosen = draw(st.lists(st.sampled_from(SUBJECTS), unique=True, min_size=1))
        after = [(subject, draw(VALUES)) for subject in chosen]
        made.append(edit([Operation(name, state[name], value) for name, value in after if value != state[name]]))
    return {name: value for name, value in state.items() if value is not None}, made


def compose_or_none(first: Edit | None, second: Edit | None) -> Edit | None:
    try:
        return None if first is None or second is None else compose(first, second)
    except EditError:
        return None


@given(edits())
def test_an_inverse_of_an_inverse_is_the_edit_and_undoes_it(change: Edit) -> None:
    assert invert(invert(change)) == change
    assert compose(change, invert(change)) == compose(invert(change), change) == ()


@given(versions(max_size=3))
def test_composition_is_associative_where_it_is_defined(drawn: tuple[dict[str, object], list[Edit]]) -> None:
    every = [change for _, _, change in ordered_pairs(drawn[1])]
    for first in every:
        for second in every:
            for third in every:
                left = compose_or_none(compose_or_none(first, second), third)
                right = compose_or_none(first, compose_or_none(second, third))
                assert left is None or right is None or left == right


@given(versions())
def test_the_inverse_of_a_composition_is_the_inverses_in_reverse(drawn: tuple[dict[str, object], list[Edit]]) -> None:
    for _, _, first in ordered_pairs(drawn[1]):
        for _, _, second in ordered_pairs(drawn[1]):
            both = compose_or_none(first, second)
            if both is not None:
                assert invert(both) == compose(invert(second), invert(first))


@given(versions())
def test_n_versions_give_n_times_n_plus_one_ordered_pairs_that_lead_from_state_to_state(
    drawn: tuple[dict[str, object], list[Edit]],
) -> None:
    state, made = drawn
    states = [state, *(apply(change, state) for change in made)]
    pairs = list(ordered_pairs(made))
    assert len(pairs) == len(made) * (len(made) + 1) == len({(source, target) for source, target, _ in pairs})
    for source, target, change in pairs:
        assert apply(change, states[source]) == states[target]
        differing = {name for name in SUBJECTS if states[source].get(name) != states[target].get(name)}
        assert {operation.subject for operation in change} == differing  # exactly what differs, nothing else


@given(versions(max_size=4))
def test_a_chain_of_versions_composes_to_the_direct_edit(drawn: tuple[dict[str, object], list[Edit]]) -> None:
    _, made = drawn
    assume(len(made) > 1)
    chain: Edit = ()
    for source, target in pairwise(made):
        chain = compose(chain, between(source, target))
    assert chain == between(made[0], made[-1])


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([Operation("brightness", 1.0, 1.0)], "no_change"),
        ([Operation("line:0", "a", "b"), Operation("line:0", "b", "c")], "overlap"),
        ([Operation("sticker:a", None, 1, (0, 0, 9, 9)), Operation("hole:b", None, 1, (8, 8, 20, 20))], "overlap"),
    ],
)
def test_edits_that_change_nothing_or_overlap_are_refused_with_a_typed_error(operations: list[Operation], code: str) -> None:
    with pytest.raises(EditError) as caught:
        edit(operations)
    assert caught.value.code == code


def test_an_edit_that_expects_another_state_is_refused() -> None:
    with pytest.raises(EditError, match="mismatch"):
        apply(edit([Operation("brightness", 1, 2)]), {"brightness": 3})
    with pytest.raises(EditError, match="mismatch"):
        compose(edit([Operation("crop", None, "left")]), edit([Operation("crop", "right", None)]))


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert not intersect((0, 0, 4, 4), (4, 0, 8, 4))
    assert intersect((0, 0, 5, 4), (4, 0, 8, 4))
