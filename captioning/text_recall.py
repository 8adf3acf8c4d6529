"""How much of the text in a picture its caption holds: recall by the rule of LongText-Bench.

Only U+4E00-9FA5, a-z, A-Z, French accented letters and white space count. Chinese is compared by characters, everything else
by lower-case words; a match is the multiset intersection, so order does not matter and further text is not punished.

X-Omni (Geng et al. 2025, arXiv 2507.22058), LongText-Bench, as described there; written anew.
"""

import re
from collections import Counter
from collections.abc import Iterable

IGNORED = re.compile("[^\u4e00-\u9fa5a-zA-Z0-9àâäéèêëîïôöùûüÿçÀÂÄÉÈÊËÎÏÔÖÙÛÜŸÇ\\s]")
HAN = re.compile("[\u4e00-\u9fa5]")


def units(text: str) -> Counter[str]:
    """Return the words of `text` in lower case and its Han characters, with how often each occurs."""
    kept = IGNORED.sub(" ", text)
    return Counter([*HAN.findall(kept), *HAN.sub(" ", kept).lower().split()])


def text_recall(lines: Iterable[str], caption: str) -> float:
    """Return the share of the lines' words and characters that the caption holds, 1 when there are none."""
    wanted: Counter[str] = Counter()
    for line in lines:
        wanted += units(line)
    total = wanted.total()
    return (wanted & units(caption)).total() / total if total else 1.0


def unsaid(lines: Iterable[str], caption: str) -> list[str]:
    """Return the lines that the caption does not hold whole, as its own words in any order, each occurrence counted once."""
    left = units(caption)
    missing = []
    for line in lines:
        wanted = units(line)
        if wanted - left:
            missing.append(line)
        else:
            left -= wanted
    return missing
