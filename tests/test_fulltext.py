"""Full-text search: what is found, in which order, for which spelling; and that no query is more than words."""

import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import ConfigError
from graph.fulltext import CLOSING, OPENING, WEIGHTS, Document, FullText, matches
from graph.words import parse, separated


def document(caption: str = "", *, name: str = "", tags: str = "", text: str = "") -> Document:
    return Document(*(separated(value) for value in (name, caption, tags, text)))


def index_of(*documents: Document | None) -> FullText:
    index = FullText(None)
    index.update(digests=["a"], starts=[0], read=lambda part: documents)
    return index


def rows(index: FullText, query: str, *, complete: bool = True) -> list[int]:
    return [hit.row for hit in index.search(query, limit=100) if hit.complete or not complete]


CORPUS = (
    document("a red fox jumps over a frozen river"),
    document("Foxes in the snow", tags="fox"),
    document("红色的狐狸跳过结冰的河"),
    document("东京塔 夜景", text="SALE 50% off"),
    document("a caf\u00e9 in Paris", name="IMG_2041.jpg"),
    None,
    document("to be AND not to be"),
)


@pytest.fixture(scope="module")
def index() -> FullText:
    return index_of(*CORPUS)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("fox", [1, 0]),  # stemmed; the tag and the shorter text count for more
        ("FOX river", [0]),
        ('"frozen river"', [0]),
        ('"river frozen"', []),
        ("河", [2]),
        ("狐狸", [2]),
        ("的狐", [2]),
        ("红色的狐狸跳过", [2]),
        ("狐红", []),
        ("东京 夜景", [3]),
        ("\u201c东京塔\u201d", [3]),
        ("\uff33\uff21\uff2c\uff25", [3]),  # full-width SALE
        ("cafe", [4]),
        ("cafe\u0301", [4]),
        ("2041", [4]),
        ("img_2041.jpg", [4]),
        ("AND", [6]),
        ("50%", [3]),
    ],
)
def test_a_query_finds_the_texts_that_hold_every_term(index: FullText, query: str, wanted: list[int]) -> None:
    assert rows(index, query) == wanted


@pytest.mark.parametrize(
    "query",
    [
        'fox"', '"""', '""', "fox AND", "NOT fox", "fox NEAR river", "NEAR(fox river, 2)", "fox*", "^fox", "caption:fox",
        "{tags}:fox", "-fox", "(fox", "fox)", "fox + river", "'; DROP TABLE words; --", "fox\x00river", "\ud800fox", "%_", "\\",
        "rank MATCH 'x'",
        "a" * 100_000, "fox " * 5000, " ".join(f"w{number}" for number in range(3000)), "\ue000 fox", "\u200bfox", "🦊 fox",
    ],
)  # fmt: skip
def test_hostile_queries_are_words_and_nothing_else(index: FullText, query: str) -> None:
    try:
        found = index.search(query, limit=10)
    except ConfigError as error:
        assert "no letter or digit" in str(error)
        assert len(str(error).splitlines()) == 1
        return
    assert {hit.row for hit in found} <= set(range(7))
    assert rows(index, "fox") == [1, 0]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_no_text_breaks_the_index_or_a_query(text: str) -> None:
    index = index_of(document(text), document("other"))
    try:
        found = index.search(text, limit=5)
    except ConfigError:
        return
    assert all(hit.row in (0, 1) for hit in found)
    matches({0: document(text)}, text)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="红色的狐狸跳过河东京", min_size=1, max_size=12), st.data())
