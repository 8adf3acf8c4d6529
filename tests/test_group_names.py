"""What groups of concepts are called: by the class, the words or the foremost of their members, or by a model."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tag_tree import vectors

from graph.group_names import Member, group_names, shared_classes, shared_words, suggested, usable_name
from graph.hypernyms import class_names
from graph.tag_tree import tag_tree

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def named(*members: Member, near: list[float] | None = None) -> tuple[str, str]:
    found = suggested(members, near or [1.0] * len(members))
    return found.name, found.by


def plain(*names: str) -> tuple[str, str]:
    return named(*(Member(name) for name in names))


def test_the_demos_tags_are_named_by_what_their_names_have_in_common() -> None:
    assert plain(*(f"number {word}" for word in NUMBERS)) == ("number", "shared words")
    digits = [f"digit {word} written by hand" for word in NUMBERS]
    assert plain(*digits, "handwritten", "digital clock", "Handwriting") == ("written by hand", "shared words")
    places = ("at the top", "at the bottom", "on the left", "in the middle")
    assert plain(*(f"cyan cross {place}" for place in places)) == ("cyan cross", "shared words")
    assert plain(*(f"{colour} circle {place}" for place in places for colour in ("red", "blue"))) == ("circle", "shared words")
    assert plain("\u5496\u5561\u5c55\u89c8", "\u6444\u5f71\u5c55\u89c8", "\u56fe\u4e66\u5c55\u89c8") == (
        "\u5c55\u89c8",
        "shared words",
    )


def test_entities_of_one_class_are_named_by_it() -> None:
    vehicles = {
        "Bicycle": (["Vehicles", "Sports"], "vehicle with two wheels and pedals"),
        "Motorcycle": (["Vehicles"], "vehicle with two wheels and an engine"),
        "Rocket": (["Spaceflight", "Vehicles"], "vehicle driven by burning gas"),
        "Railway station": (["Buildings"], "place where trains stop"),
    }
    members = [Member(name, classes=class_names(*told)) for name, told in vehicles.items()]
    assert named(*members) == ("vehicle", "shared class")
    assert shared_classes(members[:3]) == ("vehicle",)
    assert named(*members[2:])[1] == "foremost member"  # a rocket and a station are of no one class


def test_a_group_is_not_named_after_a_central_member_that_hardly_an_image_shows() -> None:
    colours = [Member("grey-green", images=3), Member("grey", images=1170), Member("dark blue", images=15)]
    assert named(*colours, near=[0.9, 0.85, 0.86]) == ("grey", "foremost member")
    assert named(*colours, near=[0.9, 0.1, 0.1])[0] == "grey-green"  # nor after a foreign one that many show


def test_a_numeral_or_a_small_word_is_no_name() -> None:
    assert shared_words(["one circle", "one cross", "one star"]) is None
    assert shared_words(["circle in the middle", "star in the middle"]) == "middle"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab -", min_size=1, max_size=12), min_size=2, max_size=6))
def test_shared_words_are_whole_words_of_two_thirds_of_the_names_and_none_longer_is(names: list[str]) -> None:
    found = shared_words(names)
    least = max(2, 2 / 3 * len(names))
    split = [name.replace("-", " ").split() for name in names]
    runs = [{tuple(words[i:j]) for i in range(len(words)) for j in range(i + 1, min(len(words), i + 4) + 1)} for words in split]
    own = {run for each in runs for run in each if "a" not in (run[0], run[-1])}
    longest = max((len(run) for run in own if sum(run in each for each in runs) >= least), default=0)
    if all("-" not in name for name in names):
        assert (len(found.split()) if found else 0) == longest
        assert found is None or sum(tuple(found.split()) in each for each in runs) >= least


def test_a_group_counts_the_images_of_all_its_members() -> None:
    tree = tag_tree(vectors(40, 3), branching=4, max_levels=3)
    found = group_names(tree, [Member(f"t{i}", images=i + 1) for i in range(40)])
    roots = [node for node in range(40, len(tree.parent)) if tree.parent[node] < 0]
    assert sum(found[node - 40].member.images for node in roots) == sum(range(1, 41))
    assert {one.by for one in found} == {"foremost member"}


def test_a_namer_hears_what_it_called_the_children_and_is_replaced_where_it_fails() -> None:
    tree = tag_tree(vectors(64, 5), branching=4)
    heard: list[Sequence[str]] = []

    def namer(groups: Sequence[Sequence[str]]) -> list[str | None]:
        heard.extend(groups)
        return [f"group {len(heard) - len(groups) + i}" if i % 2 else "I'm sorry,\nI cannot" for i in range(len(groups))]

    names = group_names(tree, [Member(f"t{i}") for i in range(64)], namer=namer, named_by="tiny-vl")
    assert len(names) == len(tree.parent) - 64
    assert {"tiny-vl"} < {one.by for one in names}
    assert any(name.startswith("group ") for group in heard for name in group)


@pytest.mark.parametrize(
    ("answer", "name"),
    [("Dogs", "Dogs"), ('"Wild cats".', "Wild cats"), ("\u72d7", "\u72d7"), (None, None), ("", None), ("...", None),
     ("a\nb", None), ("x" * 61, None), ("one two three four five six seven", None), ("bad \ufffd", None)],
)  # fmt: skip
def test_what_counts_as_a_name(answer: str | None, name: str | None) -> None:
    assert usable_name(answer) == name
