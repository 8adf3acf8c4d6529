"""Answers as models give them: what has one meaning is read, what has none or two is refused with the reason."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.structured import answer_schema, read_answer, read_object

LEVELS = ("short", "long")
GOOD: dict[str, Any] = {
    "text": [],
    "en": {"short": "A cat", "long": "A grey cat."},
    "zh": {"short": "一只猫", "long": "一只灰猫。"},
}
WHOLE = json.dumps(GOOD, ensure_ascii=False)


def read(text: str, **more: Any) -> Any:
    return read_answer(text, languages=("en", "zh"), levels=LEVELS, **more)


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (WHOLE, ()),
        ("\ufeff  " + WHOLE + "\n", ()),
        (f"```json\n{WHOLE}\n```", ("fence",)),
        (f"```\n{WHOLE}```", ("fence",)),
        (f"```json\n{WHOLE}", ("open_fence",)),
        (f"Here is the JSON you asked for:\n```json\n{WHOLE}\n```\nHope this helps!", ("fence", "leading_text")),
        (f"Sure! {WHOLE}", ("leading_text",)),
        (f"好的，以下是结果：{WHOLE} 希望对您有帮助。", ("leading_text", "trailing_text")),
        (WHOLE.replace("}", ",}"), ("trailing_comma",)),
        (WHOLE.replace("[]", '["a", "b",]').replace("}}", "},\n}"), ("trailing_comma",)),
        (f"<think>First I read the text {{maybe}}.</think>{WHOLE}", ("thinking",)),
        (WHOLE.replace('"text": []', '"text": [], "text": []'), ("duplicate_key",)),
        (WHOLE.replace('"text"', '"mood": "calm", "text"'), ("extra_keys",)),
        (WHOLE.replace('"text": [], ', ""), ()),
        (WHOLE.replace('"en"', '"English"').replace('"zh"', '"Chinese"'), ()),
        (json.dumps(GOOD, indent=4), ()),
        (json.dumps(GOOD, ensure_ascii=True), ()),
    ],
)
def test_what_has_one_meaning_is_read(text: str, notes: tuple[str, ...]) -> None:
    answer = read(text)
    assert answer.fault is None and answer.missing == () and answer.notes == notes
    assert {language: {level: answer.captions[language, level] for level in LEVELS} for language in ("en", "zh")} == {
        name: GOOD[name] for name in ("en", "zh")
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        ("   \n\n\t  ", "empty"),
        ("I'm sorry, I can't help with that.", "no_json"),
        ("[1, 2]", "no_json"),
        ('"A cat"', "no_json"),
        ("null", "no_json"),
        (WHOLE[:-1], "cut"),
        (WHOLE[: len(WHOLE) // 2], "cut"),
        (WHOLE[:20], "cut"),
        (f"```json\n{WHOLE[:40]}\n```", "cut"),
        ("<think>The picture shows", "cut"),
        (WHOLE + WHOLE, "several_objects"),
        (f"```json\n{WHOLE}\n```\n```json\n{WHOLE}\n```", "several_objects"),
        (WHOLE.replace('"short": "A cat"', '"short": "A cat", "short": "A dog"'), "duplicate_key"),
        (WHOLE.replace('"A cat"', "A cat"), "bad_json"),
        (WHOLE.replace('"', "'"), "bad_json"),
        (WHOLE.replace('"A cat"', '"A "big" cat"'), "bad_json"),
        (WHOLE.replace('"A cat"', "NaN"), "bad_json"),
        (WHOLE.replace(", ", " "), "bad_json"),
        ('{"a": ' * 5000 + "1" + "}" * 5000, "bad_json"),
        ("{}", "no_captions"),
        ('{"error": {"message": "rate limited", "code": 429}}', "no_captions"),
        ('{"en": "A cat", "zh": "一只猫"}', "no_captions"),
        ('{"short": "A cat", "long": "A grey cat."}', "no_captions"),
        ("{" + " " * 300_000 + "}", "too_long"),
        ("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "no_json"),
    ],
)
def test_what_has_none_or_two_is_refused_with_the_reason(text: str, code: str) -> None:
    answer = read(text)
    assert answer.captions == {} and answer.fault is not None and answer.fault.split(":")[0] == code
    assert "\n" not in answer.fault


def test_an_answer_at_the_limit_of_tokens_is_cut_even_if_it_reads() -> None:
    assert read(WHOLE, cut=True).fault == "cut: the answer reached the limit of tokens"


@pytest.mark.parametrize("value", [None, 3, "", "  ", ["a"], {"text": "a"}, True])
def test_a_caption_that_is_no_text_is_missing_and_the_others_stay(value: Any) -> None:
    answer = read(json.dumps(GOOD | {"en": {"short": value, "long": "A grey cat."}}))
    assert answer.missing == (("en", "short"),) and answer.captions["en", "long"] == "A grey cat."


def test_tags_may_be_a_list() -> None:
    text = json.dumps({"en": {"tags": ["cat", " grey "]}, "zh": {"tags": ["猫", "灰色"]}})
    answer = read_answer(text, languages=("en", "zh"), levels=("tags",))
    assert answer.captions == {("en", "tags"): "cat, grey", ("zh", "tags"): "猫，灰色"}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(WHOLE)), st.text(max_size=6), st.integers(0, 8))
def test_damage_is_read_as_the_truth_or_refused(place: int, inserted: str, removed: int) -> None:
    """However an answer is damaged, what is read is never a caption in half: it is refused, or its strings are whole."""
    damaged = WHOLE[:place] + inserted + WHOLE[place + removed :]
    answer = read(damaged)
    assert (answer.fault is None) == bool(answer.captions)
    for text in answer.captions.values():
        assert text.strip() and not text.endswith(("\\",))


@given(
    st.dictionaries(
        st.text(max_size=5), st.recursive(st.none() | st.text(max_size=5), lambda c: st.lists(c, max_size=3)), max_size=4
    )
)
def test_any_object_is_read_as_json_reads_it(value: dict[str, Any]) -> None:
    assert read_object(f"Result: {json.dumps(value, ensure_ascii=False)}")[0] == value


def test_the_schema_asks_for_the_text_first() -> None:
    schema = answer_schema(["zh"], ["short"])
    assert list(schema["properties"]) == ["text", "zh"] == schema["required"]
    assert schema["properties"]["zh"]["required"] == ["short"] and schema["additionalProperties"] is False
