"""Can an entity be shown in a picture? Evidence without a model, or the verdict of a judge.

Enters: ENTITIES. Leaves for each a share in [0, 1] and what speaks for it. The evidence is added up as log odds: a lead or
infobox image, coordinates, the class of the infobox, words of categories and description, Wikidata's classes where they are
known, and what a text encoder says of the title, where one is used. Weights are ours; each was chosen so that one
strong sign (an image) outweighs one weak sign against it (a category named "theory"), and two do not.
Z-Image (arXiv 2511.22699, section 2.3) asks a VLM; `judge` is where one comes in, and whoever decided is on the row.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph import visual_words as words
from graph.hypernyms import singular

Floats = NDArray[np.float32]
Row = Mapping[str, object]

BEFORE = -0.7
"""Log odds before any evidence: of the titles that articles link to, about a third can be shown."""

IMAGE, COORDINATES = 2.2, 1.6
TITLE, TITLE_AGAINST = 1.2, -1.5
INFOBOX, INFOBOX_AGAINST = 1.6, -2.0
CATEGORY, CATEGORY_AGAINST, MOST_CATEGORIES = 0.8, -0.9, 2
DESCRIPTION, DESCRIPTION_AGAINST = 1.2, -1.5
CLASS, CLASS_AGAINST = 3.0, -5.0
TEXT_SCALE, TEXT_LIMIT = 12.0, 2.0

NEVER = ("disambiguation", "list", "date")
"""Kinds of ENTITIES that are no things."""


@dataclass(frozen=True)
class Verdict:
    """Whether an entity can be shown, in [0, 1]; why, in a phrase; and who said so."""

    visual: float
    reason: str
    judge: str = "evidence"


Judge = Callable[[Sequence[Row]], Sequence[Verdict | None]]
"""Asks a model about rows of ENTITIES; None where it gave no usable answer."""

Encode = Callable[[Sequence[str]], Floats]
"""Texts to unit vectors, (n, d)."""


class TextAxis:
    """The direction from abstract words to visual ones in an encoder's space, from the two lists of graph/visual_words.py.

    A title's margin is its place along that line, 0 in the middle. Frames such as "a photo of X" separate far less with a
    sentence encoder, which hears the same X in every frame.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        visual, abstract = (encode(sorted(side)).mean(axis=0) for side in (words.VISUAL, words.ABSTRACT))
        self._direction = (visual - abstract) / max(float(np.linalg.norm(visual - abstract)), 1e-6)
        self._middle = float((visual + abstract) @ self._direction / 2)

    def margins(self, titles: Sequence[str]) -> list[float]:
        """Return the place of every title along the axis."""
        return [float(place) for place in self._encode(titles) @ self._direction - self._middle]


def visual_evidence(
    entities: pa.Table, *, classes: Mapping[str, Sequence[str]] | None = None, axis: "TextAxis | None" = None
) -> list[Verdict]:
    """Return a verdict for every row of ENTITIES by the evidence alone.

    classes: Wikidata's P31 by item, e.g. {"Q90": ["Q515"]}. axis: what a text encoder adds to it; English titles only.
    """
    rows = entities.to_pylist()
    margins = axis.margins([str(row["title"]) for row in rows]) if axis else [0.0] * len(rows)
    known = classes or {}
    return [_verdict(row, known.get(str(row["wikidata"]), ()), margin) for row, margin in zip(rows, margins, strict=True)]


def visual_verdicts(entities: pa.Table, verdicts: Sequence[Verdict], judge: Judge) -> list[Verdict]:
    """Return the judge's verdicts on the things among ENTITIES, and the evidence's where it gave none or was not asked."""
    rows = entities.to_pylist()
    asked = [place for place, row in enumerate(rows) if row["kind"] not in NEVER]
    found = list(verdicts)
    for place, verdict in zip(asked, judge([rows[place] for place in asked]), strict=True):
        if verdict is not None and math.isfinite(verdict.visual):
            found[place] = verdict
    return found


