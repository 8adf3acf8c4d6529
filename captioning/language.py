"""The language of one line of text, by script first and by statistics only where the script leaves a choice.

Letters of a script that one language owns decide at once: kana is Japanese, Hangul Korean, Thai Thai; Han without kana is
Chinese. Latin, Cyrillic, Arabic and Hebrew letters are shared, and there py3langid decides among the languages of the script.
It is wrong on short text ("OPEN 24 HOURS" is Nigerian Pidgin to it), so its answer counts only for three words and twelve letters
at least and a probability of MIN_PROBABILITY at least. Below that the rule is: the script's default language (Latin: "en" for
plain ASCII letters, "und" once there is an accented letter). Text without letters is "und".
"""

import functools
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

UNDETERMINED = "und"
"""ISO 639-2 code of text whose language cannot be told."""
MIN_WORDS, MIN_LETTERS, MIN_PROBABILITY = 3, 12, 0.6
IDEOGRAPH_WEIGHT = 2
"""Latin letters that one Han, kana or Hangul character counts for: a word has about four letters, or two characters."""

SCRIPTS: dict[str, re.Pattern[str]] = {
    "han": re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u3005\u3007]"),
    "kana": re.compile("[\u3041-\u3096\u30a1-\u30fa\u30fc\uff66-\uff9d]"),
    "hangul": re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]"),
    "latin": re.compile("[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a]"),
    "cyrillic": re.compile("[\u0400-\u052f]"),
    "greek": re.compile("[\u0370-\u03ff\u1f00-\u1fff]"),
    "arabic": re.compile("[\u0620-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff]"),
    "hebrew": re.compile("[\u05d0-\u05ea]"),
    "thai": re.compile("[\u0e01-\u0e5b]"),
    "devanagari": re.compile("[\u0904-\u097f]"),
}
ACCENTED = re.compile("[\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]")
OWN_LANGUAGE = {"han": "zh", "kana": "ja", "hangul": "ko", "greek": "el", "thai": "th"}
SHARED: dict[str, tuple[str, tuple[str, ...]]] = {
    "latin": (
        "en",
        ("en", "fr", "de", "es", "it", "pt", "nl", "pl", "cs", "da", "sv", "no", "fi", "hu", "ro", "tr", "vi", "id", "ca", "la"),
    ),
    "cyrillic": ("ru", ("ru", "uk", "bg", "be", "sr", "mk", "kk")),
    "arabic": ("ar", ("ar", "fa", "ur")),
    "hebrew": ("he", ("he",)),
    "devanagari": ("hi", ("hi", "mr", "ne")),
}
"""Script -> its default language and the languages to choose from."""


def language(text: str) -> str:
    """Return the ISO 639-1 code of the language of `text`, or "und"; the rule is in the module's docstring."""
    counts = script_counts(text)
    if not counts:
        return UNDETERMINED
    script = max(counts, key=lambda name: counts[name])
    if script in ("han", "kana"):
        return "ja" if "kana" in counts else "zh"
    if script in OWN_LANGUAGE:
        return OWN_LANGUAGE[script]
    return _among(text, script)


def script_counts(text: str) -> dict[str, int]:
    """Return the letters of each script that occurs in `text`; ideographs and syllables count double."""
    composed = unicodedata.normalize("NFC", text)
    found = {name: len(pattern.findall(composed)) for name, pattern in SCRIPTS.items()}
    return {
        name: count * (IDEOGRAPH_WEIGHT if name in ("han", "kana", "hangul") else 1) for name, count in found.items() if count
    }


def _among(text: str, script: str) -> str:
    """Return the language of a text in a script that several languages share."""
    default, candidates = SHARED[script]
    letters = sum(character.isalpha() for character in text)
    if len(candidates) > 1 and len(text.split()) >= MIN_WORDS and letters >= MIN_LETTERS:
        name, probability = _identifier(script).classify(text)
        if probability >= MIN_PROBABILITY:
            return str(name)
    if script == "latin" and ACCENTED.search(unicodedata.normalize("NFC", text)):
        return UNDETERMINED
    return default


@functools.cache
def _identifier(script: str) -> "LanguageIdentifier":
    """Return the classifier restricted to the languages of one script; loaded once per process (0.3 s)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(SHARED[script][1])
    return identifier
