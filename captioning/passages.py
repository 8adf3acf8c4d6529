"""The texts of one image in which entities may be named, the most trusted first.

What the source wrote of the picture (its metadata, then its caption) is worth more than what OCR read, and that more than what
a tagger saw. Metadata is full of names that are none of the picture's business (licences, hosts, cameras), so only keys that
hold words about it are read.
"""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from captioning.evidence import Row, source_captions

SOURCES = ("metadata", "caption", "ocr", "tag")
"""Where a text comes from, the most trusted first."""
METADATA_KEYS = (
    "title", "headline", "name", "subject", "keywords", "tags", "location", "city", "country", "event", "artist", "author",
    "description", "caption_abstract",
)  # fmt: skip
MAX_CHARACTERS, MAX_PASSAGES = 2000, 200


class Passage(NamedTuple):
    """One text, and where it stands: the metadata key, the caption's language, the number of the line or of the tag."""

    source: str
    field: str
    text: str


def passages(
    *,
    image: Row,
    tags: Row,
    ocr: Row,
    watermarks: Sequence[str] = (),
    metadata_keys: Sequence[str] = METADATA_KEYS,
    min_line_confidence: float = 0.8,
) -> list[Passage]:
    """Return the texts of one image from its rows of IMAGES, TAGS and OCR, most trusted first; long ones are cut.

    watermarks: lines that say whose the picture is and not what it shows; they are left out.
    """
    found = [
        *_metadata(image, metadata_keys),
        *(Passage("caption", language, text) for language, text in source_captions(image).items()),
        *(
            Passage("ocr", str(number), line["text"] or "")
            for number, line in enumerate(ocr.get("lines") or [])
            if (line["confidence"] or 0.0) >= min_line_confidence and line["text"] not in watermarks
        ),
        *(Passage("tag", str(number), tag["label"] or "") for number, tag in enumerate(tags.get("tags") or [])),
    ]
    known: set[str] = set()
    kept = []
    for passage in found:
        text = passage.text[:MAX_CHARACTERS]
        if text.strip() and text not in known:
            known.add(text)
            kept.append(passage._replace(text=text))
    return kept[:MAX_PASSAGES]


def _metadata(image: Row, keys: Sequence[str]) -> Iterator[Passage]:
    about = json.loads(image.get("metadata") or "{}")
    for key in keys if isinstance(about, dict) else ():
        value = about.get(key)
        if isinstance(value, str):
            yield Passage("metadata", key, value)
        elif isinstance(value, list):
            yield from (Passage("metadata", f"{key}.{n}", text) for n, text in enumerate(value) if isinstance(text, str))
