"""Repairs that need no judgement: what is meant is certain, only its form is wrong.

A caption enters with its evidence, the mended caption leaves with the names of what was done, which become flags. Nothing is
invented: words are taken out (a preface, Markdown, invisible characters), quotations are set as the picture spells them, and
lines of the picture that the long caption left out are added at its end.
"""

import re
import unicodedata
from collections.abc import Callable

from captioning import chinese, english
from captioning.clauses import joined, quoted, render, word_count
from captioning.phrases import PREFIX
from captioning.quotations import STOPS, closest_line, in_evidence, quotations, unquoted
from captioning.text_recall import text_recall, unsaid
from captioning.validate import Evidence

Repair = Callable[[str, str, str, Evidence], str]
MIN_OWN_WORDS = 6
"""A long caption that says less is no description, and quotations would not make it one."""
ZERO_WIDTH_JOINER = "\u200d"
"""Holds emoji together; every other format character is invisible and means nothing in a caption."""


def repaired(text: str, *, language: str, level: str, evidence: Evidence, min_text_recall: float = 0.9) -> tuple[str, list[str]]:
    """Return the caption mended, and what was done: invisible, markdown, prefix, wrapped, quotes, text_added."""
    done = []
    for name, repair in REPAIRS.items():
        mended = repair(text, language, level, evidence)
        if mended != text:
            text = mended
            done.append(name)
    describes = level == "long" and word_count(unquoted(text, evidence.written, blank=" ")) >= MIN_OWN_WORDS
    if describes and evidence.lines and text_recall(evidence.lines, text) < min_text_recall:
        text = _with_missing_lines(text, language, evidence)
        done.append("text_added")
    return text, done


def _without_invisible(text: str, *_: object) -> str:
    kept = "".join(c for c in text if unicodedata.category(c) != "Cf" or c == ZERO_WIDTH_JOINER)
    return re.sub(r"[ \u00a0\u3000]+", " ", kept).strip() if kept != text else kept.strip()


def _without_markdown(text: str, *_: object) -> str:
    """Return one line: emphasis, headings and bullets of Markdown taken out."""
    flat = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    flat = re.sub(r"(?m)^\s*(?:#{1,6}|[-*\u2022]|\d{1,2}[.)])\s+", "", flat)
    lines = [line.strip() for line in re.split(r"[\r\n\t]+", flat) if line.strip()]
    return " ".join(lines)


def _without_prefix(text: str, *_: object) -> str:
    rest = PREFIX.sub("", text, count=1)
    return rest if rest.strip() else text


def _unwrapped(text: str, language: str, level: str, evidence: Evidence) -> str:
    """Return a caption that stands in quotation marks as a whole without them, unless it is a line of the picture."""
    found = quotations(text, evidence.written)
    whole = len(found) == 1 and found[0].start == 1 and found[0].end == len(text) - 1
    return (
        text[1:-1]
        if whole and not in_evidence(found[0].words, evidence.written, ()) and closest_line(text, evidence.written) is None
        else text
    )


def _exact_quotes(text: str, language: str, level: str, evidence: Evidence) -> str:
    """Return the caption with badly copied quotations as the picture has them, and stops moved out of the marks."""
    for quotation in reversed(quotations(text, evidence.written)):
        words = quotation.words
        if in_evidence(words, evidence.written, evidence.others):
            continue
        bare = words.rstrip(STOPS)
        if bare and bare != words and in_evidence(bare, evidence.written, evidence.others):
            mark = text[quotation.end]
            text = f"{text[: quotation.start]}{bare}{mark}{words[len(bare) :]}{text[quotation.end + 1 :]}"
        elif line := closest_line(words, evidence.written):
            text = text[: quotation.start] + line + text[quotation.end :]
    return text


REPAIRS: dict[str, Repair] = {
    "invisible": _without_invisible,
    "markdown": _without_markdown,
    "prefix": _without_prefix,
    "wrapped": _unwrapped,
    "quotes": _exact_quotes,
}


def _with_missing_lines(text: str, language: str, evidence: Evidence) -> str:
    """Return the long caption with a sentence that quotes the lines it does not hold."""
    missing = unsaid(evidence.lines, text)
    quotes = [quote for quote in evidence.facts.quotes if quote.text in missing]
    marks = chinese.MARKS if language == "zh" else english.MARKS
    said = joined([[quoted(quote, marks)] for quote in quotes], *(("", "") if language == "zh" else (", ", " and ")))
    stop = "。" if language == "zh" else "."
    text = text.rstrip()
    if text.rstrip('"”」』')[-1:] not in ".!?。！？":
        text += stop
    carrier = "画面中还写着" if language == "zh" else " The text also reads "
    return render([text, carrier, *said, stop])[0]
