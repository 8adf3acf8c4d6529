"""What is known of one image, gathered from its rows of IMAGES, METRICS, TAGS, OCR, WATERMARKS and MENTIONS into one Facts.

Only what was measured gets in, each with the number that says so. Text that comes from outside (a picture's words, the
source's caption) is data: control and format characters are taken out, its length is capped, and text that reads like an
order to a language model is flagged; it is still quoted as what it is, and nothing here obeys it.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from captioning.colours import colour_name
from captioning.language import UNDETERMINED, language
from captioning.marks import parted
from captioning.outside import INJECTION, cleaned
from captioning.spoken_entities import Entity, entities

Medium = Literal["photograph", "graphic", "image"]
Row = Mapping[str, Any]  # one row of an Arrow table as Python values

MAX_LINE_CHARACTERS, MAX_LINES, MAX_SOURCE_CHARACTERS = 200, 60, 600
MAX_MARKS = 3
CAMERA_NOISE = 0.4
DARK_BELOW, BRIGHT_ABOVE = 0.2, 0.8
"""METRICS.brightness beyond which captions speak of the light."""
ONE_SOFTMAX = "imagenet:"
"""Beginning of the source of tags whose scores come from one softmax (curation/tags.py)."""


class Colour(NamedTuple):
    """A family of dominant colours: its names, its largest member and the family's share of the picture."""

    en: str
    zh: str
    hex: str
    share: float


class Subject(NamedTuple):
    """A label the tagger is sure of; zh is the label itself where no Chinese is known.

    implied: a coarser name of another subject ("cat" beside "Egyptian cat"), for lists of tags but not for sentences.
    """

    en: str
    zh: str
    score: float
    implied: bool = False


class Quote(NamedTuple):
    """A text line fit to be quoted; place is a cell of the 3x3 grid such as 'top left'; size is its height over the image's."""

    text: str
    place: str
    size: float
    language: str


@dataclass(frozen=True)
class Facts:
    """Everything captions are made of, for one image."""

    id: str
    width_px: int
    height_px: int
    medium: Medium
    flatness: float | None
    grayscale: bool
    brightness: float | None
    colours: tuple[Colour, ...]
    subjects: tuple[Subject, ...]
    quotes: tuple[Quote, ...]
    sources: Mapping[str, str]  # language -> the source's own words, cleaned
    flags: tuple[str, ...]
    entities: tuple[Entity, ...] = ()
    marks: tuple[Quote, ...] = ()  # lines that are watermarks of the source; not among the quotes

    def foreign_words(self, spoken: str) -> str:
        """Return the source's words in another language than `spoken`, where it has none in that; else ""."""
        return "" if spoken in self.sources else next(iter(self.sources.values()), "")

    def reported_words(self, spoken: str) -> str:
        """Return the source's words that cannot simply be said: in another language, or like an order; else ""."""
        return (self.sources.get(spoken, "") if self.is_suspect else "") or self.foreign_words(spoken)

    @property
    def told_entities(self) -> list[Entity]:
        """Return the entities that sentences name: those of labels say nothing more than the label."""
        return [entity for entity in self.entities if entity.source != "tag"]

    @property
    def is_suspect(self) -> bool:
        """Tell whether the source's words read like an order to a language model."""
        return "source_injection_suspect" in self.flags

    def light(self) -> Literal["dark", "bright"] | None:
        """Return what the whole picture is when its brightness is worth a word."""
        if self.brightness is None or DARK_BELOW <= self.brightness <= BRIGHT_ABOVE:
            return None
        return "dark" if self.brightness < DARK_BELOW else "bright"


def gather(
    *,
    image: Row,
    metrics: Row,
    tags: Row,
    ocr: Row,
    chinese_labels: Mapping[str, str],
    min_tag_score: float,
    max_tags: int,
    min_line_confidence: float,
    min_colour_share: float,
    mentions: Sequence[Row] = (),
    min_mention_score: float = 1.0,
    max_entities: int = 0,
    watermarks: Sequence[str] = (),
) -> Facts:
    """Return the facts of one image from its rows; a missing measurement leaves its fact out.

    watermarks: texts of lines that are the source's mark and not the picture's text.
    """
    lines = ocr.get("lines") or []
    quotes, marks = (
        quotable(kind, image["width"], image["height"], min_confidence=min_line_confidence) for kind in parted(lines, watermarks)
    )
    originals = source_captions(image)
    flags = []
    # Together as well as one by one: an order may run over two lines.
    spoken = [*(line["text"] or "" for line in lines), " ".join(quote.text for quote in quotes)]
    if any(INJECTION.search(text) for text in spoken):
        flags.append("ocr_injection_suspect")
    if any(INJECTION.search(text) for text in originals.values()):
        flags.append("source_injection_suspect")
    if len(quotes) > MAX_LINES or any(len(line["text"] or "") > MAX_LINE_CHARACTERS for line in lines):
        flags.append("ocr_cut")
    if any(len(text) > MAX_SOURCE_CHARACTERS for text in originals.values()):
        flags.append("source_cut")
    sources = {name: cleaned(text, MAX_SOURCE_CHARACTERS) for name, text in originals.items()}
    return Facts(
        id=image["id"],
        width_px=image["width"],
        height_px=image["height"],
        medium=medium(metrics.get("flatness"), metrics.get("noise"), image),
        flatness=metrics.get("flatness"),
        grayscale=bool(metrics.get("is_grayscale")),
        brightness=metrics.get("brightness"),
        colours=colour_families(
            metrics.get("dominant_colours") or [],
            grayscale=bool(metrics.get("is_grayscale")),
            min_share=min_colour_share,
        ),
        subjects=subjects(tags.get("tags") or [], chinese_labels, min_score=min_tag_score, limit=max_tags),
        quotes=quotes[:MAX_LINES],
        sources={name: text for name, text in sources.items() if text},
        flags=tuple(flags),
        entities=entities(mentions, min_score=min_mention_score, limit=max_entities),
        marks=marks[:MAX_MARKS],
    )


