"""Captions of edited pictures from what is measured in them, and the facts of an image of the run for difference captions."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from captioning.evidence import Facts, gather
from captioning.facts import SPOKEN, caption, chinese_labels
from captioning.instructions import standing
from curation.edits import State
from curation.metrics import measure
from curation.picture import ANALYSED_SIDE_PX, Picture, resized
from curation.schema import IMAGES, OCR, TAGS
from curation.text_lines import Pixels

LANGUAGES = ("en", "zh")


def describe(
    pictures: Sequence[Pixels],
    *,
    states: Sequence[State],
    lines: Sequence[Sequence[Mapping[str, Any]]],
    tags: Sequence[Mapping[str, Any]] = (),
    source: Mapping[str, Any] | None = None,
    level: str = "medium",
) -> list[dict[str, str]]:
    """Return the caption of each picture in English and Chinese.

    states: what was put into each picture. lines: the text lines read in each. tags: labels of the base. source: `caption` and
    `metadata` of the base's row in IMAGES, for pictures that still show what they speak of.
    """
    about = source or {"caption": None, "metadata": None}
    rows = [
        {field.name: None for field in IMAGES}
        | {"id": f"{number:032x}", "width": picture.shape[1], "height": picture.shape[0], **about}
        for number, picture in enumerate(pictures)
    ]
    ids = [row["id"] for row in rows]
    tables = {
        "images": pa.Table.from_pylist(rows, schema=pa.schema([IMAGES.field(name).with_nullable(True) for name in IMAGES.names])),
        "metrics": pa.Table.from_pylist([spoken_metrics(picture) for picture in pictures]),
        "tags": pa.Table.from_pylist([{"id": one, "tags": list(tags), "error": None} for one in ids], schema=TAGS),
        "ocr": pa.Table.from_pylist(
            [{"id": one, "lines": list(read), "error": None} for one, read in zip(ids, lines, strict=True)], schema=OCR
        ),
    }
    written = caption(**tables, languages=LANGUAGES, levels=(level,))
    return [
        _with_standing(texts_of(row, level=level), state, (picture.shape[1], picture.shape[0]))
        for row, state, picture in zip(written["captions"].to_pylist(), states, pictures, strict=True)
    ]


def texts_of(captions: Sequence[Mapping[str, Any]] | None, *, level: str) -> dict[str, str]:
    """Return the captions of one level by language; "" for one that is missing."""
    found = {one["language"]: one["text"] for one in captions or () if one["level"] == level and one["text"]}
    return {language: found.get(language, "") for language in LANGUAGES}


def written_by_model(captions: Sequence[Mapping[str, Any]] | None, *, level: str) -> dict[str, str]:
    """Return the captions of one level that a model wrote, by language; "" where facts or nobody did."""
    return texts_of([one for one in captions or () if one["backend"] not in ("facts", "source")], level=level)


def facts_of(
    image: Mapping[str, Any],
    metrics: Mapping[str, Any],
    tags: Mapping[str, Any],
    ocr: Mapping[str, Any],
    *,
    min_tag_score: float = 0.7,
) -> Facts:
    """Return the facts of one image of the run from its rows."""
    return gather(
        image=image,
        metrics=metrics,
        tags=tags,
        ocr=ocr,
        chinese_labels=chinese_labels(),
        min_tag_score=min_tag_score,
        max_tags=3,
        min_line_confidence=0.8,
        min_colour_share=0.08,
    )


def spoken_metrics(pixels: Pixels) -> dict[str, Any]:
    """Return the metrics that captions speak of, measured as METRICS are."""
    picture = Picture(resized(pixels, ANALYSED_SIDE_PX, enlarge=False), pixels.shape[1], pixels.shape[0], size_bytes=pixels.size)
    measured = measure(picture)
    return {name: measured[name] for name in SPOKEN if name in measured}


def _with_standing(texts: dict[str, str], state: State, size_px: tuple[int, int]) -> dict[str, str]:
    """Return captions that also name the stickers and holes of a state."""
    said = standing(state, size_px)
    return {
        "en": " ".join([texts["en"], *(english for english, _ in said)]),
        "zh": "".join([texts["zh"], *(chinese for _, chinese in said)]),
    }
