"""Running text of an article: what a reader reads as sentences, without templates, tables, footnotes and pictures.

Opening and closing marks are paired by one scan with a stack; a mark that finds no partner is text. So an unclosed "{{" costs
nothing but itself, instead of the rest of the article.
"""

import html
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from captioning.site import CATEGORY, FILE, LANGUAGE
from captioning.wikitext import Link

_MARKS = re.compile(
    r"\{\{|\}\}|^[ :\t]{0,40}\{\||^[ \t]{0,40}\|\}(?!\})|<(/?)(ref|gallery|table|style|imagemap|div)\b([^<>]*)>",
    re.IGNORECASE | re.MULTILINE,
)
_HEADING = re.compile(r"^=", re.MULTILINE)
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\[\]]*([^\[\]\n]*)\]")
_MARKUP = re.compile(r"'{2,}|<[^<>]*>|__[A-Z]{3,30}__|^[*#:;= \t]+|=+[ \t]*$", re.MULTILINE)
_NO_PROSE = (FILE, CATEGORY, LANGUAGE)

LINK_MARK = "\x1f"
"""Stands in running text where a link was, so that no name is found across it."""


class Region(NamedTuple):
    """Characters from an opening mark to behind its closing one."""

    start: int
    end: int
    kind: str  # template, table, or the element's name


def regions(text: str) -> list[Region]:
    """Return the outermost templates, tables and footnotes of visible wikitext, in order."""
    pairs: list[Region] = []
    opened: list[tuple[str, int]] = []
    waiting: dict[str, int] = {}  # open marks by kind
    for mark in _MARKS.finditer(text):
        kind, opens = _read(mark)
        if not kind:
            pairs.append(Region(mark.start(), mark.end(), "ref"))  # an empty element
        elif opens:
            opened.append((kind, mark.start()))
            waiting[kind] = waiting.get(kind, 0) + 1
        elif waiting.get(kind):
            while True:  # what is open inside is not closed any more
                other, start = opened.pop()
                waiting[other] -= 1
                if other == kind:
                    break
            pairs.append(Region(start, mark.end(), kind))
    return _outermost(pairs)


def _read(mark: re.Match[str]) -> tuple[str, bool]:
    """Return the kind of a mark, '' for an element without content, and whether it opens."""
    if mark[2]:
        return ("", False) if mark[3].endswith("/") else (mark[2].lower(), not mark[1])
    sign = mark[0].strip(" :\t")
    return ("template", sign == "{{") if sign in ("{{", "}}") else ("table", sign == "{|")


def _outermost(pairs: list[Region]) -> list[Region]:
    outermost: list[Region] = []
    for region in sorted(pairs, key=lambda region: (region.start, -region.end)):
        if not outermost or region.start >= outermost[-1].end:
            outermost.append(region)
    return outermost


def unlinked(text: str, found: Sequence[Link], hidden: Sequence[Region]) -> str:
    """Return the running text outside of links: where a name stands without being linked."""
    gaps = sorted([(link.start, link.end) for link in found] + [(region.start, region.end) for region in hidden])
    return cleaned(LINK_MARK.join(_outside(text, 0, len(text), gaps)))


def lead_wikitext(text: str, found: Sequence[Link], hidden: Sequence[Region]) -> str:
    """Return what stands before the first heading, without templates, tables, footnotes, pictures and categories."""
    heading = _HEADING.search(text)
    end = heading.start() if heading else len(text)
    gaps = [(link.start, link.end) for link in found if link.namespace in _NO_PROSE and not link.colon]
    gaps += [(region.start, region.end) for region in hidden]
    return "".join(_outside(text, 0, end, sorted(gaps)))


def _outside(text: str, position: int, end: int, gaps: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Yield the pieces of text[position:end] outside of the sorted, possibly nested or overlapping gaps."""
    for start, behind in gaps:
        if start >= end:
            break
        if start > position:
            yield text[position:start]
        position = max(position, behind)
    if position < end:
        yield text[position:end]


def cleaned(text: str) -> str:
    """Return running wikitext as plain text: no markup of lines, quotes, elements and external links."""
    return html.unescape(_MARKUP.sub("", _EXTERNAL.sub(r"\1", text)))
