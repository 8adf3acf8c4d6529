"""What the beginning of an article says of it: its first sentence, a short description, a picture, an infobox, coordinates.

The lead is found by our own scan; mwparserfromhell reads its first paragraph alone, which is the only place where wikitext has to
become faultless prose.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import mwparserfromhell

from captioning.prose import Region
from captioning.site import FILE, Site
from captioning.wikitext import Link, plain

MAX_PARAGRAPH_CHARACTERS = 4000
MAX_SENTENCE_CHARACTERS = 600
MAX_DESCRIPTION_CHARACTERS = 150
MAX_LEAD_LINES = 200
"""Lines of the lead among which its first paragraph is looked for."""

_SHORT = re.compile(r"\{\{\s*short[ _]description\s*\|\s*(?:1\s*=\s*)?([^{}|\n]{1,300})", re.IGNORECASE)
_INFOBOX = re.compile(
    r"\{\{\s*((?:infobox|taxobox|automatic taxobox|speciesbox|geobox|drugbox|chembox)\b[^{}|<>\n]{0,80}"
    r"|[^{}|<>\n]{1,60}[ _]infobox"
    r"|[^{}|<>\n]{0,30}(?:信息框|資訊框|инфокутия)[^{}|<>\n]{0,30})",
    re.IGNORECASE,
)
_PICTURE = re.compile(
    r"\|\s*(?:image|image[ _]?(?:name|file|1)|img|photo|picture|cover|logo|flag|image[ _]skyline|图像|圖像|图片|圖片|картинка)"
    r"[ \t]*=[ \t]*([^\n|{}]{3,300})",
    re.IGNORECASE,
)
_FILE_NAME = re.compile(r"^[^\[\]{}<>|\n/]{1,240}\.(?:jpe?g|png|svg|gif|webp|tiff?|xcf)$", re.IGNORECASE)
_COORDINATES = re.compile(
    r"\{\{\s*(?:coord|coor)\b|\|\s*(?:coordinates|lat_?d|latd|lat_deg|latitude)\s*=\s*[^\s|}]", re.IGNORECASE
)
_NOT_PROSE = re.compile(r"\s*(?:[*#:;|!{}<>\[]|__|----|$)(?!\[)")
_PARENTHESES = re.compile(r"\s*[(（][^()（）]*[)）]")
_SENTENCE_END = re.compile(
    r"(?<![A-Z.])(?<!\b[A-Za-z])(?<!\bSt)(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bca)(?<!\bvs)(?<!\bNo)(?<!\bJr)[.!?][\"')\]]*(?=\s+[^a-z\s]|$)|[。！？]"
)
_PREDICATE = re.compile(
    r"\b(?:is|are|was|were|refers to|denotes)\s+(?:an?|the|one of the|any of the|any|a kind of|a type of)\s+(.+)", re.IGNORECASE
)
_PREDICATE_ZH = re.compile(r"(?:是指|是|指|為|为)(?:一[种種个個位座项項只隻部家本]|某[种種])?的?([^，。；,;]{2,60})")
_TAIL = re.compile(r"[;:]|,? (?:which|that|who|whose|where|when|and is|used (?:to|for|in))\b|, (?=[a-z]+ing\b)|[，。；]")


class Lead(NamedTuple):
    """What an article's beginning says; None where it says nothing."""

    sentence: str | None
    description: str | None
    image: str | None
    infobox: str | None
    coordinates: bool


def read_lead(text: str, lead: str, found: Sequence[Link], hidden: Sequence[Region], site: Site) -> Lead:
    """Return the lead's facts; `text` is the visible wikitext, `lead` what `prose.lead_wikitext` makes of it."""
    sentence = first_sentence(lead)
    short = _SHORT.search(text[:20_000])
    given = plain(short[1]) if short else ""
    given = "" if given.lower() == "none" else given
    infobox = _INFOBOX.search(text)
    return Lead(
        sentence,
        given or (predicate(sentence) if sentence else None),
        _image(text, infobox, found, hidden, site),
        plain(infobox[1].replace("_", " ")) if infobox else None,
        bool(_COORDINATES.search(text)),
    )


def first_sentence(lead: str) -> str | None:
    """Return the first sentence of a lead's wikitext as plain text, None when it has no prose."""
    for line in lead.split("\n", MAX_LEAD_LINES)[:MAX_LEAD_LINES]:
        if _NOT_PROSE.match(line):
            continue
        text = _stripped(line[:MAX_PARAGRAPH_CHARACTERS])
        if sum(character.isalpha() for character in text) >= 3:
            end = _SENTENCE_END.search(text)
            return text[: end.end() if end else len(text)][:MAX_SENTENCE_CHARACTERS]
    return None


def _stripped(line: str) -> str:
    code = mwparserfromhell.parse(line, skip_style_tags=True)
    text = plain(str(code.strip_code(normalize=True, collapse=True)))
    return (
        re.sub(r"\(\s*[,;]?\s*\)|（\s*）", "", re.sub(r"\(\s*[,;]\s*", "(", text)).replace(" ,", ",").replace("  ", " ").strip()
    )


def predicate(sentence: str) -> str | None:
    """Return what a first sentence says its subject is: "small carnivorous mammal" of "A cat is a small carnivorous mammal."""
    bare = _PARENTHESES.sub("", sentence)
    found = _PREDICATE.search(bare) or _PREDICATE_ZH.search(bare)
    if not found:
        return None
    head = _TAIL.split(found[1], maxsplit=1)[0].strip(" ,，.")
    return head[:MAX_DESCRIPTION_CHARACTERS] or None


def _image(text: str, infobox: re.Match[str] | None, found: Sequence[Link], hidden: Sequence[Region], site: Site) -> str | None:
    """Return the file of the infobox, or the first one before the first heading."""
    if infobox:
        region = next((region for region in hidden if region.start <= infobox.start() < region.end), None)
        inside = text[infobox.start() : region.end if region else infobox.start() + 5000]
        for picture in _PICTURE.finditer(inside):
            name = _file_name(picture[1], site)
            if name:
                return name
    heading = text.find("\n==")
    for link in sorted(found, key=lambda link: link.start):
        if heading >= 0 and link.start > heading:
            return None
        if link.namespace == FILE and not link.colon and _FILE_NAME.match(link.title):
            return link.title
    return None


def _file_name(written: str, site: Site) -> str | None:
    name = plain(written).strip("[] ").partition("|")[0]
    target = site.target(name)
    if target is None:
        return None
    return target.title if target.namespace in (FILE, 0) and _FILE_NAME.match(target.title) else None
