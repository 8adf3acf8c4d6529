"""Text and queries as the full-text index sees them: the same letters in both, whatever the script.

SQLite's tokenizer takes a run of letters for one word, which holds for scripts with spaces. Chinese and Japanese have none, so
every such character becomes a word of its own by a separator that nobody sees; a run of them is then searched as a phrase,
which finds it anywhere in a text, at any length from one character on. (A trigram tokenizer finds nothing below three.)

A query is words and phrases in quotation marks, and nothing else: each becomes a quoted string of FTS5's language, so that
AND, NEAR, *, a colon or SQL are words like any other.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from curation.errors import ConfigError

SEPARATOR = "\u200b"
"""Zero-width space: parts words for the tokenizer and shows nothing."""

BREAK = "\ue000"
"""A word of private use between two texts of one field, so that no phrase reaches from one into the next."""

MAX_TERMS = 64
"""Distinct terms of a query that are searched; a prompt of a hundred words is told by its first ones."""

_SPACELESS = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_RUN = re.compile(f"({_SPACELESS.pattern}+)")
_QUOTED = re.compile('"([^"]*)"|\u201c([^\u201d]*)\u201d|\u300c([^\u300d]*)\u300d|\u300e([^\u300f]*)\u300f')
_LONGEST_RUN = 3
"""A run of up to this many characters is one term; of a longer one every pair of neighbours is a term."""


@dataclass(frozen=True)
class Term:
    """One string that must stand in a text as it is, word for word."""

    text: str

    @property
    def expression(self) -> str:
        """The term as a string of FTS5's query language."""
        return '"' + separated(self.text).replace('"', '""') + '"'


def separated(text: str) -> str:
    """Return `text` with compatibility letters folded (full-width to ASCII) and every spaceless character set apart."""
    return _folded(text).translate(_APART)


def joined(text: str) -> str:
    """Return what `separated` was made of, with breaks as middle dots."""
    return re.sub(rf"\s*{BREAK}\s*", " \u00b7 ", text.replace(SEPARATOR, "")).strip()


def parse(query: str) -> list[Term]:
    """Return the distinct terms of a query, in order: phrases in quotation marks whole, other words one by one.

    Raises ConfigError when there is no letter or digit in it.
    """
    text = _folded(query)
    pieces: list[str] = []
    rest = 0
    for found in _QUOTED.finditer(text):
        pieces += _loose(text[rest : found.start()])
        pieces.append(" ".join(next(group for group in found.groups() if group is not None).split()))
        rest = found.end()
    pieces += _loose(text[rest:])
    terms = list(dict.fromkeys(piece for piece in pieces if _says_something(piece)))
    if not terms:
        raise ConfigError(f"the query {query[:80]!r} has no letter or digit to search for")
    return [Term(text) for text in terms[:MAX_TERMS]]


def _loose(text: str) -> list[str]:
    return [term for word in text.split() for piece in _RUN.split(word) for term in _terms(piece)]


def _terms(piece: str) -> list[str]:
    if len(piece) > _LONGEST_RUN and _SPACELESS.match(piece):
        return [piece[i : i + 2] for i in range(len(piece) - 1)]
    return [piece]


def _says_something(text: str) -> bool:
    return any(unicodedata.category(letter)[0] in "LN" for letter in text)


def _folded(text: str) -> str:
    """Return `text` in normal form C with letters and digits in NFKC; what SQLite's strings cannot hold becomes blank."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    return unicodedata.normalize("NFC", valid).translate(_FOLDED)


class _Table(dict[int, str]):
    """A table for str.translate that works each letter out when it is first met."""

    def __init__(self, fold: Callable[[str], str]) -> None:
        self._fold = fold

    def __missing__(self, code: int) -> str:
        return self.setdefault(code, self._fold(chr(code)))


def _fold(letter: str) -> str:
    if letter in (BREAK, SEPARATOR) or unicodedata.category(letter) == "Cc":
        return " "
    return unicodedata.normalize("NFKC", letter) if _says_something(letter) else letter


_FOLDED = _Table(_fold)
_APART = _Table(lambda letter: f"{SEPARATOR}{letter}{SEPARATOR}" if _SPACELESS.match(letter) else letter)


def is_spaceless(text: str) -> bool:
    """Say whether a text has characters of a script without spaces, such as Chinese."""
    return _SPACELESS.search(text) is not None
