"""Linked entities of one image, fit to be spoken of: MENTIONS enter, names and descriptions leave.

A link is a guess with a probability, so an entity is spoken of only above a score, as something that the text mentions and
never as something that the picture shows. A person is named as the source spells the name, not as an encyclopedia does: the
link from "Einstein" to Albert Einstein is knowledge, but that this picture means him is not in evidence.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from captioning.outside import INJECTION, cleaned

SPOKEN_SOURCES = ("metadata", "caption", "ocr", "tag")
PERSON = re.compile(
    r"\bborn\b|\b\d{3,4}\s?[\u2013-]\s?(\d{3,4}|present)\b|\bperson\b|\b(actor|actress|singer|musician|composer|painter|poet|writer|"
    r"novelist|philosopher|physicist|chemist|mathematician|scientist|politician|president|king|queen|emperor|general|athlete|"
    r"footballer|player|architect|photographer|director|model|rapper|journalist|inventor|sculptor|calligrapher|monarch|saint)s?\b",
    re.IGNORECASE,
)
"""Descriptions of people: a false alarm only means that the source's own spelling is used."""


class Entity(NamedTuple):
    """An entity of the knowledge base that the image's text or labels mention."""

    title: str
    title_zh: str  # "" when there is no Chinese article
    description: str  # one phrase in English, "" when unknown
    score: float
    source: str  # where it is mentioned: metadata, caption, ocr or tag
    text: str  # the span as written

    @property
    def is_person(self) -> bool:
        """Tell whether the description is that of a human being."""
        return bool(PERSON.search(self.description))

    @property
    def value(self) -> str:
        """Return what stands in the evidence: the entity, its score and where it was mentioned."""
        return f"{self.title} {self.score:.2f} ({self.source}: {self.text})"


def entities(mentions: Iterable[Mapping[str, Any]], *, min_score: float, limit: int) -> tuple[Entity, ...]:
    """Return the entities of at least min_score, each once by its best mention, best first, at most `limit`."""
    sure = [
        mention
        for mention in mentions
        if mention["source"] in SPOKEN_SOURCES and (mention["title"] or "").strip() and (mention["score"] or 0.0) >= min_score
    ]
    best: dict[int, Mapping[str, Any]] = {}
    for mention in sorted(sure, key=_order):
        best.setdefault(mention["entity"], mention)
    return tuple(_entity(mention) for mention in list(best.values())[:limit])


def _order(mention: Mapping[str, Any]) -> tuple[float, int, str, str]:
    return -mention["score"], SPOKEN_SOURCES.index(mention["source"]), str(mention["title"]), str(mention["text"])


def _entity(mention: Mapping[str, Any]) -> Entity:
    title, chinese, text = (cleaned(mention[name] or "", 120) for name in ("title", "title_zh", "text"))
    described = cleaned(mention["description"] or "", 400)
    if INJECTION.search(described):  # a stranger's text too
        described = ""
    return Entity(title, chinese, described, float(mention["score"]), mention["source"], text or title)
