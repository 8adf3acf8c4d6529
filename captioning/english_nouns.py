"""How English sentences name things: articles of nouns, and names and descriptions of linked entities."""

import re
from functools import cache
from importlib.resources import files

from captioning.clauses import shortened
from captioning.spoken_entities import Entity

MAX_DESCRIPTION_WORDS = 14
MASS_NOUNS = frozenset(
    (
        *("broccoli", "carbonara", "chain mail", "chocolate sauce", "consomme", "corn", "dough", "guacamole", "hay"),
        *("ice cream", "mashed potato", "rapeseed", "red wine", "toilet tissue", "velvet", "wool"),
    )
)
"""ImageNet labels that take no article."""
DEFINITE_HEADS = frozenset(
    "festival museum river sea ocean mountains islands alps dynasty empire republic union games war revolution renaissance "
    "league peninsula desert canal strait gulf orchestra philharmonic parliament senate bible quran internet academy "
    "institute observatory library".split()
)
"""Last words of proper names that take the definite article: the British Museum, the Lantern Festival."""
UNIQUE = re.compile(
    r"^(capital|largest|smallest|highest|longest|oldest|first|last|most|only|second|third|main|study|act|art)\b", re.I
)


def with_article(label: str) -> str:
    """Return an English noun with a or an where it takes one: 'an hourglass', 'a unicorn', 'sunglasses', 'hay'."""
    head = label.lower()
    if head in MASS_NOUNS or re.search(r"[^siu]s$", head):
        return label
    vowel = re.match(r"(?!uni(?!n)|use|usu|uk|eu|one\b|once)[aeiou]|hour|hono|heir", head)
    return f"{'an' if vowel else 'a'} {label}"


def without_article(text: str) -> str:
    """Return a phrase without the article it begins with."""
    return re.sub(r"^(a|an|the)\s+", "", text, flags=re.IGNORECASE)


def english_name(entity: Entity) -> str:
    """Return how an English sentence names the entity: 'the Lantern Festival', 'tea ceremony', or a person as written."""
    if entity.is_person:
        return entity.text
    title = re.sub(r"\s*\([^)]*\)$", "", entity.title)  # Mercury (planet)
    words = title.split()
    if not words or not title.isascii():
        return title
    capitals = [word for word in words[1:] if word[:1].isupper()]
    if len(words) > 1 and not capitals and not is_proper(words[0]) and words[0][1:].islower():
        return title[0].lower() + title[1:]
    if len(words) == 1 and entity.text.islower() and entity.text.lower() == title.lower():
        return title.lower()
    definite = words[-1].lower() in DEFINITE_HEADS or (len(words) > 2 and "of" in words[1:-1] and words[0] not in ("University",))
    return f"the {title}" if capitals and definite else title


def english_description(entity: Entity) -> str:
    """Return the description as an apposition, 'a traditional Chinese festival'; "" when there is none."""
    text = shortened(re.sub(r"\s*\([^)]*\)", "", entity.description), MAX_DESCRIPTION_WORDS).rstrip(" .,;:")
    if not text:
        return ""
    first = text.split()[0]
    text = text if is_proper(first) or not first[1:].islower() else text[0].lower() + text[1:]
    if re.match(r"(a|an|the|one|any|several|some|his|her|its)\b", text, re.IGNORECASE):
        return text[0].lower() + text[1:]
    if UNIQUE.match(text):
        return f"the {text}"
    head = re.split(r"\s+(?:of|in|on|by|from|for|with|that|which|used|made|held|celebrated|at|to|near)\b|,", text)[0]
    return text if with_article(head) == head else f"{with_article(head).split(' ', 1)[0]} {text}"


def is_proper(word: str) -> bool:
    """Tell whether a capitalised word is a proper adjective or name that every text may hold: Chinese, Monday, Gothic."""
    bare = word.strip(".,;:").lower()
    return bare in proper_words() or bare.split("-")[0] in proper_words()


@cache
def proper_words() -> frozenset[str]:
    """Return words that are written with a capital and name no person, place of business or work: data/proper_words.txt."""
    text = (files("captioning") / "data" / "proper_words.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())
