"""Watermarks in captions: from facts, in a question to a model, and in what a model answers."""

import pyarrow as pa
from caption_rows import POSTER, line, tables
from test_watermarks import tables as source

from captioning.evidence import Facts
from captioning.facts import compose, gather_rows
from captioning.grounding import grounds
from captioning.marks import quoted_as_scene
from captioning.passages import passages
from captioning.prompting import Prompts, caption_ask
from captioning.repair import repaired
from captioning.validate import WORDS, Evidence, faults
from captioning.watermarks import watermarks

MARK = "StockPix.com"
LEVELS = ("tags", "short", "medium", "long", "prompt")


def known(lines: list[str]) -> Facts:
    """Return the facts of a poster whose lines are `lines`, with MARK found to be its source's watermark."""
    row = POSTER | {"lines": [line(text, 20 + 60 * place) for place, text in enumerate(lines)]}
    marks = pa.table({"texts": pa.array([[MARK] if MARK in lines else []], pa.list_(pa.string()))})
    facts = gather_rows(**tables([row]), watermarks=marks)[0].facts
    assert facts is not None
    return facts


def evidence() -> Evidence:
    return Evidence(known(["Tea Tasting", MARK, "品茶会", MARK]))


def codes(text: str, level: str = "medium", language: str = "en") -> set[str]:
    return {fault.code for fault in faults(text, language=language, level=level, evidence=evidence())}


def test_facts_name_a_watermark_once_in_the_long_caption_and_quote_it_nowhere_else() -> None:
    for caption in compose(known(["Tea Tasting", MARK, MARK]), languages=("en", "zh"), levels=LEVELS):
        named = {"en": f'A watermark reads "{MARK}".', "zh": f"带有水印“{MARK}”。"}[caption["language"]]
        assert caption["text"].count(MARK) == (caption["level"] == "long"), caption["text"]
        assert (named in caption["text"]) == (caption["level"] == "long")
        sources = {row["source"] for row in caption["evidence"] if row["value"] == MARK}
        assert sources == ({"watermark"} if caption["level"] in ("long", "tags") else set())
        assert "2 lines" not in caption["text"]  # the mark is no line of the scene


def test_a_picture_with_nothing_but_a_watermark_has_no_text_of_its_own() -> None:
    facts = known([MARK])
    short = compose(facts, languages=("en",), levels=("short",))[0]["text"]
    assert facts.quotes == () and "text" not in short and MARK not in short


def test_captions_from_facts_pass_the_checks_that_models_captions_pass() -> None:
    for caption in compose(known(["Tea Tasting", MARK, "品茶会"]), languages=("en", "zh"), levels=LEVELS):
        assert not {"watermark_as_text", "quote_not_in_ocr"} & codes(caption["text"], caption["level"], caption["language"])


def test_a_watermark_quoted_as_text_of_the_scene_is_a_fault_and_one_named_so_is_none() -> None:
    assert "watermark_as_text" in codes(f'A beige poster with the words "Tea Tasting" and "{MARK}" in blue.')
    assert "watermark_as_text" in codes(f'A beige poster. It says "{MARK}". A watermark covers it all of the way down.')
    assert "watermark_as_text" not in codes(f'A beige poster with "Tea Tasting" in blue and the watermark "{MARK}".')
    assert "watermark_as_text" in codes(f"海报上写着“{MARK}”，背景是米色的，字是蓝色的。", language="zh")
    assert "watermark_as_text" not in codes(f"海报上写着“品茶会”，右下角有水印“{MARK}”。", language="zh")
    assert "quote_not_in_ocr" not in codes(f'A beige poster with "Tea Tasting" and the watermark "{MARK}".')


def test_words_that_the_scene_holds_too_are_text_of_the_scene() -> None:
    assert quoted_as_scene('It says "Tea".', lines=["Green Tea"], marks=["Tea"], level="medium") == []
    assert quoted_as_scene('watermark "Tea", "Tea", poster', lines=[], marks=["Tea"], level="tags") == ["Tea"]


def test_the_long_caption_need_not_hold_a_watermark_and_none_is_added() -> None:
    long = (
        'A beige poster with the words "Tea Tasting" and “品茶会” in large blue letters on a plain ground, seen from the front.'
    )
    assert "text_missing" not in codes(long, "long")
    assert repaired(long, language="en", level="long", evidence=evidence()) == (long, [])


def test_a_question_gives_watermarks_apart_and_as_data() -> None:
    ask = caption_ask("x", b"", evidence(), Prompts(), languages=("en",), levels=LEVELS, words=WORDS)
    text = ask.messages[1]["content"][1]["text"]
    lines, marks = text.split("Watermarks that were read in it")
    assert MARK not in lines and f'<<<DATA\n"{MARK}"\nDATA>>>' in marks


def test_the_evidence_of_a_models_caption_tells_marks_from_text() -> None:
    rows = grounds(f'A poster with "Tea Tasting"; the watermark "{MARK}" stands below.', evidence=evidence())
    assert [(row["source"], row["value"]) for row in rows] == [("ocr", "Tea Tasting"), ("watermark", MARK)]


def test_a_watermark_names_no_entity() -> None:
    image = {"id": "0" * 32, "caption": None, "metadata": None}
    lines = {"lines": [line("Tea Tasting"), line(MARK)]}
    found = passages(image=image, tags={"tags": []}, ocr=lines, watermarks=[MARK])
    assert [passage.text for passage in found] == ["Tea Tasting"]


def test_a_mark_over_a_source_ends_up_as_a_watermark_in_captions() -> None:
    """From OCR of a whole source to its captions, without a table made by hand."""
    given = source([[f"poster {row}", MARK] for row in range(40)], ["stock"] * 40)
    found = watermarks(**given)
    row = {"caption": None, "width": 640, "height": 480}
    made = tables([row | {"lines": lines} for lines in given["ocr"]["lines"].to_pylist()])
    for one in gather_rows(**made, watermarks=found):
        assert one.facts is not None and [mark.text for mark in one.facts.marks] == [MARK]
        assert one.facts.quotes[0].text.startswith("poster")
