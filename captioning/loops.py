"""Loops: text that repeats itself, the way in which generation most often goes wrong.

Three signs, each with its own measure: a run of one character or of white space; a phrase of a few words that follows itself
again and again; and long text that compresses far below what prose does, which finds loops with variations.
"""

import re
import zlib

MAX_RUN = 12
"""Equal characters in a row; a dotted line in a menu is a quotation and not looked at."""
MAX_SPACES = 8
MAX_PERIODS = 3
"""Times that a phrase may follow itself: "very, very, very" is still a writer."""
MIN_BYTES, MIN_RATIO = 240, 0.22
"""zlib (level 9) makes prose of 240 bytes and more .4 to .8 of its size, and loops of it .05 to .2."""


def loop(text: str) -> str | None:
    """Return what repeats in `text`, in a few words, or None."""
    if run := re.search(rf"([^\W\d_]|[^\w\s])\1{{{MAX_RUN - 1},}}|\d?(\d)\2{{{2 * MAX_RUN},}}", text):
        return f"{run.group()[:3]!r} {len(run.group())} times in a row"
    if spaces := re.search(rf"\s{{{MAX_SPACES},}}", text):
        return f"{len(spaces.group())} spaces or line breaks in a row"
    if repeated := phrase_loop(text):
        return repeated
    encoded = text.encode(errors="surrogatepass")
    ratio = len(zlib.compress(encoded, 9)) / max(1, len(encoded))
    return f"compresses to {ratio:.2f} of its size" if len(encoded) >= MIN_BYTES and ratio < MIN_RATIO else None


def phrase_loop(text: str, *, longest: int = 24) -> str | None:
    """Return the phrase that follows itself more than MAX_PERIODS times, or None; words, or single Han and kana characters."""
    words = re.findall(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+", text.lower())
    for period in range(1, min(longest, len(words) // (MAX_PERIODS + 1)) + 1):
        same = 0
        for i in range(period, len(words)):
            same = same + 1 if words[i] == words[i - period] else 0
            # A single character may be doubled in Chinese words; a phrase of one needs a longer run.
            if same >= period * MAX_PERIODS + (2 if period == 1 else 0):
                phrase = " ".join(words[i - period + 1 : i + 1])
                return f"{phrase[:40]!r} more than {MAX_PERIODS} times in a row"
    return None
