"""The link scanner: agreement with mwparserfromhell and with a naive parser, every trap of wikitext, linear time."""

import bz2
import time
from importlib.resources import files
from io import BytesIO

import mwparserfromhell
import mwxml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.prose import LINK_MARK, lead_wikitext, regions, unlinked
from captioning.site import CATEGORY, FILE, LANGUAGE, OTHER_WIKI, Site, read_site
from captioning.wikitext import Link, links, visible

SITE = Site()
ENWIKI = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"


def scan(text: str, site: Site = SITE) -> list[Link]:
    return links(visible(text), site)


def pairs(text: str, site: Site = SITE) -> list[tuple[str, str]]:
    return [(link.title, link.shown) for link in scan(text, site)]


def test_links_of_real_articles_agree_with_mwparserfromhell() -> None:
    raw = bz2.decompress(files("gensim").joinpath("test", "test_data", ENWIKI).read_bytes())
    site = read_site(raw[:20_000].decode())
    ours = theirs = 0
    for page in mwxml.Dump.from_file(BytesIO(raw)).pages:
        text = next(iter(page)).text or ""
        if len(text) < 30_000:
            ours += len(scan(text, site))
            theirs += len(mwparserfromhell.parse(text).filter_wikilinks())
    assert theirs > 4000
    assert abs(ours - theirs) <= 0.01 * theirs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[cat]]", [("Cat", "cat")]),
        ("[[cat]]s and [[dog|hound]]s!", [("Cat", "cats"), ("Dog", "hounds")]),
        ("[[new_york  city]]", [("New york city", "new york city")]),
        ("[[Café|'''the''' ''café'']]", [("Café", "the café")]),
        ("[[Life#Origin|origin]]", [("Life", "origin")]),
        ("[[#Section]]", []),
        ("[[Mercury (planet)|]]", [("Mercury (planet)", "Mercury")]),
        ("[[AT&amp;T]] [[Rock &ndash; Roll]]", [("AT&T", "AT&T"), ("Rock – Roll", "Rock – Roll")]),
        ("[[%C3%89t%C3%A9]]", [("Été", "%C3%89t%C3%A9")]),
        ("[[a|b [[c]] d]]", [("C", "c")]),
        ("[[[bracket]]]", [("Bracket", "bracket")]),
        ("[[unclosed and [[closed]] and ]] more", [("Closed", "closed")]),
        ("[[unclosed", []),
        ("[[two\nlines]]", []),
        ("[[over|two\nlines]]", [("Over", "two lines")]),
        ("[[{{PAGENAME}}]]", []),
        ("[[a{b]] [[c<d>]]", []),
        ("<nowiki>[[a]]</nowiki><!-- [[b]] --><pre>[[c]]</pre> [[d]]", [("D", "d")]),
        ("<!-- never closed [[a]]", [("A", "a")]),
        ("<nowiki/>[[a]]", [("A", "a")]),
        ("{{main|Foo}} {{x|[[Bar]]}}", [("Bar", "Bar")]),
        ("[[1]] [[.*]] [[A]]", [("1", "1"), (".*", ".*"), ("A", "A")]),
        ("[[" + "x" * 300 + "]]", []),
        ("[[x|" + "y" * 300 + "]]", [("X", "")]),
        ("[[]] [[ ]] [[|x]] [[:]]", []),
    ],
)
def test_traps_of_wikitext(text: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(text) == expected


def test_namespaces_and_other_wikis_are_told_apart() -> None:
    text = "[[Category:Cats|key]] [[:Category:Dogs]] [[File:a.jpg|thumb|a [[cat]]]] [[zh:猫]] [[:fr:chat]] [[wikt:cat]]"
    found = scan(text)
    assert [(link.namespace, link.title, link.colon) for link in found] == [
        (CATEGORY, "Cats", False),
        (CATEGORY, "Dogs", True),
        (0, "Cat", False),
        (FILE, "A.jpg", False),
        (LANGUAGE, "猫", False),
        (LANGUAGE, "chat", True),
        (OTHER_WIKI, "cat", False),
    ]


def test_local_namespace_names_come_from_the_site() -> None:
    head = (
        '<mediawiki xml:lang="bg"><siteinfo><case>case-sensitive</case><namespaces>'
        '<namespace key="14">Категория</namespace></namespaces></siteinfo>'
    )
    site = read_site(head)
    assert site.language == "bg"
    (link,) = scan("[[Категория:котки]]", site)
    assert (link.namespace, link.title) == (CATEGORY, "котки")


def naive(text: str) -> list[str]:
    """The inside of every innermost pair of brackets, by looking for closing ones from left to right."""
    found = []
    position = 0
    while (end := text.find("]]", position)) >= 0:
        start = text.rfind("[[", 0, end)
        if start >= 0 and text.rfind("]]", 0, end) <= start:
            found.append(text[start + 2 : end])
        position = end + 2
    return found


@given(st.lists(st.sampled_from(["[[", "]]", "a", "b ", "|", "\n", "File:", "c#d"]), max_size=40).map("".join))
@settings(max_examples=300, deadline=None)
def test_innermost_links_agree_with_a_naive_parser(text: str) -> None:
    if "[[[" in text or "]]]" in text:
        return
    expected = [inside for inside in naive(text) if (target := SITE.target(inside.partition("|")[0])) and target.title]
    ours = [link for link in scan(text) if "[[" not in text[link.start + 2 : link.end]]
    assert len(ours) == len([inside for inside in expected if "\n" not in inside.partition("|")[0]])


@given(st.text(alphabet="[]{}<>|!-#:/'=\n&;aFile ref nowiki 猫_*\x00\ud800", max_size=200))
@settings(max_examples=400, deadline=None)
def test_no_text_makes_the_scanner_raise(text: str) -> None:
    shown = visible(text)
    found = links(shown, SITE)
    hidden = regions(shown)
    assert all(0 <= link.start < link.end <= len(shown) for link in found)
    assert "[[" not in "".join(link.title for link in found)
    unlinked(shown, found, hidden)
    lead_wikitext(shown, found, hidden)


@pytest.mark.parametrize(
    "piece",
    [
        "[[",
        "]]",
        "[[a]]",
        "<!--",
        "<nowiki>",
        "<nowiki ",
        "{{",
        "}}",
        "{|\n",
        "<ref>",
        "[[File:a|",
        "&",
        "'''",
        "[",
        "[http://a ",
        "|}",
        "\n=",
        "__A",
    ],
)
def test_hostile_repetition_takes_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        started = time.process_time()
        shown = visible(text)
        found = links(shown, SITE)
        hidden = regions(shown)
        unlinked(shown, found, hidden)
        lead_wikitext(shown, found, hidden)
        return time.process_time() - started

    short, long = min(seconds(50_000) for _ in range(2)), seconds(400_000)
    assert long < 30 * short + 0.2  # quadratic would be 64 times as long, and seconds


def test_half_open_half_closed_brackets_take_linear_time() -> None:
    started = time.process_time()
    scan("[[" * 200_000 + "x" + "]]" * 200_000)
    assert time.process_time() - started < 5


def test_running_text_has_no_markup_and_no_links() -> None:
    text = (
        "{{Infobox|a={{b}}}}'''Cats''' are [[animal]]s.<ref>{{cite}}</ref> They sleep.\n{|\n| table\n|}\n== Life ==\n* Cats purr."
    )
    shown = visible(text)
    assert (
        unlinked(shown, scan(text), regions(shown)).split()
        == f"Cats are {LINK_MARK}. {LINK_MARK} They sleep. {LINK_MARK} Life Cats purr.".split()
    )


def test_an_unclosed_template_hides_nothing_else() -> None:
    text = "{{never closed\nCats sleep. {{closed}} Dogs bark."
    assert "Dogs bark." in unlinked(text, [], regions(text))