def medium(flatness: float | None, noise: float | None, image: Row) -> Medium:
    """Tell photographs from flat graphics by measured colour statistics; 'image' where they do not decide.

    A graphic has more than half its pixels in two of 32 grey bins and no noise; a photograph has less and the noise of a
    camera (0.4 levels: on scikit-image's and scikit-learn's photographs the least was 0.49, on rendered posters 0.25 the
    most). Nothing is said of pictures below 96 px, where enlarged or shrunken photographs and drawings measure alike.
    """
    if flatness is None or noise is None or min(image["width"], image["height"]) < 96:
        return "image"
    if flatness > 0.5 and noise < CAMERA_NOISE:
        return "graphic"
    return "photograph" if flatness < 0.5 and noise >= CAMERA_NOISE else "image"


def colour_families(colours: Sequence[Row], *, grayscale: bool, min_share: float) -> tuple[Colour, ...]:
    """Return the colour families that make up at least min_share of the picture, largest first; only greys of a grey picture."""
    families: dict[str, Colour] = {}
    for colour in sorted(colours, key=lambda each: (-each["share"], each["hex"])):
        name = colour_name(colour["hex"], grayscale=grayscale)
        known = families.get(name.en, Colour(name.en, name.zh, colour["hex"], 0.0))
        families[name.en] = known._replace(share=known.share + colour["share"])
    large = [family for family in families.values() if family.share >= min_share]
    return tuple(sorted(large, key=lambda family: (-family.share, family.hex)))


def subjects(tags: Sequence[Row], chinese: Mapping[str, str], *, min_score: float, limit: int) -> tuple[Subject, ...]:
    """Return the labels of at least min_score: those that sentences name first, each kind best first.

    The tagger writes a label and the sums over groups it belongs to, all of one softmax. Above one half they can only mean
    the same thing, and the lowest score is the most particular name; the others are implied by it.
    """
    sure = [tag for tag in tags if (tag["label"] or "").strip() and tag["score"] is not None and tag["score"] >= min_score]
    particular: dict[str, Row] = {}
    for tag in sorted(sure, key=lambda tag: (-tag["score"], tag["label"])):
        particular[tag["source"] if str(tag["source"]).startswith(ONE_SOFTMAX) else tag["label"]] = tag
    named = list(particular.values())
    found = [
        Subject(tag["label"], chinese.get(tag["label"], tag["label"]), tag["score"], implied=tag not in named) for tag in sure
    ]
    return tuple(sorted(found, key=lambda subject: (subject.implied, -subject.score, subject.en))[:limit])


def quotable(lines: Sequence[Row], width_px: int, height_px: int, *, min_confidence: float) -> tuple[Quote, ...]:
    """Return the lines worth quoting, in reading order: surely read, two characters or more, not just punctuation."""
    quotes = []
    for line in lines:
        text = cleaned(line["text"] or "", MAX_LINE_CHARACTERS)
        if (line["confidence"] or 0.0) < min_confidence or len(text) < 2 or not any(c.isalnum() for c in text):
            continue
        corners = list(zip(line["polygon"][::2], line["polygon"][1::2], strict=True))
        quotes.append(Quote(text, place(corners, width_px, height_px), _height(corners) / height_px, line["language"]))
    return tuple(quotes)


def place(corners: Sequence[tuple[float, float]], width_px: int, height_px: int) -> str:
    """Return where a line stands: 'top', 'centre' or 'bottom', with 'left' or 'right' unless it spans half the width."""
    across, down = ([corner[axis] for corner in corners] for axis in (0, 1))
    row = _third(sum(down) / len(down) / height_px, ("top", "centre", "bottom"))
    wide = max(across) - min(across) > 0.5 * width_px
    column = "" if wide else _third(sum(across) / len(across) / width_px, ("left", "", "right"))
    return " ".join(word for word in ("" if row == "centre" and column else row, column) if word)


def source_captions(image: Row) -> dict[str, str]:
    """Return the source's captions by language, verbatim: IMAGES.caption, and `caption_<language>` of the metadata."""
    captions = {}
    if (image.get("caption") or "").strip():
        captions[language(image["caption"])] = image["caption"]
    about = json.loads(image.get("metadata") or "{}")
    for key, text in about.items() if isinstance(about, dict) else ():
        tagged = re.fullmatch(r"caption_([a-z]{2})", key)
        if tagged and isinstance(text, str) and text.strip():
            captions.setdefault(tagged[1], text)
    if UNDETERMINED in captions and len(captions) == 1 and captions[UNDETERMINED].isascii():
        return {"en": captions[UNDETERMINED]}
    return captions


def _height(corners: Sequence[tuple[float, float]]) -> float:
    """Return the height of the line's letters: the shorter of its two mean edge lengths, px."""
    edges = [math.dist(corner, ahead) for corner, ahead in zip(corners, [*corners[1:], corners[0]], strict=True)]
    return min((edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2)


def _third(position: float, names: tuple[str, str, str]) -> str:
    return names[0] if position < 1 / 3 else names[2] if position > 2 / 3 else names[1]
