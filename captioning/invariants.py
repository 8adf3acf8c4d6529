"""What a request for a picture fixes: its texts, numbers, colours and names; and whether a longer prompt still says so.

An enhanced prompt may add, never change. What can be checked by its letters is: quotations word by word, numbers as digits or
as words, colours by name, names as they are spelt.
"""

import functools
import json
import re
from importlib.resources import files
from typing import NamedTuple

from captioning.names import LETTER, WORD
from captioning.quotations import quotations, unquoted

SAYS = re.compile(
    r"\b(?:that (?:says|reads)|which (?:says|reads)|saying|reading|with the (?:words?|text|title|caption|slogan)|titled|entitled|"
    r"labell?ed|the text)\s*:?\s+(?P<en>[^\s\"“].{0,80}?)(?=[,.;]|\s+(?:in|on|at|above|below|under|with|written|by|over)\b|$)"
    r"|(?:写着|写有|写上|标题(?:为|是)|文字(?:为|是)|题为)[：:]?\s*(?P<zh>[^“\"「，。；\s][^“\"「，。；]{0,40}?)(?=[，。；]|的|$)",
    re.IGNORECASE,
)
"""Texts that a request asks for without quotation marks."""
NUMBERS = {
    "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12",
    "一": "1", "二": "2", "两": "2", "三": "3", "四": "4", "五": "5", "六": "6", "七": "7", "八": "8", "九": "9", "十": "10",
}  # fmt: skip
MEASURE = "[只个条张位名头匹辆本朵棵座件把颗艘杯碗块片双对群排株枚]"
BASIC = (
    *("black", "white", "grey", "gray", "red", "green", "blue", "yellow", "orange", "purple", "violet", "pink", "brown", "cyan"),
    *("turquoise", "beige", "cream", "gold", "golden", "silver", "teal", "magenta", "maroon", "navy", "crimson", "scarlet"),
)
CHINESE_COLOUR = re.compile(
    "[深浅暗亮淡粉天墨翠橙紫红黄绿蓝青白黑灰金银棕褐米]{1,3}色|[红黄绿蓝白黑紫粉灰金银](?=[衣裙花车墙门伞帽猫狗马鸟底字发])"
)


NAME = re.compile(rf"(?<![{LETTER}])[A-Z][\w'’-]*(?:\s+(?:of|the|de|van|von|da)\s+[A-Z][\w'’-]*|\s+[A-Z][\w'’-]*)*")


class Fixed(NamedTuple):
    """What must survive: texts letter by letter, numbers as digits, colours and names as written."""

    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    colours: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def all(self) -> list[str]:
        """Return everything as one list, texts in quotation marks."""
        return [*(f'"{text}"' for text in self.texts), *self.numbers, *self.colours, *self.names]


def fixed(request: str) -> Fixed:
    """Return what a request fixes; a text that it asks for without quotation marks counts like a quoted one."""
    texts = [quotation.words for quotation in quotations(request)]
    outside = unquoted(request)
    said = [(match["en"] or match["zh"]).strip() for match in SAYS.finditer(outside)]
    texts += [text for text in said if text and "…" not in text]
    for text in said:
        outside = outside.replace(text, " ", 1) if "…" not in text else outside
    return Fixed(
        tuple(dict.fromkeys(texts)),
        tuple(dict.fromkeys(counted(outside))),
        tuple(dict.fromkeys(colours(outside))),
        tuple(dict.fromkeys(_names(outside))),
    )


def numbers(text: str) -> list[str]:
    """Return the numbers of a text as digits: figures, English number words, Chinese numerals before a measure word."""
    found = re.findall(r"\d+(?:[.,:]\d+)*", text)
    found += [NUMBERS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in NUMBERS]
    found += [NUMBERS[sign] for sign in re.findall(f"([一二两三四五六七八九十]){MEASURE}", text)]
    return found


def counted(text: str) -> list[str]:
    """Return the numbers that a request fixes: a spelt "one" is an article as often as a number, and is left out."""
    spelt = [number for number in numbers(re.sub(r"\d", " ", text)) if number != "1"]
    return [*re.findall(r"\d+(?:[.,:]\d+)*", text), *spelt]


def colours(text: str) -> list[str]:
    """Return the colours that a text names, in English lower case or in Chinese."""
    lower = text.lower()
    known = sorted({*BASIC, *_families()}, key=len, reverse=True)
    found = []
    for name in known:
        if re.search(rf"(?<![a-z-]){re.escape(name)}(?![a-z-])", lower):
            found.append(name)
            lower = lower.replace(name, " ")
    return found + [match.group() for match in CHINESE_COLOUR.finditer(text)]


def lost(request: Fixed, prompt: str) -> list[str]:
    """Return what a prompt changed, one line each; none: everything fixed is still there."""
    quoted = {quotation.words for quotation in quotations(prompt, request.texts)}
    lower, said = prompt.lower(), set(numbers(prompt))
    wrong = [f"the text {text!r} is not quoted letter by letter" for text in request.texts if text not in quoted]
    wrong += [f"the number {number} is gone" for number in request.numbers if number not in said and not _in_words(number, lower)]
    wrong += [f"the colour {colour} is gone" for colour in request.colours if colour.rstrip("色") not in lower]
    return wrong + [f"the name {name} is gone" for name in request.names if name.lower() not in lower]


def _in_words(number: str, lower: str) -> bool:
    """Tell whether a number is spelt as a word."""
    return any(re.search(rf"(?<![a-z]){word}(?![a-z])", lower) for word, digits in NUMBERS.items() if digits == number)


def _names(outside: str) -> list[str]:
    """Return capitalised words inside sentences, joined where they follow one another, and Chinese titles."""
    found = re.findall(r"《([^《》]+)》", outside)
    for run in NAME.finditer(outside):
        words = WORD.findall(run.group())
        first = run.start() == 0 or outside[: run.start()].rstrip()[-1:] in (".", "!", "?", "…", ":")
        if len(words) > 1 or (not first and words and len(words[0]) > 1):
            found.append(
                run.group()
                if not first or (len(words) > 1 and words[0].lower() not in ("a", "an", "the"))
                else " ".join(words[1:])
            )
    return [name for name in found if name]


@functools.cache
def _families() -> frozenset[str]:
    table = json.loads((files("captioning") / "data" / "colours.json").read_text(encoding="utf-8"))
    return frozenset(table["families"])
