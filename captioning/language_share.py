"""Is a caption written in the language that was asked for? Shares of words by script, and small words where scripts agree.

What stands in quotation marks and what the evidence says in its own language is taken out before. A Han character counts half
a word. English and French share a script: there the small words tell, which every sentence has.
"""

import re

from captioning.language import SCRIPTS

MIN_SHARE = {"en": 0.9, "zh": 0.6}
"""Least share of words in the language asked for; Chinese takes in more Latin words (units, names) than English does Han."""
MIN_JUDGED_WORDS = 4
LETTERS_PER_WORD = 4
NAMES = {"en": "English", "zh": "Chinese"}
LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+(?:['\u2019-][A-Za-z\u00c0-\u024f]+)*")
ENGLISH = frozenset(
    "the a an of in on with and is are at to its from by for it has this there while against near under over".split()
)
OTHER = frozenset(
    (
        *("le la les des une du dans avec sur et est un".split()),  # French
        *("der die das ein eine und mit auf ist im den dem".split()),  # German
        *("el los las una con en del y il lo gli di che e per".split()),  # Spanish, Italian
        *("o os um uma com na no de het een met van op het".split()),  # Portuguese, Dutch
    )
)


def wrong_language(own: str, language: str) -> str | None:
    """Return what is wrong with the language of a caption's own words, or None."""
    counts = {script: len(pattern.findall(own)) for script, pattern in SCRIPTS.items()}
    han, kana, latin = counts.pop("han"), counts.pop("kana"), len(LATIN_WORD.findall(own))
    del counts["latin"]
    if language == "zh" and kana > 0.1 * (han + kana):
        return "is Japanese, not Chinese"
    mine = han / 2 if language == "zh" else latin
    total = (han + kana) / 2 + latin + sum(counts.values()) / LETTERS_PER_WORD
    share = mine / total if total else 1.0
    few = total < MIN_JUDGED_WORDS and mine
    if (share < MIN_SHARE.get(language, 0.0) and not few) or (language == "en" and is_foreign(own)):
        return f"is not written in {NAMES.get(language, language)} (share of words {share:.2f})"
    return None


def is_foreign(own: str) -> bool:
    """Tell whether six or more Latin words hold the small words of another language and hardly those of English."""
    words = LATIN_WORD.findall(own.lower())
    others, english = (sum(word in listed for word in words) for listed in (OTHER, ENGLISH))
    return len(words) >= 6 and others >= 3 and others > 2 * english
