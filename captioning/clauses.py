"""A caption as a row of clauses: what it says and, for each clause, what was measured to say so.

A caption is built as a list of parts. A part that states something is a Clause and carries its evidence; the glue between
clauses is plain text and states nothing. So a clause without evidence cannot be written, and the evidence column is a by-product
of the text rather than a second account of it.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

from captioning.evidence import Facts, Quote

Source = Literal["metric", "colour", "tag", "ocr", "caption", "entity", "watermark"]


class Clause(NamedTuple):
    """Words of a caption, the kind of fact behind them, and its value."""

    text: str
    source: Source
    value: str


Part = str | Clause
Parts = list[Part]
IDEOGRAPH = "[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
QUOTATION_MARKS = (('"', '"'), ("“", "”"), ("「", "」"), ("'", "'"))
LOOSE_END = re.compile(
    r"[\s,]+(a|an|the|of|in|on|at|to|by|for|from|with|and|or|before|behind|through|over|under|its|their|is|are|that|which|while)$",
    re.IGNORECASE,
)
"""Words on which a cut phrase must not end."""
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])|(?<=[。！？])")


def render(parts: Parts) -> tuple[str, list[dict[str, str]]]:
    """Return the text of a caption and its EVIDENCE rows, one per clause."""
    text = "".join(part if isinstance(part, str) else part.text for part in parts)
    return text, [part._asdict() | {"clause": part.text} for part in parts if isinstance(part, Clause)]


def joined(items: Sequence[Sequence[Part]], separator: str, last: str) -> Parts:
    """Return the items as a list: separator between them, `last` before the final one."""
    parts: Parts = []
    for position, item in enumerate(items):
        if position:
            parts.append(last if position == len(items) - 1 else separator)
        parts += item
    return parts


def quoted(quote: Quote, marks: tuple[str, str], source: Source = "ocr") -> Clause:
    """Return a line verbatim between quotation marks: `marks`, or the first pair that does not occur in the line."""
    pairs = (marks, *QUOTATION_MARKS)
    opening, closing = next((pair for pair in pairs if not set(pair) & set(quote.text)), marks)
    return Clause(f"{opening}{quote.text}{closing}", source, quote.text)


def prominent(facts: Facts, number: int, *, max_words: int = 1000) -> list[Quote]:
    """Return the tallest lines of at most max_words words, in reading order."""
    fitting = [quote for quote in facts.quotes if word_count(quote.text) <= max_words]
    largest = sorted(fitting, key=lambda quote: -quote.size)[:number]
    return [quote for quote in fitting if quote in largest][:number]


def word_count(text: str) -> int:
    """Return the number of words: runs without space, or one for every two Han, kana or Hangul characters."""
    rest, ideographs = re.subn(IDEOGRAPH, " ", text)
    words = [word for word in rest.split() if any(character.isalnum() for character in word)]
    return len(words) + (ideographs + 1) // 2


def shortened(text: str, max_words: int) -> str:
    """Return the first sentence of `text` without its full stop, cut at a clause or else a word to max_words words."""
    sentence = SENTENCE_END.split(text.strip())[0].rstrip(".。 ")
    if word_count(sentence) <= max_words:
        return sentence
    clauses = re.split(r"(?<=[,;，；：])", sentence)
    kept = ""
    for clause in clauses:
        if word_count(kept + clause) > max_words:
            break
        kept += clause
    kept = (kept or _cut(sentence, max_words)).rstrip(" ,;:，；：、-")
    if kept.count('"') % 2 or kept.count("“") > kept.count("”"):  # never half a quotation
        kept = kept[: max(kept.rfind('"'), kept.rfind("“"))].rstrip()
    while loose := LOOSE_END.search(kept):
        kept = kept[: loose.start()]
    return kept


def choice(facts: Facts, salt: str, number: int) -> int:
    """Return a number below `number` that depends on the image's id alone: variety without chance."""
    return zlib.crc32(f"{facts.id}/{salt}".encode()) % number


def _cut(sentence: str, max_words: int) -> str:
    words = re.findall(f"{IDEOGRAPH}|(?:(?!{IDEOGRAPH})\\S)+\\s*|\\s+", sentence)
    while words and word_count("".join(words)) > max_words:
        words.pop()
    return "".join(words)
