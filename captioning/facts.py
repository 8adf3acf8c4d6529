"""Captions composed from measured facts, the default captioner: it needs no model and says nothing that nothing measured.

IMAGES, METRICS, TAGS, OCR and, where there is a knowledge base, MENTIONS enter, CAPTIONS leaves: five levels in English and
Chinese for every kept image, each clause with its evidence, and the source's own captions verbatim as the level `source`. The
texts have `backend` "facts", so that nobody takes them for the work of a vision-language model; captioning/english.py and
chinese.py hold the wording.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pyarrow as pa

from captioning import chinese, english
from captioning.clauses import render
from captioning.evidence import Facts, Row, gather, source_captions
from captioning.outside import INJECTION
from curation.errors import ConfigError
from curation.schema import CAPTIONS, conform

BACKEND = "facts"
WRITERS = {"en": english.LEVELS, "zh": chinese.LEVELS}
LEVELS = ("tags", "short", "medium", "long", "prompt")
SPOKEN = ("width_px", "height_px", "flatness", "noise", "is_grayscale", "brightness", "dominant_colours")
"""The columns of METRICS that captions speak of."""
Caption = dict[str, Any]  # one CAPTION struct


@dataclass(frozen=True)
class Known:
    """A row of IMAGES on its way to captions: its facts where it is to be captioned, else why it has none."""

    image: Row
    facts: Facts | None
    error: str | None = None


def caption(
    *,
    images: pa.Table,
    languages: Sequence[str] = ("en", "zh"),
    levels: Sequence[str] = LEVELS,
    **gathering: Any,
) -> pa.Table:
    """Return CAPTIONS for one part.

    gathering: the other tables and limits, as `gather_rows` takes them. Raises ConfigError for an unknown language or level.
    """
    check_asked(languages, levels)
    found = []
    for known in gather_rows(images=images, **gathering):
        written = [] if known.facts is None else compose(known.facts, languages=languages, levels=levels)
        found.append((originals(known.image) + written if written else [], None, known.error))
    return table_of(images, found)


def gather_rows(
    *,
    images: pa.Table,
    metrics: pa.Table,
    tags: pa.Table,
    ocr: pa.Table,
    selection: pa.Table | None = None,
    mentions: pa.Table | None = None,
    watermarks: pa.Table | None = None,
    min_tag_score: float = 0.7,
    max_tags: int = 3,
    min_line_confidence: float = 0.8,
    min_colour_share: float = 0.08,
    min_mention_score: float = 0.8,
    max_entities: int = 3,
) -> list[Known]:
    """Return what is known of every row of one part; the tables are aligned with IMAGES row by row.

    selection: rows that it does not keep have no facts; None keeps every row that has no error.
    mentions: linked entities; None: there is no knowledge base.
    watermarks: lines that belong to the source and not to the picture; None: all lines are the picture's.
    min_tag_score: labels below are not spoken of; a classifier's label is no fact without a high cut.
    min_line_confidence: text lines below stay in OCR but are not quoted.
    min_colour_share: colour families below this share of the picture are not named.
    min_mention_score, max_entities: links below are not spoken of, and so many at most.
    """
    limits = {
        "chinese_labels": chinese_labels(),
        "min_tag_score": min_tag_score,
        "max_tags": max_tags,
        "min_line_confidence": min_line_confidence,
        "min_colour_share": min_colour_share,
        "min_mention_score": min_mention_score,
        "max_entities": max_entities,
    }
    kept = [True] * images.num_rows if selection is None else selection["keep"].to_pylist()
    rows = zip(
        images.select(["id", "width", "height", "caption", "metadata", "error"]).to_pylist(),
        metrics.select([name for name in SPOKEN if name in metrics.column_names]).to_pylist(),
        tags.select(["tags"]).to_pylist(),
        ocr.select(["lines"]).to_pylist(),
        [None] * images.num_rows if mentions is None else mentions["mentions"].to_pylist(),
        [None] * images.num_rows if watermarks is None else watermarks["texts"].to_pylist(),
        kept,
        strict=True,
    )
    return [
        _known(image, keep, metrics=measured, tags=labels, ocr=lines, mentions=linked or (), watermarks=marks or (), **limits)
        for image, measured, labels, lines, linked, marks, keep in rows
    ]


def _known(image: Row, keep: bool, **gathering: Any) -> Known:
    if not keep or image["error"] is not None:
        return Known(image, None, image["error"])
    try:
        return Known(image, gather(image=image, **gathering))
    except Exception as failure:  # the per-image boundary: one odd row must not lose the part
        return Known(image, None, f"{type(failure).__name__}: {failure}"[:200])


def table_of(images: pa.Table, found: Sequence[tuple[list[Caption], Row | None, str | None]]) -> pa.Table:
    """Return CAPTIONS for the rows of `images` from their captions, usage and error."""
    captions, usage, errors = zip(*found, strict=True) if found else ((), (), ())
    columns = {
        "id": images["id"],
        "captions": pa.array(captions, CAPTIONS.field("captions").type),
        "usage": pa.array(usage, CAPTIONS.field("usage").type),
        "error": pa.array(errors, pa.string()),
    }
    return conform(pa.table(columns), CAPTIONS)


def compose(facts: Facts, *, languages: Sequence[str], levels: Sequence[str]) -> list[Caption]:
    """Return the captions of one image, language by level."""
    captions = []
    for language in languages:
        for level in levels:
            text, evidence = render(WRITERS[language][level](facts))
            spoken = {row["source"] for row in evidence}
            flags = [
                flag for flag in facts.flags if spoken & ({"caption"} if flag.startswith("source") else {"ocr", "watermark"})
            ]
            if "caption" in spoken and language not in facts.sources:
                flags.append("mixed_language")
            captions.append(
                {
                    "language": language,
                    "level": level,
                    "text": text,
                    "backend": BACKEND,
                    "evidence": evidence,
                    "flags": flags,
                    "model": None,
                    "prompt": None,
                }
            )
    return captions


def originals(image: Row) -> list[Caption]:
    """Return the source's captions verbatim as captions of level `source`."""
    return [
        {
            "language": language,
            "level": "source",
            "text": text,
            "backend": "source",
            "evidence": [{"clause": text, "source": "caption", "value": text}],
            "flags": ["source_injection_suspect"] if INJECTION.search(text) else [],
            "model": None,
            "prompt": None,
        }
        for language, text in source_captions(image).items()
    ]


@functools.cache
def chinese_labels() -> dict[str, str]:
    """Return Chinese names of English ImageNet labels; labels that are missing stay English."""
    path = files("curation") / "data" / "imagenet_zh.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def check_asked(languages: Sequence[str], levels: Sequence[str]) -> None:
    """Raise ConfigError for a language or level that captions are not written in."""
    for asked, known, what in ((languages, tuple(WRITERS), "language"), (levels, LEVELS, "level")):
        for name in asked:
            if name not in known:
                raise ConfigError(f"{name!r} is no caption {what}; known are {', '.join(known)}")
