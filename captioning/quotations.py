"""Quotations in a caption: where they are, and whether what they quote is in evidence.

A caption quotes what is written in the picture, so each quotation must be words of the picture's lines, letter by letter. The
source's own words and the names of linked entities may be quoted as well. Quotations that differ from a line only in case,
width, spaces or punctuation are the line, badly copied, and can be put right without asking anybody.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

PAIRS = {'"': '"', "“": "”", "「": "」", "『": "』", "«": "»", "„": "“", "＂": "＂"}
ANY_QUOTE = re.compile(
    r"“([^“”]*)”|「([^「」]*)」|『([^『』]*)』|«([^«»]*)»|\"([^\"]*)\"|＂([^＂]*)＂|(?<!\w)‘([^‘’]{2,})’(?!\w)"
)
INCHES = re.compile(r"(?<=\d)[\"”](?=[\s.,;)]|$|-)")
STOPS = ",.;:!?，。；：！？、"


class Quotation(NamedTuple):
    """A quotation of a caption: the words between the marks, and where they begin and end in the caption."""

    words: str
    start: int
    end: int


def quotations(text: str, lines: Iterable[str] = ()) -> list[Quotation]:
    """Return the quotations of a caption in order; `lines` may hold quotation marks of their own."""
    found: list[Quotation] = []
    rest = text
    for line in sorted({line for line in lines if set(line) & set('"“”「」『』«»＂‘’')}, key=len, reverse=True):
        for opening, closing in (*PAIRS.items(), ("'", "'"), ("‘", "’")):
            marked = f"{opening}{line}{closing}"
            while (start := rest.find(marked)) >= 0:
                found.append(Quotation(line, start + 1, start + len(marked) - 1))
                rest = rest[:start] + "\ue000" * len(marked) + rest[start + len(marked) :]
    if rest.count('"') % 2:  # one of them may stand for inches
        rest = INCHES.sub("\ue000", rest)
    for match in ANY_QUOTE.finditer(rest):
        group = match.lastindex or 1
        found.append(Quotation(text[match.start(group) : match.end(group)], match.start(group), match.end(group)))
    return sorted(found, key=lambda quotation: quotation.start)


def unquoted(text: str, lines: Iterable[str] = (), *, blank: str = " … ") -> str:
    """Return the caption with each quotation, marks included, replaced by `blank`."""
    pieces, last = [], 0
    for quotation in quotations(text, lines):
        pieces += [text[last : quotation.start - 1], blank]
        last = quotation.end + 1
    return "".join([*pieces, text[last:]])


def is_unbalanced(text: str, lines: Iterable[str] = ()) -> bool:
    """Tell whether a straight or curly quotation mark stands alone."""
    rest = INCHES.sub("", unquoted(text, lines))
    return any(mark in rest for mark in '"“”「」『』')


def in_evidence(words: str, lines: Sequence[str], others: Iterable[str]) -> bool:
    """Tell whether the words occur, as whole words, in the lines read on (also across their ends), or in one of `others`."""
    wanted = " ".join(words.split())
    if not wanted:
        return False
    texts = [" ".join(lines), "".join(lines), *others]
    return any(_holds(" ".join(text.split()), wanted) for text in texts)


def _holds(text: str, wanted: str) -> bool:
    edge_before = r"(?<!\w)" if re.match(r"[A-Za-z0-9]", wanted) else ""
    edge_after = r"(?!\w)" if re.search(r"[A-Za-z0-9]$", wanted) else ""
    return re.search(edge_before + re.escape(wanted) + edge_after, text) is not None


def closest_line(words: str, lines: Sequence[str]) -> str | None:
    """Return the line, or lines read on, that equal `words` but for case, width, spaces and punctuation; None when none do."""
    wanted = folded(words)
    if not wanted:
        return None
    for length in range(1, min(4, len(lines)) + 1):
        for start in range(len(lines) - length + 1):
            several = lines[start : start + length]
            if folded("".join(several)) == wanted:
                return " ".join(several)
    return None


def folded(text: str) -> str:
    """Return letters and digits alone, NFKC, case folded."""
    return "".join(sign for sign in unicodedata.normalize("NFKC", text).casefold() if sign.isalnum())
