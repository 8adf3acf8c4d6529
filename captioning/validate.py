"""Is this caption fit to train on? The checks that a model's captions pass before they are kept.

A caption enters with the facts of its image, its faults leave: each a code and one line on what was found, which is what the
model is told when it is asked again. Nothing is judged that cannot be told from the text and the evidence; whether the picture
is described well is not among it (CLIPScore, captioning/clip_score.py, says a little about that).

    empty            nothing but white space                     quote_not_in_ocr   a quotation that the picture does not say
    length           words outside the level's bounds            unbalanced_quote   a quotation mark that stands alone
    language         written in another language or script       text_missing       less than .9 of the read text is in `long`
    damaged          U+FFFD, control characters, surrogates      denies_text        says there is no text where text was read
    special_token    a chat format's tokens, HTML, our marks     name_not_in_evidence  a person, place or work nobody mentioned
    loop             repeats itself                              address_not_in_evidence  a URL or e-mail nobody mentioned
    refusal, meta    speaks of itself or of its task             obeys_order, lost_description  a text in the picture took over
    watermark_as_text   quotes the source's watermark as text of the scene
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from captioning.clauses import word_count
from captioning.evidence import Facts
from captioning.language_share import wrong_language
from captioning.loops import loop
from captioning.marks import quoted_as_scene
from captioning.names import evidence_words, unknown_names
from captioning.orders import demands, lost, obeyed
from captioning.outside import INJECTION
from captioning.phrases import META, NO_TEXT, REFUSAL, SPECIAL_TOKENS
from captioning.quotations import in_evidence, is_unbalanced, quotations, unquoted
from captioning.text_recall import text_recall, units

WORDS: Mapping[str, tuple[int, int]] = {
    "tags": (2, 60),
    "short": (3, 30),
    "medium": (8, 120),
    "long": (20, 600),
    "prompt": (1, 90),
}
"""Fewest and most words per level, two Han characters being a word; text that is quoted comes on top of the upper bound."""
ADDRESS = re.compile(r"\b(?:https?://|www\.)\S+|\b[\w.+-]+@[\w-]+\.[\w.]+\b")
HTML = re.compile(
    r"</?(?:p|br|div|span|b|i|em|strong|ul|li|h[1-6]|script|style|a|img|table|td|tr)\b[^>]*>|&(?:amp|lt|gt|nbsp|quot);", re.I
)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a caption."""

    code: str
    detail: str

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


@dataclass(frozen=True)
class Evidence:
    """What the captions of one image may speak of: its facts, and the source's further metadata as texts."""

    facts: Facts
    metadata: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def lines(self) -> list[str]:
        """Return the picture's lines in reading order, without watermarks."""
        return [quote.text for quote in self.facts.quotes]

    @cached_property
    def marks(self) -> list[str]:
        """Return the lines that are watermarks."""
        return [mark.text for mark in self.facts.marks]

    @cached_property
    def written(self) -> list[str]:
        """Return everything that is written in the picture, watermarks behind its lines."""
        return [*self.lines, *self.marks]

    @cached_property
    def others(self) -> list[str]:
        """Return every other text that may be quoted or named."""
        linked = [text for one in self.facts.entities for text in (one.title, one.title_zh, one.description, one.text)]
        labels = [text for subject in self.facts.subjects for text in (subject.en, subject.zh)]
        return [text for text in (*self.facts.sources.values(), *self.metadata.values(), *linked, *labels) if text]

    @cached_property
    def all_text(self) -> str:
        """Return lines and other texts as one, for containment."""
        return "\n".join([*self.written, " ".join(self.lines), *self.others])

    @cached_property
    def known_words(self) -> set[str]:
        """Return the words that names may be made of."""
        return evidence_words([*self.written, *self.others])

    @cached_property
    def demanded(self) -> list[str]:
        """Return what orders in the outside texts want said."""
        told = [*self.facts.sources.values(), *self.metadata.values()]
        return demands([*self.written, " ".join(self.lines), *told])

    @cached_property
    def harmless(self) -> str:
        """Return the evidence without the texts that give orders."""
        kept = [text for text in [*self.written, *self.others] if not INJECTION.search(text)]
        return "\n".join(text for text in kept if not any(demand in text for demand in self.demanded))


def faults(
    text: str,
    *,
    language: str,
    level: str,
    evidence: Evidence,
    words: Mapping[str, tuple[int, int]] = WORDS,
    min_text_recall: float = 0.9,
) -> list[Fault]:
    """Return what is wrong with one caption, the gravest first; none: it is fit to be kept.

    words: bounds per level, as WORDS has them. min_text_recall: share of the picture's text that `long` holds
    (captioning/text_recall.py).
    """
    if not text.strip():
        return [Fault("empty", "the caption is empty")]
    outside = unquoted(text, evidence.written)
    found = [
        *_damage(text, outside),
        *_talk(outside),
        *_orders(text, outside, evidence, level),
        *_loops(outside),
        *_language(outside, language, evidence),
        *_length(text, outside, level, words),
        *_quotes(text, evidence),
        *_watermarks(text, evidence, level),
        *_names(outside, evidence, level),
    ]
    if evidence.lines:
        found += _text(text, outside, evidence, level, min_text_recall)
    return found