def _verdict(row: Row, classes: Sequence[str], margin: float) -> Verdict:
    if row["kind"] in NEVER:
        return Verdict(0.0, f"{row['kind']} page")
    signs = [*_signs(row), *_class_signs(classes)]
    if margin:
        signs.append((float(np.clip(TEXT_SCALE * margin, -TEXT_LIMIT, TEXT_LIMIT)), f"text margin {margin:+.2f}"))
    odds = BEFORE + sum(weight for weight, _ in signs)
    return Verdict(1 / (1 + math.exp(-odds)), "; ".join(reason for _, reason in signs) or "no evidence")


def _signs(row: Row) -> Iterable[tuple[float, str]]:
    """Yield what an entity's page says, as log odds and a phrase."""
    if row["image"]:
        yield IMAGE, "image"
    if row["coordinates"]:
        yield COORDINATES, "coordinates"
    yield from _sign("title", _head_noun(str(row["title"])), words.VISUAL, words.ABSTRACT, TITLE, TITLE_AGAINST, 1)
    infobox = str(row["infobox"] or "")
    yield from _sign("infobox", [infobox], words.VISUAL_INFOBOX, words.ABSTRACT_INFOBOX, INFOBOX, INFOBOX_AGAINST, 1)
    categories = row["categories"] or ()
    assert isinstance(categories, Sequence)
    yield from _sign("category", categories, words.VISUAL, words.ABSTRACT, CATEGORY, CATEGORY_AGAINST, MOST_CATEGORIES)
    said = [str(row["description"] or row["lead"] or "")]
    yield from _sign("description", said, words.VISUAL, words.ABSTRACT, DESCRIPTION, DESCRIPTION_AGAINST, 1)


def _sign(
    what: str, texts: Sequence[str], shown: frozenset[str], talked: frozenset[str], good: float, bad: float, most: int
) -> Iterable[tuple[float, str]]:
    found = [(_first(text, shown, words.VISUAL_CHINESE), _first(text, talked, words.ABSTRACT_CHINESE)) for text in texts]
    visual, abstract = ([word for word in side if word] for side in zip(*found, strict=True)) if found else ([], [])
    if visual:
        yield good * min(len(visual), most), f"{what}: {', '.join(sorted(set(visual))[:3])}"
    if abstract:
        yield bad * min(len(abstract), most), f"but {what}: {', '.join(sorted(set(abstract))[:3])}"


def _class_signs(classes: Sequence[str]) -> Iterable[tuple[float, str]]:
    for item in classes:
        if item in words.ABSTRACT_CLASSES:
            yield CLASS_AGAINST, f"but class: {words.ABSTRACT_CLASSES[item]}"
        elif item in words.VISUAL_CLASSES:
            yield CLASS, f"class: {words.VISUAL_CLASSES[item]}"


_WORD = re.compile(r"[^\W\d_]+")
_ASIDE = re.compile(r"\b(?:in|of|from|by|at|for|with|that|which|on)\b")
_QUALIFIER = re.compile(r"[(\uff08]([^()\uff08\uff09]+)[)\uff09]$")


def _head_noun(title: str) -> list[str]:
    """Return the last word of a title's head, or of its qualifier, which says what the title is."""
    qualified = _QUALIFIER.search(title.strip())
    return _WORD.findall(_ASIDE.split(qualified[1] if qualified else title, maxsplit=1)[0])[-1:]


def _first(text: str, known: frozenset[str], chinese: Sequence[str]) -> str | None:
    """Return the last English word of a text's head that is `known` (the head noun comes last), or a Chinese one."""
    head = _ASIDE.split(text, maxsplit=1)[0] or text
    heads = [singular(word) for word in _WORD.findall(head.lower())]
    found = next((word for word in reversed(heads) if word in known), None)
    return found or next((word for word in chinese if word in text), None)
