"""The report's examples: which rows to show, their thumbnails, and what was measured of them.

Each function reads a complete run's tables and returns plain values for the page, or nothing when its tables are not there
yet. Only the columns and rows that are shown are read, except where one column is needed to choose them. What is chosen
is a function of the tables alone, so two reports of one run are equal.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup
from PIL import Image

from curation.charts import polygons
from curation.decisions import decisions
from curation.pixels import read_pixels
from curation.schema import CAPTION_LANGUAGES, CAPTION_LEVELS
from curation.tables import Run

Exhibit = dict[str, Any]
"""What the template shows of one example, by name."""


def thumbnails(run: Run, rows: Iterable[int], *, side_px: int, max_total_bytes: int) -> dict[int, str]:
    """Return data URIs of the images at global `rows`, at most `side_px` long; those beyond the budget are left out.

    Small pictures stay PNG, because a JPEG of 32 px shows its blocks and not the picture.
    """
    order = list(dict.fromkeys(int(row) for row in rows))
    found: dict[int, str] = {}
    left = max_total_bytes
    for row, decoded in zip(order, read_pixels(run.take("images", np.array(order)), max_side_px=side_px), strict=True):
        if decoded is None:
            continue
        uri = data_uri(decoded.pixels)
        left -= len(uri)
        if left < 0:
            break
        found[row] = uri
    return found


def data_uri(pixels: np.ndarray) -> str:
    """Return uint8 (H, W, 3) sRGB pixels as a PNG or JPEG data URI."""
    kind = "png" if max(pixels.shape[:2]) <= 96 else "jpeg"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind.upper(), quality=80)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def text_lines(run: Run, *, num_examples: int = 8, max_parts: int = 40) -> list[Exhibit]:
    """Return the images with the most text lines, one of each group of copies, with the outlines of their lines."""
    lines: dict[int, list[dict[str, Any]]] = {}
    for part, start in enumerate(run.offsets("ocr")[:-1][:max_parts]):
        column = run.read_part("ocr", part, ["lines"])["lines"].to_pylist()
        lines |= {int(start) + position: row for position, row in enumerate(column) if row}
    originals = _originals(run, lines)
    best = sorted(originals, key=lambda row: (-len(lines[row]), row))[: max(0, num_examples - 2)]
    best += [row for row in sorted(originals, key=lambda row: -len(_languages(lines[row]))) if row not in best]
    chosen = best[:num_examples]
    pictures = thumbnails(run, chosen, side_px=420, max_total_bytes=1_200_000)
    known = described(run, chosen)
    return [
        known[row]
        | {"row": row, "picture": pictures.get(row), "lines": lines[row], "outlines": _outlines(lines[row], known[row])}
        for row in chosen
    ]


def captioned(run: Run, *, num_examples: int = 8) -> list[Exhibit]:
    """Return images spread over the sub-collections, with every caption by level and language."""
    rows = _spread(run, num_examples)
    pictures = thumbnails(run, rows, side_px=260, max_total_bytes=800_000)
    known = described(run, rows)
    captions = run.take("captions", np.array(rows, dtype=np.int64), ["captions"])["captions"].to_pylist()
    return [
        known[row] | {"picture": pictures.get(row), "levels": by_level(found or [])}
        for row, found in zip(rows, captions, strict=True)
    ]


def described(run: Run, rows: Sequence[int]) -> dict[int, Exhibit]:
    """Return id, key, group, size and format of the images at global `rows`."""
    columns = ["id", "key", "group", "width", "height", "format"]
    table = run.take("images", np.array(list(rows), dtype=np.int64), columns)
    return {int(row): values for row, values in zip(rows, table.to_pylist(), strict=True)}


def _originals(run: Run, rows: Iterable[int]) -> list[int]:
    """Return those rows that are no copies; all of them when duplicates were not sought."""
    listed = sorted(rows)
    if not run.has("duplicates"):
        return listed
    keepers = run.take("duplicates", np.array(listed, dtype=np.int64), ["keeper"])["keeper"].to_pylist()
    return [row for row, keeper in zip(listed, keepers, strict=True) if keeper is None]


def _languages(lines: Iterable[dict[str, Any]]) -> set[str]:
    return {line["language"] for line in lines}


def _outlines(lines: Sequence[dict[str, Any]], image: Exhibit) -> Markup:
    return polygons([line["polygon"] or [] for line in lines], width_px=image["width"], height_px=image["height"])


def _spread(run: Run, num: int) -> list[int]:
    """Return up to `num` kept rows that have captions: round and round the groups, evenly spaced inside each."""
    counts = pc.list_value_length(run.read("captions", ["captions"])["captions"]).fill_null(0).to_numpy()
    groups = np.array(run.read("images", ["group"])["group"].to_pylist(), dtype=object)
    kept = decisions(run)["keep"].to_numpy() if run.has("selection") else np.ones(len(groups), dtype=bool)
    with_captions = np.flatnonzero((counts > 0) & kept)
    members = {str(group): with_captions[groups[with_captions] == group] for group in sorted(set(groups[with_captions]))}
    rounds = -(-num // max(1, len(members)))
    picked = [rows[turn * len(rows) // rounds] for turn in range(rounds) for rows in members.values() if turn < len(rows)]
    return [int(row) for row in dict.fromkeys(picked)][:num]


def by_level(captions: Iterable[dict[str, Any]]) -> list[Exhibit]:
    """Return one row per level: its captions in the known languages, in order, then those in any other."""
    listed = list(captions)
    rows: list[Exhibit] = []
    for level in CAPTION_LEVELS:
        here = [caption for caption in listed if caption["level"] == level]
        if level == "source" or any(caption["language"] not in CAPTION_LANGUAGES for caption in here):
            rows += [{"level": level, "wide": caption} for caption in here]
        elif here:
            by_language = {caption["language"]: caption for caption in here}
            rows.append({"level": level, "cells": [by_language.get(language) for language in CAPTION_LANGUAGES]})
    return rows
