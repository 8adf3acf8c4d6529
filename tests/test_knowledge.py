"""Linking of images to a small knowledge base."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from captioning.knowledge import FOLDER, Knowledge, Linker
from captioning.passages import Passage
from curation.errors import ConfigError
from curation.schema import IMAGES, MENTIONS, OCR, TAGS
from tests.tiny_knowledge import NUMBER, write_knowledge


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_knowledge(tmp_path_factory.mktemp("knowledge"))


def _mentions(base: Path, *texts: str, source: str = "caption", **settings: Any) -> list[dict[str, Any]]:
    linker = Linker(knowledge=str(base), **settings)
    return linker.mentions([[Passage(source, str(n), text) for n, text in enumerate(texts)]])[0]


def _titles(base: Path, *texts: str, **settings: Any) -> set[str]:
    return {mention["title"] for mention in _mentions(base, *texts, min_score=0.0, **settings)}


def test_the_longest_name_wins(base: Path) -> None:
    assert "New York City" in _titles(base, "A view of New York City at night")
    (mention,) = [m for m in _mentions(base, "in New York City", min_score=0.0) if m["title"] == "New York City"]
    assert mention["text"] == "New York City" and (mention["start"], mention["end"]) == (3, 16)


def test_case_is_evidence(base: Path) -> None:
    def best(text: str) -> str:
        return str(_mentions(base, text, min_score=0.0)[0]["title"])

    assert best("She ate an apple there") == "Apple"
    assert best("A phone by Apple there") == "Apple Inc."


def test_a_pronoun_is_no_country(base: Path) -> None:
    (pronoun,) = _mentions(base, "Look at us here. Nice", min_score=0.0)
    (country,) = _mentions(base, "The US here. Nice", min_score=0.0)
    assert country["score"] > 0.5 > pronoun["score"]


def test_chinese_is_found_without_spaces_and_in_traditional_characters(base: Path) -> None:
    assert _titles(base, "我在紐約的中央公園") == {"New York City", "Central Park"}
    assert _titles(base, "我在纽约的中央公园") == {"New York City", "Central Park"}
    assert "Apple Inc." in _titles(base, "蘋果公司")


def test_full_width_letters_are_letters(base: Path) -> None:
    assert "New York City" in _titles(base, "Ｎｅｗ　Ｙｏｒｋ　Ｃｉｔｙ")


def test_context_decides_between_equal_candidates(tmp_path: Path) -> None:
    names = [("Mac", "en", 0, "anchor", 5, 9), ("Mac", "en", 1, "anchor", 5, 9), ("Computer", "en", 2, "title", 9, 9)]
    titles: dict[str, dict[str, object]] = {"Mac (food)": {}, "Mac (machine)": {}, "Computer": {}}
    base = write_knowledge(tmp_path / "kb", titles=titles, names=names, edges=[(1, 2), (2, 1)])
    assert _titles(base, "A Mac is a Computer here") == {"Mac (machine)", "Computer"}


def test_disambiguation_pages_signs_and_articles_are_not_linked(base: Path) -> None:
    assert _titles(base, "Mercury ? the end") == set()


def test_persons_are_not_taken_from_a_tagger(base: Path) -> None:
    assert "Marie Curie" in _titles(base, "Marie Curie at work")
    assert _mentions(base, "Marie Curie", source="tag", min_score=0.0) == []
    assert _mentions(base, "computer", source="tag", min_score=0.0) != []


def test_an_entity_is_evidenced_by_the_most_trusted_text(base: Path) -> None:
    linker = Linker(knowledge=str(base), min_score=0.0)
    read = [
        Passage("metadata", "title", "Central Park"),
        Passage("caption", "en", "Central Park"),
        Passage("ocr", "0", "Computer"),
    ]
    found = linker.mentions([read])[0]
    assert [(m["title"], m["source"]) for m in found] == [("Central Park", "metadata"), ("Computer", "ocr")]


def _rows(*, caption: str | None = None, metadata: str | None = None, error: str | None = None) -> dict[str, Any]:
    blank = {"id": "0", "uri": "/a", "container": "file", "key": "a", "group": "g"}
    return {name: None for name in IMAGES.names} | blank | {"caption": caption, "metadata": metadata, "error": error}


def test_every_image_has_a_row_whatever_it_says(base: Path) -> None:
    rows = [
        _rows(caption="New York City"),
        _rows(),
        _rows(metadata=json.dumps({"title": "Central Park", "keywords": ["Computer", 3], "licence": "C++"})),
        _rows(error="corrupt"),
        _rows(metadata="{not json"),
        _rows(caption="\U0001f600 \u200b (?* [[", metadata="[1]"),
    ]
    images = pa.Table.from_pylist(rows, schema=IMAGES)
    tags = pa.Table.from_pylist([{"id": "0", "tags": [], "error": None}] * len(rows), schema=TAGS)
    ocr = pa.Table.from_pylist([{"id": "0", "lines": None, "error": None}] * len(rows), schema=OCR)
    found = Linker(knowledge=str(base), min_score=0.0)(images=images, tags=tags, ocr=ocr)
    assert found.schema.equals(MENTIONS) and found.num_rows == len(rows)
    titles = [None if m is None else {each["title"] for each in m} for m in found["mentions"].to_pylist()]
    assert titles[:4] == [{"New York City"}, set(), {"Central Park", "Computer"}, None]
    assert found["error"].to_pylist()[3] == "corrupt" and "JSONDecodeError" in found["error"].to_pylist()[4]


def test_mentions_do_not_depend_on_the_other_images(base: Path) -> None:
    linker = Linker(knowledge=str(base), min_score=0.0)
    read = [[Passage("caption", "en", text)] for text in ("New York City and the US", "Apple computers", "我在紐約")]
    together = linker.mentions(read)
    assert together == [linker.mentions([passages])[0] for passages in read]
    assert together == linker.mentions(read[::-1])[::-1]


def test_bases_without_entities_links_or_chinese_survive(tmp_path: Path) -> None:
    empty = write_knowledge(tmp_path / "empty", titles={}, names=[], edges=[])
    assert _titles(empty, "New York City") == set()
    unlinked = write_knowledge(tmp_path / "unlinked", edges=None)
    assert "New York City" in _titles(unlinked, "New York City")


def test_a_folder_that_is_no_knowledge_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no knowledge base"):
        Knowledge(tmp_path)


def test_a_changed_base_is_indexed_again(tmp_path: Path) -> None:
    base = write_knowledge(tmp_path / "kb")
    Knowledge(base)
    (before,) = [path.name for path in (base / FOLDER).iterdir() if path.is_dir()]
    for table in ("entities", "anchors", "links"):
        for path in sorted((base / table).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (base / table).rmdir()
    write_knowledge(base, titles={"Moon": {}}, names=[("Moon", "en", 0, "title", 3, 3)], edges=[])
    assert _titles(base, "The Moon shines") == {"Moon"}
    (after,) = [path.name for path in (base / FOLDER).iterdir() if path.is_dir()]
    assert after != before


def test_relatedness_is_that_of_milne_and_witten(base: Path) -> None:
    profiles = Knowledge(base).profiles
    row, other, related = profiles.related(np.array([NUMBER["United States"], NUMBER["New York City"]]), np.zeros(2, np.int64))
    links_to_us, links_to_city = {3, 4, 2}, {4, 2, 3}  # with themselves
    shared = len(links_to_us & links_to_city)
    assert shared == 3 and set(zip(row.tolist(), other.tolist(), strict=True)) == {(0, 1), (1, 0)}
    assert related == pytest.approx([1.0, 1.0])
