import numpy as np
import pyarrow as pa
import pytest

from curation.schema import ENTITIES
from curation.sentences import SentenceEncoder
from graph.visual import TextAxis, Verdict, visual_evidence, visual_verdicts

EMPTY = dict.fromkeys(ENTITIES.names) | {"kind": "article", "links_in": 0}


def entities(*rows):
    return pa.Table.from_pylist([EMPTY | row for row in rows], schema=ENTITIES)


def test_things_stand_above_one_half_and_ideas_below():
    things = entities(
        {"title": "Bridge", "image": "Bridge.jpg", "categories": ["Bridges", "Engineering"]},
        {"title": "Nantes", "coordinates": True, "infobox": "settlement"},
        {"title": "Poodle", "description": "breed of dog", "categories": ["Dog breeds originating in France"]},
        {"title": "\u72d7", "categories": ["\u52a8\u7269"], "image": "a.jpg"},
        {"title": "Scales of justice", "image": "a.jpg", "categories": ["Law"]},  # one sign against an image
    )
    ideas = entities(
        {"title": "Causality", "categories": ["Concepts in metaphysics", "Philosophy of time"]},
        {"title": "Contract", "description": "legal term", "infobox": "law", "image": "a.jpg"},
        {"title": "1984", "kind": "date", "image": "a.jpg"},
        {"title": "Mercury", "kind": "disambiguation", "image": "a.jpg"},
        {"title": "List of lakes", "kind": "list", "coordinates": True},
        {"title": "nothing known"},
    )
    assert all(verdict.visual > 0.5 for verdict in visual_evidence(things))
    assert all(verdict.visual < 0.5 for verdict in visual_evidence(ideas))
    assert all(verdict.judge == "evidence" and verdict.reason for verdict in visual_evidence(ideas))


def test_the_head_noun_of_a_category_counts_and_not_its_qualifier():
    (shown,) = visual_evidence(entities({"title": "x", "categories": ["Bridges in law and history"]}))
    (talked,) = visual_evidence(entities({"title": "x", "categories": ["Theories of bridges"]}))
    assert shown.reason == "category: bridge"
    assert talked.reason == "but category: theory"


def test_classes_of_wikidata_outweigh_everything_else():
    row = {"title": "x", "image": "a.jpg", "coordinates": True, "wikidata": "Q1"}
    assert visual_evidence(entities(row), classes={"Q1": ["Q4167410"]})[0].visual < 0.5
    assert visual_evidence(entities({"title": "x", "wikidata": "Q2"}), classes={"Q2": ["Q5"]})[0].visual > 0.9


def test_odd_rows_are_judged_all_the_same():
    rows = entities({"title": ""}, {"title": "?", "categories": []}, {"title": "x" * 9999, "lead": ""})
    assert [0 <= verdict.visual <= 1 for verdict in visual_evidence(rows)] == [True] * 3
    assert visual_evidence(ENTITIES.empty_table()) == []


@pytest.fixture(scope="module")
def axis():
    return TextAxis(SentenceEncoder().encode)


def test_a_text_encoder_tells_titles_apart_that_no_word_list_holds(axis):
    things = ["Eiffel Tower", "red panda", "Mount Fuji", "teacup", "wedding dress", "Ferrari", "astronaut", "oak tree"]
    ideas = ["theory of justice", "agnosticism", "quantum mechanics", "freedom of speech", "altruism", "causality"]
    assert min(axis.margins(things)) > max(axis.margins(ideas))
    assert visual_evidence(entities({"title": "Eiffel Tower"}), axis=axis)[0].visual > 0.5


def test_a_judge_is_asked_about_things_alone_and_its_silence_leaves_the_evidence():
    rows = entities({"title": "Bridge", "image": "a.jpg"}, {"title": "1984", "kind": "date"}, {"title": "Law"}, {"title": "Cat"})
    asked = []

    def judge(group):
        asked.extend(row["title"] for row in group)
        answers = {"Bridge": Verdict(0.1, "no", "tiny"), "Cat": Verdict(float("nan"), "?", "tiny")}
        return [answers.get(row["title"]) for row in group]

    found = visual_verdicts(rows, visual_evidence(rows), judge)
    assert asked == ["Bridge", "Law", "Cat"]
    assert [verdict.judge for verdict in found] == ["tiny", "evidence", "evidence", "evidence"]
    assert np.isfinite([verdict.visual for verdict in found]).all()
