"""Captions composed from measured facts, the default captioner: it needs no model and says nothing that nothing measured.

IMAGES, METRICS, TAGS and OCR enter, CAPTIONS leaves: five levels in English and Chinese for every kept image, each clause with
its evidence, and the source's own captions verbatim as the level `source`. The texts have `backend` "facts", so that nobody
takes them for the work of a vision-language model; captioning/english.py and chinese.py hold the wording.
"""

import functools
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import pyarrow as pa

from captioning import chinese, english
from captioning.clauses import render
from captioning.evidence import INJECTION, Facts, Row, gather, source_captions
from curation.errors import ConfigError
from curation.schema import CAPTIONS, conform

BACKEND = "facts"
WRITERS = {"en": english.LEVELS, "zh": chinese.LEVELS}
LEVELS = ("tags", "short", "medium", "long", "prompt")
SPOKEN = ("width_px", "height_px", "flatness", "noise", "is_grayscale", "brightness", "dominant_colours")
"""The columns of METRICS that captions speak of."""
Caption = dict[str, Any]  # one CAPTION struct


def caption(
    *,
    images: pa.Table,
    metrics: pa.Table,
    tags: pa.Table,
    ocr: pa.Table,
    selection: pa.Table | None = None,
    languages: Sequence[str] = ("en", "zh"),
    levels: Sequence[str] = LEVELS,
    min_tag_score: float = 0.7,
    max_tags: int = 3,
    min_line_confidence: float = 0.8,
    min_colour_share: float = 0.08,
) -> pa.Table:
    """Return CAPTIONS for one part; the tables are aligned with IMAGES row by row.

    selection: rows that it does not keep get an empty list; None captions every row that has no error.
    min_tag_score: labels below are not spoken of; a classifier's label is no fact without a high cut.
    min_line_confidence: text lines below stay in OCR but are not quoted.
    min_colour_share: colour families below this share of the picture are not named.

    Raises ConfigError for an unknown language or level.
    """
    _check(languages, WRITERS, "language")
    _check(levels, LEVELS, "level")
    images_rows = images.select(["id", "width", "height", "caption", "metadata", "error"]).to_pylist()
    metrics_rows = metrics.select([name for name in SPOKEN if name in metrics.column_names]).to_pylist()
    tags_rows, ocr_rows = tags.select(["tags"]).to_pylist(), ocr.select(["lines"]).to_pylist()
    kept = [True] * len(images_rows) if selection is None else selection["keep"].to_pylist()
    captions: list[list[Caption]] = []
    errors: list[str | None] = []
    for image, measured, labels, lines, keep in zip(images_rows, metrics_rows, tags_rows, ocr_rows, kept, strict=True):
        written: list[Caption] = []
        error = image["error"]
        if keep and error is None:
            try:
                facts = gather(
                    image=image,
                    metrics=measured,
                    tags=labels,
                    ocr=lines,
                    chinese_labels=chinese_labels(),
                    min_tag_score=min_tag_score,
                    max_tags=max_tags,
                    min_line_confidence=min_line_confidence,
                    min_colour_share=min_colour_share,
                )
                written = originals(image) + compose(facts, languages=languages, levels=levels)
            except Exception as failure:  # the per-image boundary: one odd row must not lose the part
                error = f"{type(failure).__name__}: {failure}"[:200]
        captions.append(written)
        errors.append(error)
    columns = {
        "id": images["id"],
        "captions": pa.array(captions, CAPTIONS.field("captions").type),
        "usage": pa.nulls(images.num_rows, CAPTIONS.field("usage").type),
    }
    return conform(pa.table(columns | {"error": pa.array(errors, pa.string())}), CAPTIONS)


def compose(facts: Facts, *, languages: Sequence[str], levels: Sequence[str]) -> list[Caption]:
    """Return the captions of one image, language by level."""
    captions = []
    for language in languages:
        for level in levels:
            text, evidence = render(WRITERS[language][level](facts))
            spoken = {row["source"] for row in evidence}
            flags = [flag for flag in facts.flags if ("caption" if flag.startswith("source") else "ocr") in spoken]
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


def _check(asked: Sequence[str], known: Sequence[str] | dict[str, Any], what: str) -> None:
    for name in asked:
        if name not in known:
            raise ConfigError(f"{name!r} is no caption {what}; known are {', '.join(known)}")