def test_any_piece_of_a_chinese_text_finds_it(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    piece = text[start : data.draw(st.integers(start + 1, len(text)))]
    assert 0 in rows(index_of(document(text)), piece)
    assert 0 in rows(index_of(document(text)), f'"{piece}"')


def test_scores_are_those_of_the_published_formula() -> None:
    texts = ["fox fox river", "fox", "river bank in spring", "a long text about a fox and other animals", "snow", "ice", "rain"]
    index = index_of(*(document(text) for text in texts))
    lengths = [len(text.split()) for text in texts]
    often = [text.split().count("fox") for text in texts]
    idf = math.log((len(texts) - 3 + 0.5) / (3 + 0.5))
    expected = {
        row: idf * (f * 2.2) / (f + 1.2 * (0.25 + 0.75 * lengths[row] / (sum(lengths) / len(texts))))
        for row, f in enumerate(often)
        if f
    }
    assert {hit.row: pytest.approx(hit.score) for hit in index.search("fox", limit=9)} == expected
    assert [hit.row for hit in index.search("fox", limit=9)] == sorted(expected, key=lambda row: -expected[row])


def test_a_match_in_a_name_counts_less_than_one_in_a_caption() -> None:
    assert WEIGHTS[0] < WEIGHTS[1]
    index = index_of(document("other words", name="fox"), document("fox", name="other words"), *[document("x y z")] * 6)
    assert rows(index, "fox") == [1, 0]


def test_texts_with_every_term_come_before_texts_with_some(index: FullText) -> None:
    assert [(hit.row, hit.complete) for hit in index.search("frozen fox", limit=10)] == [(0, True), (1, False)]
    assert [hit.complete for hit in index.search("red fox snow", limit=10)] == [False, False]


def test_rows_that_are_not_allowed_are_passed_over(index: FullText) -> None:
    allowed = np.ones(7, bool)
    allowed[1] = False
    assert [hit.row for hit in index.search("fox", limit=1, allowed=allowed)] == [0]
    assert index.rows("fox", allowed=allowed).tolist() == [0]
    assert index.count("fox") == 2
    assert len(index) == 6


def test_frequencies_and_holders_are_told_per_term(index: FullText) -> None:
    assert index.frequencies("fox snow unicorn") == {"fox": 2, "snow": 1, "unicorn": 0}
    assert index.holding("fox snow unicorn", among=[0, 1, 3]) == {"fox": {0, 1}, "snow": {1}, "unicorn": set()}


def test_a_match_names_its_fields_and_marks_its_words() -> None:
    found = matches({3: CORPUS[3], 4: CORPUS[4], 1: CORPUS[1]}, "夜景 sale fox")  # type: ignore[dict-item]
    assert found[3].fields == ("caption", "text")
    assert found[1].fields == ("caption", "tags")
    assert 4 not in found
    assert f"{OPENING}夜景{CLOSING}" in found[3].snippet
    assert "\u200b" not in found[3].snippet


def test_a_phrase_does_not_reach_from_one_text_into_the_next() -> None:
    from graph.fulltext import _texts

    index = index_of(Document("", _texts(["a red fox", "jumps far", "红色", "狐狸"]), "", ""))
    assert rows(index, '"fox jumps"') == []
    assert rows(index, '"色狐"') == []
    assert rows(index, '"red fox"') == [0]
    found = matches({0: Document("", _texts(["a red fox", "jumps far"]), "", "")}, "fox")
    assert found[0].snippet == f"a red {OPENING}fox{CLOSING} \u00b7 jumps far"


def test_long_runs_without_spaces_become_pairs_and_short_ones_stay_whole() -> None:
    assert [term.text for term in parse("红色狐 一只红色狐狸 ab红c")] == [
        "红色狐",
        "一只",
        "只红",
        "红色",
        "色狐",
        "狐狸",
        "ab",
        "红",
        "c",
    ]


def test_parts_are_added_once_and_a_changed_part_rebuilds_everything(tmp_path: Path) -> None:
    index = FullText(tmp_path / "words.sqlite")
    assert index.update(digests=["a"], starts=[0], read=lambda part: [document("fox")]) == 1
    assert index.update(digests=["a", "b"], starts=[0, 1], read=lambda part: [document("snow")]) == 1
    assert (rows(index, "fox"), rows(index, "snow")) == ([0], [1])
    index.close()
    index = FullText(tmp_path / "words.sqlite")
    assert index.update(digests=["a", "b"], starts=[0, 1], read=lambda part: pytest.fail("read again")) == 0
    assert index.update(digests=["c", "b"], starts=[0, 1], read=lambda part: [document("river")]) == 2
    assert (rows(index, "fox"), rows(index, "snow"), rows(index, "river")) == ([], [], [0, 1])
    assert index.update(digests=["c"], starts=[0], read=lambda part: [document("river")]) == 1
    assert rows(index, "river") == [0]


def test_a_part_that_fails_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    def read(part: int) -> list[Document]:
        if part == 1:
            raise OSError("disk")
        return [document("fox")]

    index = FullText(tmp_path / "words.sqlite")
    with pytest.raises(OSError, match="disk"):
        index.update(digests=["a", "b"], starts=[0, 1], read=read)
    assert rows(index, "fox") == [0]
    assert index.update(digests=["a", "b"], starts=[0, 1], read=lambda part: [document("fox")]) == 1
    assert rows(index, "fox") == [0, 1]


def test_a_file_that_is_no_index_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "words.sqlite"
    path.write_bytes(b"this is no database, but long enough to be read as one" * 40)
    index = FullText(path)
    index.update(digests=["a"], starts=[0], read=lambda part: [document("fox")])
    assert rows(index, "fox") == [0]
    assert "built again" in caplog.text
    index.close()
    assert sqlite3.connect(path).execute("SELECT count(*) FROM parts").fetchone() == (1,)


def test_a_damaged_index_says_that_it_may_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "words.sqlite"
    index = FullText(path)
    index.update(digests=["a"], starts=[0], read=lambda part: [document(f"fox number {row}") for row in range(2000)])
    index.close()
    content = bytearray(path.read_bytes())
    content[3 * 4096 :] = b"\xff" * (len(content) - 3 * 4096)
    path.write_bytes(content)
    with pytest.raises(OSError, match="may be deleted"):
        damaged = FullText(path)
        damaged.search("fox number 7", limit=5)
        damaged.update(digests=["b"], starts=[0], read=lambda part: [])
