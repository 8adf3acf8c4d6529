"""The index of names against a plain Python dict."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.dictionary import MAX_TOKENS, Dictionary, build
from captioning.surface import tokens
from curation.schema import ANCHORS
from tests.tiny_knowledge import NAMES, Names

_WORDS = st.sampled_from(["a", "b", "A", "c d", "a b c", "好", "好人", "?"])


def _index(folder: Path, names: Names) -> Dictionary:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [dict(zip(ANCHORS.names, row, strict=True)) for row in names]
    build([pa.Table.from_pylist(rows, schema=ANCHORS)], folder)
    return Dictionary(folder)


def _spans(index: Dictionary, text: str) -> set[str]:
    found = tokens([text])
    spans = index.matches(found)
    return {text[found.start[first] : found.end[first + size - 1]] for first, size in zip(spans.first, spans.size, strict=True)}


@settings(max_examples=50, deadline=None)
@given(st.lists(_WORDS, max_size=6), st.lists(_WORDS, max_size=6))
def test_matches_are_those_of_a_dict_of_all_ngrams(names: list[str], words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        index = _index(Path(folder), [(name, "en", 0, "title", 1, 1) for name in names])
    text = " ".join(words)
    found = tokens([text])
    known = {tuple(tokens([name]).folded.tolist()) for name in names}
    size = len(found.folded)
    ngrams = [(first, last) for first in range(size) for last in range(first + 1, size + 1)]
    wanted = {(first, last - first) for first, last in ngrams if tuple(found.folded[first:last].tolist()) in known}
    spans = index.matches(found)
    assert set(zip(spans.first.tolist(), spans.size.tolist(), strict=True)) == wanted


def test_names_do_not_reach_over_the_end_of_a_text(tmp_path: Path) -> None:
    index = _index(tmp_path, [("New York", "en", 0, "title", 1, 1)])
    assert len(index.matches(tokens(["New", "York"])).first) == 0


def test_postings_tell_spellings_apart(tmp_path: Path) -> None:
    index = _index(tmp_path, NAMES)
    found = tokens(["Apple", "apple", "APPLE"])
    spans = index.matches(found)
    postings = index.postings(found, spans)
    exact = {
        (int(found.text[spans.first[span]]), int(entity)): links
        for span, entity, links, level in zip(postings.span, postings.entity, postings.links, postings.level, strict=True)
        if level == 0
    }
    assert exact == {(0, 0): 30.0, (0, 1): 300.0, (1, 0): 90.0}


def test_occurrences_of_a_spelling_count_once(tmp_path: Path) -> None:
    index = _index(tmp_path, NAMES)
    found = tokens(["Apple"])
    postings = index.postings(found, index.matches(found))
    assert postings.occurrences[postings.level == 0].sum() == 400


def test_a_well_known_spelling_that_is_hardly_ever_a_link_is_left_out(tmp_path: Path) -> None:
    index = _index(tmp_path, NAMES)
    found = tokens(["the apple"])
    assert len(index.matches(found, min_rate=0.03).first) == 1


def test_no_names_and_hostile_names_survive(tmp_path: Path) -> None:
    assert len(_index(tmp_path / "none", []).matches(tokens(["a b"])).first) == 0
    names = [
        (name, "en", 0, "title", 0, 0) for name in ("", " ", "?", ".*", "1", "(a", "\u200b", "a " * (MAX_TOKENS + 1), "Ａ", "a")
    ]
    assert _spans(_index(tmp_path / "odd", names), "a .* (a 1 ?") == {"a", ".*", "(a", "1", "?"}


def test_part_order_does_not_change_the_files(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, names in zip(folders, (NAMES, NAMES[::-1]), strict=True):
        _index(folder, names)
    for path in sorted(folders[0].iterdir()):
        assert np.array_equal(np.load(path), np.load(folders[1] / path.name)), path.name
