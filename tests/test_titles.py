"""Titles, redirects, keys, forms and occurrences against plain Python."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.forms import cut, merged, range_starts, title_forms
from captioning.link_rows import TitleIndex, link_rows, title_arrays
from captioning.occurrences import MAX_TOKENS, count_unlinked, form_hashes, sieve
from captioning.prose import LINK_MARK
from captioning.string_keys import find, string_keys
from captioning.titles import Numbering, number_titles
from captioning.wikipedia import Row, page_table
from curation.schema import FORMS

NAMES = ["A", "B", "C", "D", "E", "F"]


def article(title: str, *targets: str) -> Row:
    return Row(None, title, "article", text="", links=dict(Counter((target, target.lower()) for target in targets)))


def redirect(title: str, to: str) -> Row:
    return Row(None, title, "redirect", to)


def number(rows: list[Row], cuts: int = 1) -> Numbering:
    table = page_table(rows)
    size = -(-table.num_rows // cuts)
    parts = [table.slice(start, size) for start in range(0, table.num_rows, size)]
    return number_titles(parts, [part.column("links").combine_chunks().flatten().field("target") for part in parts])


def meaning(rows: list[Row], cuts: int = 1) -> dict[str, str]:
    table = number(rows, cuts).table
    titles = table.column("title").to_pylist()
    return {title: titles[entity] for title, entity in zip(titles, table.column("entity").to_pylist(), strict=True)}


def test_redirects_are_followed_through_chains_loops_and_outside() -> None:
    rows = [
        article("X", "B", "Red", "L1"),
        *(redirect(a, b) for a, b in [("B", "C"), ("C", "D"), ("D", "X"), ("L1", "L2"), ("L2", "L1"), ("S", "S"), ("O", "P")]),
        redirect("P", "Nope"),
        redirect("Cat", ""),
        redirect("X", "Z"),
        article("X", "Twice"),
    ]
    found = meaning(rows)
    assert {name: found[name] for name in ("X", "B", "C", "D", "O", "P", "Red", "L1", "L2", "S")} == {
        "X": "X", "B": "X", "C": "X", "D": "X", "O": "Nope", "P": "Nope", "Red": "Red", "L1": "L1", "L2": "L2", "S": "S",
    }  # fmt: skip
    assert "Cat" not in found
    assert number(rows).counts == {"repeated titles": 1, "redirects in loops": 3, "redirects that lead outside": 2}


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([*NAMES, "Out", ""])), max_size=12), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_any_redirects_agree_with_following_them_one_by_one(given_pairs: list[tuple[str, str]], cuts: int) -> None:
    rows = [article("A", "B", "C", "D"), *(redirect(a, b) for a, b in given_pairs), article("F")]
    goals: dict[str, str] = {}
    for name, goal in given_pairs:
        if name not in ("A", "F"):
            goals.setdefault(name, goal)
    found = meaning(rows, cuts)
    assert found == meaning(rows)
    for name in goals:
        seen = [name]
        while seen[-1] in goals and goals[seen[-1]] not in seen:
            seen.append(goals[seen[-1]])
        looping = seen[-1] in goals
        expected = name if looping else seen[-1]
        assert found.get(name) == (expected or None) or (expected == "" and name in ("B", "C", "D"))


def test_keys_are_the_same_whatever_the_array_they_stand_in() -> None:
    names = ["", "a", "ab", "ba", "猫", "x" * 700, "a"]
    array = pa.array(["skipped", *names]).slice(1)
    assert (string_keys(array) == string_keys(pa.chunked_array([names[:3], names[3:]]))).all()
    keys = string_keys(array)
    assert keys[1] == keys[6] and keys[0] == 0 and len(set(keys.tolist())) == 6


@given(st.lists(st.text(max_size=6)), st.lists(st.text(max_size=6)))
@settings(deadline=None)
def test_lookup_by_key_is_lookup_by_string(known: list[str], wanted: list[str]) -> None:
    known = sorted({name.encode("utf-8", "replace").decode() for name in known})
    wanted = [name.encode("utf-8", "replace").decode() for name in wanted]
    keys = np.sort(string_keys(pa.array(known, pa.string())))
    assert (find(keys, string_keys(pa.array(wanted, pa.string()))) >= 0).tolist() == [name in known for name in wanted]


def test_links_are_counted_once_per_pair_without_those_to_itself() -> None:
    rows = [article("A", "B", "B", "Old b", "A", "Out"), article("B", "A"), redirect("Old b", "B")]
    table = number(rows).table
    found = link_rows(page_table(rows), TitleIndex(*title_arrays(table)))
    titles = table.column("title").to_pylist()
    assert [(titles[row["source"]], titles[row["target"]], row["count"]) for row in found.to_pylist()] == [
        ("A", "B", 3),
        ("A", "Out", 1),
        ("B", "A", 1),
    ]


def test_forms_cut_into_ranges_join_to_the_sorted_whole() -> None:
    titles = pa.table({"title": [f"T{i % 97} (x{i})" for i in range(500)], "entity": range(500), "origin": ["title"] * 500})
    forms = title_forms(titles, 500, language="en")
    starts = range_starts(titles.column("title"), rows_per_range=60)
    assert len(starts) == 8
    pieces = cut(forms, starts)
    assert pa.concat_tables(pieces).equals(merged([forms]))
    assert all(piece.num_rows for piece in pieces)
    assert range_starts(titles.column("title").take(pa.array(np.arange(499, -1, -1))), rows_per_range=60) == starts


def test_of_several_origins_the_strongest_stays_and_links_add_up() -> None:
    rows = [("cat", "en", 1, "anchor", 3), ("cat", "en", 1, "redirect", 0), ("cat", "en", 2, "anchor", 1)]
    table = pa.Table.from_arrays([pa.array(column) for column in zip(*rows, strict=True)], schema=FORMS)
    assert merged([table]).to_pylist() == [
        {"text": "cat", "language": "en", "entity": 1, "origin": "redirect", "links": 3},
        {"text": "cat", "language": "en", "entity": 2, "origin": "anchor", "links": 1},
    ]


def counted(texts: list[str], forms: list[str]) -> dict[str, int]:
    hashes = form_hashes(forms)
    lexicon = np.unique(hashes[hashes != 0])
    found, counts = count_unlinked(pa.chunked_array([texts]), lexicon, sieve(lexicon))
    times = dict(zip(found.tolist(), counts.tolist(), strict=True))
    return {form: times.get(int(find(lexicon, hashes[i : i + 1])[0]), 0) for i, form in enumerate(forms)}


def test_occurrences_are_counted_by_tokens_and_case_but_not_across_links() -> None:
    text = f"New York, New York! new  York C++ {LINK_MARK} York New{LINK_MARK}York 我爱北京天安门"
    assert counted([text], ["New York", "York", "C++", "北京", "York New York", "天安门", "C", "absent", "..."]) == {
        "New York": 2, "York": 5, "C++": 1, "北京": 1, "York New York": 0, "天安门": 1, "C": 1, "absent": 0, "...": 0,
    }  # fmt: skip


@given(st.lists(st.lists(st.sampled_from("a b c".split()), min_size=1, max_size=8), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_occurrences_agree_with_counting_word_by_word(texts: list[list[str]]) -> None:
    forms = ["a", "a b", "b c a", "c c c c"]
    expected = {
        form: sum(text[i : i + len(form.split())] == form.split() for text in texts for i in range(len(text))) for form in forms
    }
    assert counted([" ".join(text) for text in texts], forms) == expected


def test_forms_of_too_many_tokens_are_not_counted() -> None:
    assert form_hashes([" ".join(["x"] * MAX_TOKENS), " ".join(["x"] * (MAX_TOKENS + 1))])[1] == 0
