"""Links of wikitext, by one scan over its brackets.

What enters is a page's wikitext, what leaves are its links with their targets' namespaces, the text they show and where they
stand. A full parser builds a tree of everything; links need a stack of open brackets alone, which is some fifty times less work.
The scan is linear whatever the text: every search that found nothing is remembered, and no slice is longer than a title or a
shown text may be.
"""

import html
import re
from typing import NamedTuple

from captioning.site import CATEGORY, FILE, Site

MAX_SHOWN_CHARACTERS = 200
"""A longer shown text is no name of anything; the link counts, its text does not."""
MAX_TARGET_CHARACTERS = 1024
"""Characters before the bar that are looked at; a title has at most 255 bytes, but its letters may be written as entities."""
MAX_TRAIL_CHARACTERS = 30
"""Letters behind a link belong to the text it shows: "[[star]]s" shows "stars"."""
VERBATIM = ("nowiki", "pre", "math", "chem", "source", "syntaxhighlight", "score", "timeline", "graph", "templatedata", "hiero")
"""Elements whose content is no wikitext."""

_HIDDEN = re.compile(rf"<!--|<({'|'.join(VERBATIM)})\b([^<>]*)>", re.IGNORECASE)
_BRACKETS = re.compile(r"\[\[(?!\[)|\]\]")
_TARGET = re.compile(r"[^\[\]{}<>|\n]*")
_MARKUP = re.compile(r"'{2,}|<[^<>]*>")
_TRAIL = re.compile(r"[a-zà-öø-ÿа-яё]*")
_BLANKS = re.compile(r"\s+")
_QUALIFIER = re.compile(r"\s*[(（][^()（）]*[)）]$|, .*$")


class Link(NamedTuple):
    """One link; `start` and `end` are characters of the text without hidden parts, brackets and trail included."""

    namespace: int
    title: str
    shown: str  # as a reader sees it; empty: too long, or a picture or nothing is shown
    start: int
    end: int
    prefix: str = ""
    colon: bool = False


def visible(text: str) -> str:
    """Return wikitext without comments and without elements whose content is no wikitext."""
    pieces: list[str] = []
    unclosed: set[str] = set()
    position = 0
    while found := _HIDDEN.search(text, position):
        pieces.append(text[position : found.start()])
        position = _behind(text, found, unclosed)
    if not pieces:
        return text
    pieces.append(text[position:])
    return "".join(pieces)


def _behind(text: str, found: re.Match[str], unclosed: set[str]) -> int:
    """Return where the hidden element ends; one that is not closed hides its own mark alone."""
    name = (found[1] or "").lower()
    if name in unclosed or (found[2] or "").endswith("/"):
        return found.end()
    if not name:
        end = text.find("-->", found.end())
        if end >= 0:
            return end + 3
    elif closing := _closing(name).search(text, found.end()):
        return closing.end()
    unclosed.add(name)  # there is none behind here either: do not look again
    return found.end()


_CLOSING = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in VERBATIM}


def _closing(name: str) -> re.Pattern[str]:
    return _CLOSING[name]


def links(text: str, site: Site) -> list[Link]:
    """Return the links of visible wikitext, in the order in which they end: those inside a file's caption before the file.

    As in MediaWiki, only a file's link may hold others; of two other links one in another, the inner one counts.
    """
    found: list[Link] = []
    opened: list[int] = []  # where the content of every open bracket begins
    holds: list[bool] = []  # whether a link has ended inside it
    for bracket in _BRACKETS.finditer(text):
        if bracket[0] == "[[":
            opened.append(bracket.end())
            holds.append(False)
        elif opened:
            link = _link(text, opened.pop(), bracket.start(), holds.pop(), site)
            if link is not None:
                found.append(link)
                if holds:
                    holds[-1] = True
    return found


def _link(text: str, start: int, end: int, holds_link: bool, site: Site) -> Link | None:
    written = _TARGET.match(text, start, min(end, start + MAX_TARGET_CHARACTERS))
    assert written is not None  # it matches the empty text
    behind = written.end()
    if behind != end and text[behind] != "|":
        return None
    target = site.target(written[0])
    if target is None or not target.title:
        return None
    is_file = target.namespace == FILE and not target.colon
    if holds_link and not is_file:
        return None
    is_shown = target.colon or target.namespace not in (FILE, CATEGORY)
    trail = _TRAIL.match(text, end + 2, end + 2 + MAX_TRAIL_CHARACTERS) if is_shown else None
    shown = _shown(text, written[0], behind, end) if is_shown else ""
    shown = shown + trail[0] if trail and shown else shown
    return Link(target.namespace, target.title, shown, start - 2, trail.end() if trail else end + 2, target.prefix, target.colon)


def _shown(text: str, written: str, bar: int, end: int) -> str:
    """Return what the reader sees: the text behind the bar, or the target as written; the pipe trick where it was left over."""
    if bar == end:
        return plain(written.lstrip(": ").replace("_", " "))
    if end - bar - 1 > MAX_SHOWN_CHARACTERS:
        return ""
    shown = plain(text[bar + 1 : end])
    return shown or _QUALIFIER.sub("", plain(written.rpartition(":")[2]))


def plain(text: str) -> str:
    """Return a short piece of wikitext without quotation marks of markup, elements, entities and repeated blanks."""
    if text.isalnum():
        return text
    bare = _MARKUP.sub("", text) if "''" in text or "<" in text else text
    return _BLANKS.sub(" ", html.unescape(bare) if "&" in bare else bare).strip()
