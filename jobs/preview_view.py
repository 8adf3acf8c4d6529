"""A preview of captions as a table for the terminal and as one HTML page."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation.cards import page, write_page
from curation.charts import polygons
from curation.exhibits import by_level, thumbnails
from curation.report import shown
from curation.tables import Run
from jobs.config import read_config
from jobs.dry_run import duration
from jobs.preview import Preview, estimate, preview, reasons

MAX_PICTURE_BYTES = 12_000_000


def look(run: Run, *, config: Path | None, number: int, html: Path | None, as_json: bool) -> None:
    """Caption a sample and print it; `config` is the YAML to try, by default the one the run was made with."""
    settings = read_config(config or run.root / "config.yaml", {"out": str(run.root)})
    found = preview(run, settings, number)
    if html is not None:
        write_page(html, preview_page(run, found))
    if as_json:
        print(json.dumps(plain(found), indent=1, ensure_ascii=False))
        return
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(_table(found))
    for line in summary(found):
        console.print(line, highlight=False, markup=False)
    if html is not None:
        print(f"page: {html}")


def plain(found: Preview) -> dict[str, Any]:
    """Return a preview as JSON values."""
    rows = zip(found.rows, found.tables["images"], found.tables["captions"], strict=True)
    return {
        "backend": found.backend,
        "prompt": found.prompt,
        "images": [{"row": row, "key": image["key"], **captions} for row, image, captions in rows],
        "fallbacks": dict(reasons(found)),
        "whole_run": {"images": found.kept, **estimate(found)},
    }


def summary(found: Preview) -> list[str]:
    """Return what was written, how much of it from facts in a model's stead, and what the whole run will take."""
    captions = [one for row in found.tables["captions"] for one in row["captions"] or [] if one["level"] != "source"]
    lines = [
        f"{len(found.rows)} images, {len(captions)} captions by {found.backend} in {found.seconds:.1f} s; no table was touched."
    ]
    if fallen := reasons(found):
        told = ", ".join(f"{code} {number}" for code, number in fallen.most_common())
        lines.append(f"{fallen.total()} of them had to be written from facts: {told}.")
    whole = estimate(found)
    hours = whole["seconds"] / 3600
    unit = " hours" if hours >= 0.01 else ""
    line = f"All {found.kept:,} images will take about {duration(hours) or '0 s'}{unit} of one worker"
    if found.backend != "facts":
        line += (
            f", {whole['requests']:,.0f} requests, {whole['input_tokens']:,.0f} tokens in and {whole['output_tokens']:,.0f} out"
        )
        line += (
            f", at a cost of {whole['cost']:,.2f}" if whole["cost"] else "; set caption.input_price and output_price for the cost"
        )
    return [*lines, line + "."]


def preview_page(run: Run, found: Preview) -> str:
    """Return the sample as one HTML page: pictures, text lines, entities, captions with evidence and flags, the question."""
    pictures = thumbnails(run, found.rows, side_px=420, max_total_bytes=MAX_PICTURE_BYTES)
    mentions = found.tables.get("mentions") or [{"mentions": []}] * len(found.rows)
    rows = zip(found.rows, found.tables["images"], found.tables["ocr"], mentions, found.tables["captions"], strict=True)
    values = {
        "run": run.root.name,
        "backend": found.backend,
        "prompt": found.prompt,
        "summary": summary(found),
        "question": found.question,
        "items": [
            _item(found, row, image, text, linked, captions, pictures.get(row)) for row, image, text, linked, captions in rows
        ],
    }
    return page("preview.html.j2", values)


def _item(
    found: Preview, row: int, image: Mapping[str, Any], text: Mapping[str, Any], linked: Mapping[str, Any],
    captions: Mapping[str, Any], picture: str | None,
) -> dict[str, Any]:  # fmt: skip
    lines = text["lines"] or []
    entities = sorted(linked["mentions"] or [], key=lambda mention: -(mention["score"] or 0.0))
    return {
        **{name: image[name] for name in ("id", "key", "group", "width", "height", "format")},
        "row": row,
        "picture": picture,
        "lines": lines,
        "outlines": polygons([line["polygon"] or [] for line in lines], width_px=image["width"], height_px=image["height"]),
        "entities": [one | {"spoken": (one["score"] or 0.0) >= found.min_mention_score} for one in entities],
        "levels": by_level(captions["captions"] or []),
        "usage": captions["usage"],
        "error": captions["error"],
        "answers": list(found.answers.get(image["id"], ())),
    }


def _table(found: Preview) -> Table:
    table = Table("image", "by", "short (en)", "short (zh)", "flags", box=None, pad_edge=False)
    for image, row in zip(found.tables["images"], found.tables["captions"], strict=True):
        captions = row["captions"] or []
        short = {one["language"]: one["text"] for one in captions if one["level"] == "short"}
        wrote = sorted({one["backend"] for one in captions if one["level"] != "source"})
        flags = sorted({flag[:44] for one in captions for flag in one["flags"]})
        cells = (
            image["key"][-28:],
            ", ".join(wrote),
            short.get("en", row["error"] or ""),
            short.get("zh", ""),
            ", ".join(flags[:3]),
        )
        table.add_row(*(Text(shown(cell, 90)) for cell in cells))
    return table
