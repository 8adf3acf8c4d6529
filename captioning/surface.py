"""Surface forms: a text as the tokens by which names are found in it, whatever the script, width or variant of its letters.

A text enters, 64-bit hashes of its tokens leave, with the characters each token came from. Words are runs of letters and digits;
scripts without spaces give a token per character, so that n-grams of tokens are word n-grams in English and character n-grams
in Chinese, and one matcher serves both. Every other sign is a token too ("AC/DC", "C++"); blanks and invisible characters are
none, so "Ａ Ｂ" in full width, with any space between, is "A B".

The *folded* hash forgets what writers vary (NFKC, case, traditional characters, kinds of dashes and quotation marks); the *exact*
hash forgets all but case, which tells "US" from "us" and "Apple" from "apple"; the *loose* one also forgets the case of the
first letter, which a title or a sentence begins with in capitals whatever the word.
"""

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Integers = NDArray[np.int64]

MAX_CACHED = 1 << 20
"""Distinct words whose hashes a process remembers."""
SPACELESS = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff\u0e01-\u0e7f\u0e81-\u0edf\u0f00-\u0fbc\u1000-\u109f\u1780-\u17d3"
)
"""Han and kana, then Thai, Lao, Tibetan, Burmese and Khmer: scripts that put no space between words."""
_ALIKE = str.maketrans(
    {sign: "'" for sign in "‘’‛′ʼ`´"}
    | {sign: '"' for sign in "“”„‟″«»「」『』"}
    | {sign: "-" for sign in "‐‑‒–—―−"}
    | {sign: "·" for sign in "・‧•∙⋅･"}
)


class Tokens(NamedTuple):
    """The tokens of several texts, one text after the other."""

    folded: Hashes  # (tokens,)
    exact: Hashes  # (tokens,)
    loose: Hashes  # (tokens,)
    start: Integers  # (tokens,) first character in its text
    end: Integers  # (tokens,) behind its last character
    text: Integers  # (tokens,) number of its text
    left: Integers  # (tokens,) tokens of its text from here on, itself included
    is_word: NDArray[np.bool_]  # (tokens,) it has letters


class _Word(NamedTuple):
    """What one run of characters gives: one token, or several where folding takes a sign apart."""

    folded: tuple[int, ...]
    exact: tuple[int, ...]
    loose: tuple[int, ...]
    is_word: tuple[bool, ...]


def tokens(texts: Sequence[str]) -> Tokens:
    """Return the tokens of every text, in order; a text of blanks has none."""
    pattern = _pattern()
    folded: list[int] = []
    exact: list[int] = []
    loose: list[int] = []
    words: list[bool] = []
    start: list[int] = []
    end: list[int] = []
    counts: list[int] = []
    for text in texts:
        before = len(folded)
        for found in pattern.finditer(text):
            word = _word(found[0])
            folded += word.folded
            exact += word.exact
            loose += word.loose
            words += word.is_word
            start += [found.start()] * len(word.folded)
            end += [found.end()] * len(word.folded)
        counts.append(len(folded) - before)
    lengths = np.asarray(counts, np.int64)
    number = np.repeat(np.arange(len(lengths)), lengths)
    behind = np.cumsum(lengths)[number] if len(number) else np.zeros(0, np.int64)
    return Tokens(
        np.array(folded, np.uint64),
        np.array(exact, np.uint64),
        np.array(loose, np.uint64),
        np.array(start, np.int64),
        np.array(end, np.int64),
        number,
        behind - np.arange(len(number)),
        np.array(words, np.bool_),
    )


def extended(prefix: Hashes, following: Hashes) -> Hashes:
    """Return the hash of every n-gram and the token behind it, elementwise.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014, https://doi.org/10.1145/2660193.2660195) over the sum.
    """
    with np.errstate(over="ignore"):
        mixed = prefix * np.uint64(0x9E3779B97F4A7C15) + following
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)


def hashed(following: Hashes, first: Integers, size: Integers, *, opening: Hashes | None = None) -> Hashes:
    """Return the hash of every span of tokens first .. first + size - 1; 0 for a span of none.

    following: the hash of every token; opening: the same where it stands first in a span, if that is another.
    """
    found = np.zeros(len(first), np.uint64)
    for position in range(int(size.max(initial=0))):
        here = np.flatnonzero(size > position)
        each = opening if opening is not None and position == 0 else following
        found[here] = extended(found[here], each[first[here] + position])
    return found


def fold(text: str) -> str:
    """Return a text's letters as the folded hash sees them: NFKC, no case, simplified characters, plain dashes and quotes."""
    return _exact(text).casefold().translate(_simplified())


def _exact(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_ALIKE)


@functools.lru_cache(maxsize=MAX_CACHED)
def _word(text: str) -> _Word:
    exact = [found[0] for found in _pattern().finditer(_exact(text))]
    small = [token[:1].lower() + token[1:] for token in exact]
    folded, same, loose = (tuple(_hash(token) for token in form) for form in (map(fold, exact), exact, small))
    return _Word(folded, same, loose, tuple(any(letter.isalpha() for letter in token) for token in exact))


def _hash(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@functools.cache
def _pattern() -> re.Pattern[str]:
    """Return the expression of one token: a character of a spaceless script, a word, or one sign; each with its marks."""
    marks = "".join(_ranges(code for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M"))
    invisible = "".join(_ranges(code for code in range(0x10000) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Co")))
    word = f"(?:(?![{SPACELESS}])[^\\W_][{marks}]*)+"
    return re.compile(f"[{SPACELESS}][{marks}]*|{word}|[^\\s{invisible}]")


def _ranges(codes: Iterator[int]) -> Iterator[str]:
    """Yield ascending code points as the ranges of a character class."""
    first = last = -2
    for code in codes:
        if code != last + 1:
            if first >= 0:
                yield f"\\u{first:04x}-\\u{last:04x}"
            first = code
        last = code
    if first >= 0:
        yield f"\\u{first:04x}-\\u{last:04x}"


@functools.cache
def _simplified() -> dict[int, str]:
    """Return traditional to simplified characters, one for one: OpenCC's table, its first choice where there are several.

    Which of them is right does not matter here, as the names of the dictionary pass through the same table.
    """
    rows = files("opencc").joinpath("dictionary/TSCharacters.txt").read_text("utf-8").splitlines()
    pairs = (row.split("\t") for row in rows if "\t" in row)
    return {ord(pair[0]): pair[1].split(" ")[0] for pair in pairs if len(pair[0]) == 1}
