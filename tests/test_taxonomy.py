from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.bags import bags, concept_bags, fold
from curation.schema import CAPTIONS, MENTIONS, TAGS, TAXONOMY
from graph.taxonomy import Entity, Grouping, taxonomy

KNOWLEDGE = {
    0: Entity("Animal", "\u52a8\u7269", None, 0.3),
    1: Entity("Dog", "\u72d7", 0, 0.2),
    2: Entity("Poodle", None, 1, 0.1),
    3: Entity("Justice", keep=False),
    4: Entity("Mercury (planet)", "\u6c34\u661f", None, 0.05),
    5: Entity("Mercury (element)", None, None, 0.06),
}


def knowledge(rows):
    return {row: KNOWLEDGE[row] for row in rows}


def spelled(texts):
    """Vectors of letters: an encoder without weights, for which equal texts are equal and alike ones near."""
    rows = np.array([[text.count(letter) + 0.1 for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def made(rows, **arguments):
    return taxonomy(shown=lambda: [[Counter(bag) for bag in rows]], knowledge=knowledge, **arguments)


def by_name(table):
    return {row["name"]: row for row in table.to_pylist()}


TERMS = st.one_of(st.sampled_from(sorted(KNOWLEDGE)), st.text("abcde", min_size=1, max_size=2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(TERMS, max_size=5), max_size=12), st.integers(2, 4), st.randoms(use_true_random=False))
def test_any_bags_give_a_forest_whose_counts_are_those_of_brute_force(rows, branching, random):
    grouping = Grouping(encode=spelled, branching=branching)
    table = made(rows, grouping=grouping)
    assert table.schema.equals(TAXONOMY, check_metadata=True)
    concepts = table.to_pylist()
    ancestors = []
    for place, one in enumerate(concepts):
        assert one["concept"] == place and (one["parent"] is None or one["parent"] < place)
        ancestors.append({place} | (ancestors[one["parent"]] if one["parent"] is not None else set()))
        assert one["level"] == len(ancestors[place]) - 1
    shown = [set(bag) for bag in concept_bags([Counter(row) for row in rows], table)]
    for one in concepts:
        assert one["own"] == sum(one["concept"] in direct for direct in shown)
        assert one["images"] == sum(any(one["concept"] in ancestors[c] for c in direct) for direct in shown)
    shuffled = [random.sample(row, len(row)) for row in random.sample(rows, len(rows))]
    assert made(shuffled, grouping=grouping).equals(table)


def test_a_tag_that_spells_an_entity_is_that_entity_and_brings_its_ancestors():
    found = by_name(made([[2, "poodle", "lamp"], ["dog"], ["\u72d7"], [3, "justice"]]))
    assert set(found) == {"Animal", "Dog", "Poodle", "lamp", "justice"}  # the pruned entity is gone, its tag is a tag
    assert found["Poodle"]["forms"] == ["poodle"] and found["Dog"]["forms"] == ["dog", "\u72d7"]
    assert [found[name]["images"] for name in ("Animal", "Dog", "Poodle")] == [3, 3, 1]
    assert [found[name]["own"] for name in ("Animal", "Dog", "Poodle")] == [0, 2, 1]
    assert [found[name]["level"] for name in ("Animal", "Dog", "Poodle")] == [0, 1, 2]
    assert found["justice"]["kind"] == "tag"


def test_an_ambiguous_spelling_is_the_entity_that_more_images_show():
    found = by_name(made([[4], [4], [5], ["mercury"]]))
    assert found["Mercury (planet)"]["forms"] == ["mercury"] and found["Mercury (element)"]["forms"] == []


def test_roots_are_grouped_and_groups_bear_a_childs_name_or_the_models():
    rows = [[tag] for tag in ("cat", "cats", "act", "dog", "dogs", "god", "lamp", "lamps", "palm")]
    plain = made(rows, grouping=Grouping(encode=spelled, branching=3))
    groups = [row for row in plain.to_pylist() if row["kind"] == "cluster"]
    assert {row["named_by"] for row in groups} == {"foremost member"}
    assert {row["name"] for row in groups} <= {tag for (tag,) in rows}
    assert sum(row["images"] for row in plain.to_pylist() if row["parent"] is None) == len(rows)
    named = Grouping(encode=spelled, branching=3, namer=lambda some: [f"kin of {one[0]}" for one in some], named_by="tiny-vl")
    groups = [row for row in made(rows, grouping=named).to_pylist() if row["kind"] == "cluster"]
    assert {row["named_by"] for row in groups} == {"tiny-vl"} and all(row["name"].startswith("kin of ") for row in groups)


@pytest.mark.parametrize("rows", [[], [[]], [["one"]], [["same"]] * 5, [[3]]])
def test_next_to_nothing_gives_a_table_all_the_same(rows):
    table = made(rows, grouping=Grouping(encode=spelled))
    assert table.num_rows == len({term for row in rows for term in row if isinstance(term, str)})
    assert table["images"].to_pylist() == [len(rows)] * table.num_rows


def test_concepts_that_users_ask_for_get_a_factor_and_rare_terms_go():
    rows = [[1, "lamp"], [1, "lamp"], ["vase"]]
    found = by_name(made(rows, prompts=[("a DOG by a lamp", 9), ("\u4e00\u53ea\u72d7", 9)], min_images=2))
    assert "vase" not in found and found["Dog"]["prior"] > found["lamp"]["prior"] >= 1


def test_every_spelling_of_a_tag_is_one():
    assert {fold(tag) for tag in ("Tabby_cat", " tabby  CAT.", "\uff34abby\u3000cat", "#tabby cat")} == {"tabby cat"}
    assert (
        fold("cafe\u0301") == fold("caf\u00e9")
        and fold("!?") == ""
        and fold("x" * 101) == ""
        and fold("\u72d7\u3002") == "\u72d7"
    )


def rows_of(schema, column, values):
    return pa.Table.from_pylist([{"id": str(i), column: value, "error": None} for i, value in enumerate(values)], schema=schema)


def test_a_bag_counts_each_source_once_and_no_tag_in_two_languages():
    tag = {"label": "Cat", "score": 0.9, "source": "x"}
    captions = [
        [
            {"language": "en", "level": "tags", "text": "cat, red lamp; cat"},
            {"language": "zh", "level": "tags", "text": "\u732b\uff0c\u7ea2\u706f"},
            {"language": "en", "level": "short", "text": "a cat"},
        ],
        [{"language": "zh", "level": "tags", "text": "\u732b\u3001\u7ea2\u706f"}],
        None,
    ]
    mention = {"entity": 7, "title": "Cat", "score": 0.8}
    found = bags(
        tags=rows_of(TAGS, "tags", [[tag, tag | {"score": float("nan")}], None, [tag | {"label": None}, tag | {"score": 0.2}]]),
        captions=rows_of(CAPTIONS, "captions", captions),
        mentions=rows_of(MENTIONS, "mentions", [[mention, mention], [mention | {"score": 0.1}], None]),
        min_tag_score=0.5,
    )
    assert found == [{"cat": 2, "red lamp": 1, 7: 2}, {"\u732b": 1, "\u7ea2\u706f": 1}, {}]
