"""Surface forms: offsets, folding, and hashes of spans."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from captioning.surface import fold, hashed, tokens


def _written(text: str) -> list[str]:
    found = tokens([text])
    return [text[start:end] for start, end in zip(found.start, found.end, strict=True)]


def _whole(text: str, form: str = "folded") -> int:
    found = tokens([text])
    return int(hashed(getattr(found, form), np.zeros(1, np.int64), np.array([len(found.folded)]))[0])


def test_words_characters_and_signs_are_tokens() -> None:
    assert _written("New  York's AC/DC") == ["New", "York", "'", "s", "AC", "/", "DC"]
    assert _written("T恤手机 iPhone") == ["T", "恤", "手", "机", "iPhone"]
    assert _written("Cafe\u0301 हिन्दी") == ["Cafe\u0301", "हिन्दी"]


def test_width_case_and_variants_fold_to_one_name() -> None:
    assert _whole("Ａｐｐｌｅ　Ｉｎｃ．") == _whole("apple inc.")
    assert _whole("漢語") == _whole("汉语")
    assert _whole("Rock ’n’ Roll") == _whole("rock 'n' roll")
    assert fold("㍿") == "株式会社"


def test_case_is_forgotten_by_folding_alone() -> None:
    assert _whole("US") == _whole("us")
    assert _whole("US", "exact") != _whole("us", "exact")
    assert _whole("Apple", "loose") == _whole("apple", "loose")
    assert _whole("US", "loose") != _whole("us", "loose")


@given(st.lists(st.text(max_size=30), max_size=4))
def test_tokens_lie_in_their_text_in_order_and_count_down_to_its_end(texts: list[str]) -> None:
    found = tokens(texts)
    for number, text in enumerate(texts):
        mine = found.text == number
        start, end = found.start[mine], found.end[mine]
        assert (start < end).all() and (np.diff(start) >= 0).all() and (end <= len(text)).all()
        assert found.left[mine].tolist() == list(range(int(mine.sum()), 0, -1))


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_token_boundary_makes_another_name(first: str, second: str) -> None:
    joined, apart = tokens([first + second]), tokens([first + " " + second])
    if len(joined.folded) == len(apart.folded):
        assert (joined.folded == apart.folded).all()
    else:
        assert _whole(first + second) != _whole(first + " " + second)
