"""Names in a caption: people, places, works and brands may only be named when the evidence names them.

A vision-language model likes to recognise faces and landmarks, and is often wrong. So a word that English writes with a
capital inside a sentence must occur in the picture's text, in the source's words, in a linked entity or a label, or be one of
the words that English always writes so (data/proper_words.txt). In Chinese, which has no capitals, foreign names have a
middle dot, works stand in title marks, and people follow their office; Latin words there obey the same rule as in English.
A single name at the beginning of a sentence cannot be told from any other word, and passes.
"""

import re
from collections.abc import Iterable

from captioning.english_nouns import is_proper

LETTER = "A-Za-z\u00c0-\u024f"
WORD = re.compile(rf"(?<![{LETTER}\d])[{LETTER}](?:[{LETTER}\d'’&.-]*[{LETTER}\d])?")
SENTENCE_START = re.compile(r"(?:^|[.!?:;…]|[\"“”(\[]|\s[-–—])\s*$")
CHINESE_NAMES = re.compile(
    r"[\u4e00-\u9fa5]{1,6}[·•][\u4e00-\u9fa5]{1,8}(?:[·•][\u4e00-\u9fa5]{1,8})*"
    r"|《([^《》]{1,40})》"
    r"|(?:名叫|名为|叫做|演员|歌手|总统|主席|明星|导演|作家|科学家|画家|诗人|皇帝)([\u4e00-\u9fa5]{2,3})(?=[，。、在的和与正站坐]|$)"
)


def evidence_words(texts: Iterable[str]) -> set[str]:
    """Return the words of the evidence, case folded, with their parts at hyphens and without a possessive."""
    found: set[str] = set()
    for text in texts:
        for word in WORD.findall(text):
            plain = _plain(word)
            found |= {plain, *plain.split("-")}
    return found


def unknown_names(outside: str, *, known: set[str], evidence: str, tags: bool = False) -> list[str]:
    """Return the names that a caption gives and the evidence does not.

    outside: the caption without its quotations. known: `evidence_words`; evidence: all of the evidence's text.
    tags: the caption is a list, where each item begins like a sentence.
    """
    found = [name for name in _capitalised(outside, tags=tags) if not _is_known(name, known)]
    for match in CHINESE_NAMES.finditer(outside):
        name = match[1] or match[2] or match[0]
        if name not in evidence and not any(name.endswith(end) for end in ("正在", "站在", "坐在", "们在")):
            found.append(name)
    return list(dict.fromkeys(found))


def _capitalised(text: str, *, tags: bool) -> list[str]:
    """Return words with a capital that do not begin a sentence, or an item of a list."""
    found = []
    for match in WORD.finditer(text):
        before = text[: match.start()]
        starts = SENTENCE_START.search(before) is not None or (tags and re.search(r"[,，;、]\s*$", before) is not None)
        # In Chinese a Latin word begins no sentence: it is a name wherever it stands.
        if len(match[0]) > 1 and match[0][0].isupper() and not (starts and not re.search(r"[\u4e00-\u9fa5]", text)):
            found.append(match[0])
    return found


def _is_known(word: str, known: set[str]) -> bool:
    plain = _plain(word)
    if (
        plain in known
        or is_proper(plain)
        or (len(plain) > 3 and plain.endswith("s") and (plain[:-1] in known or is_proper(plain[:-1])))
    ):
        return True
    return "-" in plain and all(part in known or is_proper(part) or not part for part in plain.split("-")[:1])


def _plain(word: str) -> str:
    return re.sub(r"['’]s?$", "", word).strip(".").casefold()
