"""Words for rendered posters: short English and Chinese texts that no model has seen together, drawn at random.

English words are ours; Chinese words are the phrases of OpenCC's dictionary that are written in the 3,755 characters of GB 2312's
first level, so every word is common enough to be in a font and in a recogniser's alphabet.
"""

from functools import cache
from importlib.resources import files

import numpy as np

ENGLISH = """
harbour garden museum railway summer winter morning evening market river mountain forest island village library theatre
concert festival painting kitchen bakery coffee orange lemon ginger pepper butter bread honey candle lantern mirror
window bridge tower castle station airport ticket journey captain sailor painter teacher student doctor farmer singer
dancer poet writer engine bicycle tractor balloon rocket planet comet thunder rainbow snow breeze sunrise sunset weekend
holiday birthday wedding workshop lecture exhibition auction marathon tournament championship picnic parade camping
fishing sailing skating cycling climbing knitting pottery weaving carpentry photography astronomy chemistry geometry
history fashion jewelry leather cotton velvet silver copper marble granite bamboo willow cherry walnut almond chestnut
sparrow falcon dolphin turtle rabbit squirrel tiger elephant penguin free open new old grand little golden quiet bright
fresh famous local annual weekly special limited final first second third great royal northern southern eastern western
welcome discover explore celebrate enjoy visit join taste learn build bring meet save order call today tomorrow tonight
Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April October December street avenue
square corner gallery studio cinema stadium school college hospital hotel restaurant terrace cellar courtyard
""".split()
SMALL = ("the", "and", "of", "for", "at", "in", "with", "by", "from", "to")


def english(generator: np.random.Generator, num_words: int) -> str:
    """Return `num_words` words, at times in title case or capitals, with little words, times and prices among them."""
    words = [str(generator.choice(ENGLISH)) for _ in range(num_words)]
    for place in range(1, num_words - 1):
        if generator.random() < 0.25:
            words[place] = str(generator.choice(SMALL))
    if num_words > 2 and generator.random() < 0.25:
        words[-1] = number(generator)
    style = generator.integers(4)
    text = " ".join(words)
    return text.upper() if style == 0 else text.title() if style == 1 else text[0].upper() + text[1:]


def chinese(generator: np.random.Generator, num_characters: int) -> str:
    """Return words of two to four characters, `num_characters` in all."""
    text = ""
    while len(text) < num_characters:
        text += str(generator.choice(_phrases()))
    return text[:num_characters]


def mixed(generator: np.random.Generator) -> str:
    """Return a line of both scripts."""
    word, phrase = english(generator, 1), chinese(generator, int(generator.integers(3, 7)))
    return f"{word} {phrase}" if generator.random() < 0.5 else f"{phrase} {word}"


def number(generator: np.random.Generator) -> str:
    """Return a time, a price, a year or a percentage."""
    hour, minute, amount = generator.integers(24), generator.integers(60), generator.integers(2, 99)
    return str(generator.choice([f"{hour}:{minute:02d}", f"${amount}.50", str(1900 + amount), f"{amount}%"]))


@cache
def _phrases() -> tuple[str, ...]:
    lines = (files("opencc") / "dictionary" / "STPhrases.txt").read_text(encoding="utf-8").splitlines()
    phrases = (line.split("\t")[0] for line in lines)
    return tuple(phrase for phrase in phrases if 2 <= len(phrase) <= 4 and all(map(_common, phrase)))


def _common(character: str) -> bool:
    try:
        encoded = character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return len(encoded) == 2 and 0xB0 <= encoded[0] <= 0xD7