def _damage(text: str, outside: str) -> list[Fault]:
    found = []
    bad = sorted(
        {
            sign
            for sign in text
            if sign == "\ufffd" or (unicodedata.category(sign) in ("Cc", "Cs", "Co", "Cn") and sign not in "\t\n\r")
        }
    )
    if bad:
        found.append(Fault("damaged", "holds " + ", ".join(f"U+{ord(sign):04X}" for sign in bad[:3])))
    if token := SPECIAL_TOKENS.search(outside) or HTML.search(outside):
        found.append(Fault("special_token", f"holds {token.group()[:40]!r}"))
    if any(mark in outside for mark in ("<<<", ">>>", "```")):
        found.append(Fault("special_token", "holds marks of the question or of Markdown"))
    return found


def _talk(outside: str) -> list[Fault]:
    found = []
    for code, pattern in (("refusal", REFUSAL), ("meta", META)):
        if said := pattern.search(outside):
            found.append(Fault(code, f"speaks of itself or the task: {said.group().strip()[:60]!r}"))
    return found


def _orders(text: str, outside: str, evidence: Evidence, level: str) -> list[Fault]:
    """Return whether a text of the picture or the source took over; asked only where one gives orders."""
    if not evidence.facts.flags and not evidence.demanded:
        return []
    if demand := obeyed(text, outside, evidence.demanded, evidence=evidence.harmless):
        return [Fault("obeys_order", f"says {demand[:60]!r}, which a text of the image demands")]
    if not lost(outside, level=level):
        return []
    suspect = any(flag.endswith("injection_suspect") for flag in evidence.facts.flags)
    return [Fault("lost_description", "nothing is described outside the quotations")] if suspect else []


def _loops(outside: str) -> list[Fault]:
    repeated = loop(outside)
    return [Fault("loop", f"repeats itself: {repeated}")] if repeated else []


def _language(outside: str, language: str, evidence: Evidence) -> list[Fault]:
    reason = wrong_language(_own_words(outside, evidence), language)
    return [Fault("language", reason)] if reason else []


def _length(text: str, outside: str, level: str, words: Mapping[str, tuple[int, int]]) -> list[Fault]:
    low, high = words[level]
    own, whole = word_count(outside.replace("…", " ")), word_count(text)
    if own > high:
        return [Fault("length", f"{own} words, more than {high}")]
    return [Fault("length", f"{whole} words, fewer than {low}")] if whole < low else []


def _quotes(text: str, evidence: Evidence) -> list[Fault]:
    found = [
        Fault("quote_not_in_ocr", f"quotes {quotation.words[:80]!r}, which is not in the picture's text")
        for quotation in quotations(text, evidence.written)
        if not in_evidence(quotation.words, evidence.lines, [*evidence.marks, *evidence.others])
    ]
    if is_unbalanced(text, evidence.written):
        found.append(Fault("unbalanced_quote", "a quotation mark stands alone"))
    return found


def _watermarks(text: str, evidence: Evidence, level: str) -> list[Fault]:
    said = quoted_as_scene(text, lines=evidence.lines, marks=evidence.marks, level=level)
    return [Fault("watermark_as_text", f"quotes {words[:80]!r} as text of the scene; it is a watermark") for words in said]


def _names(outside: str, evidence: Evidence, level: str) -> list[Fault]:
    names = unknown_names(outside, known=evidence.known_words, evidence=evidence.all_text, tags=level == "tags")
    found = [Fault("name_not_in_evidence", f"names {', '.join(names[:5])}, which no text or link mentions")] if names else []
    for address in ADDRESS.findall(outside):
        if address.rstrip(".,;)") not in evidence.all_text:
            found.append(Fault("address_not_in_evidence", f"gives {address[:60]!r}"))
    return found


def _text(text: str, outside: str, evidence: Evidence, level: str, min_text_recall: float) -> list[Fault]:
    found = []
    if denied := NO_TEXT.search(outside):
        found.append(Fault("denies_text", f"says {denied.group()!r}, but text was read"))
    if level == "long" and (recall := text_recall(evidence.lines, text)) < min_text_recall:
        found.append(Fault("text_missing", f"holds {recall:.2f} of the picture's text, less than {min_text_recall}"))
    return found


def _own_words(outside: str, evidence: Evidence) -> str:
    """Return the caption without words of the evidence that it may repeat in their own language, unquoted."""
    own = outside
    for told in sorted({*evidence.written, *evidence.others}, key=len, reverse=True):
        if len(told) > 1 and (len(units(told)) > 1 or not told.isascii()):
            own = own.replace(told, " ")
    return own


def disagreements(captions: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], Fault]:
    """Return faults that only show between the captions of one image: the same text twice, a long one shorter than the short."""
    found: dict[tuple[str, str], Fault] = {}
    for (language, level), text in captions.items():
        short = captions.get((language, "short"))
        if level in ("medium", "long") and short is not None and word_count(text) <= word_count(short):
            found[language, level] = Fault("length", "is no longer than the short caption")
        elif level == "long" and captions.get((language, "medium")) == text:
            found[language, level] = Fault("length", "is the medium caption")
    return found


def named_faults(found: Iterable[tuple[tuple[str, str], Fault]], *, limit: int = 12) -> Sequence[str]:
    """Return faults as lines for a question: 'zh long: text_missing: holds 0.40 of ...'."""
    return [f"{language} {level}: {fault}" for (language, level), fault in found][:limit]
