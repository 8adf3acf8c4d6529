"""Images as cards: what a person wants to see of a row, and static pages of such cards.

Search, remediation and voids show the same card: thumbnail, name, size, decision with its reason, caption. A page is one file
with pictures as data URIs, no script, and a Content-Security-Policy that forbids everything else, as the report is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation.decisions import decisions
from curation.errors import ConfigError
from curation.exhibits import thumbnails
from curation.report import environment
from curation.tables import Run

Card = dict[str, Any]
"""What a page, a table or JSON shows of one image, by name."""

CAPTION_ORDER = ("source", "medium", "short", "prompt", "long", "tags")
"""Levels of captions by how well one line of them speaks for the picture."""


def cards(run: Run, rows: Sequence[int]) -> list[Card]:
    """Return a card without picture for each of the global `rows`, in order.

    status, reason, detail: the selection's, or the failure, or None before the selection. caption: the source's own, or the
    best of CAPTION_ORDER; captions: one such line per language.
    """
    wanted = np.array(list(rows), np.int64)
    columns = ["id", "key", "group", "width", "height", "format", "caption", "error", "error_detail"]
    found = run.take("images", wanted, columns).to_pylist()
    decided = _decisions(run, wanted, found)
    captions = _captions(run, wanted)
    return [
        {
            "row": int(row),
            **{name: image[name] for name in columns[:6]},
            **decision,
            "caption": image["caption"] or next(iter(lines.values()), None),
            "captions": lines,
        }
        for row, image, decision, lines in zip(wanted, found, decided, captions, strict=True)
    ]


def with_pictures(run: Run, shown_cards: Sequence[Card], *, side_px: int = 176, max_total_bytes: int = 6_000_000) -> list[Card]:
    """Return the cards with a thumbnail each, as a data URI; those beyond the budget have None."""
    pictures = thumbnails(run, [card["row"] for card in shown_cards], side_px=side_px, max_total_bytes=max_total_bytes)
    return [{**card, "picture": pictures.get(card["row"])} for card in shown_cards]


def named(shown_cards: Sequence[Card], similarity: Sequence[float] | None = None) -> list[Card]:
    """Return row, id and key of each card, for JSON, with its similarity when there is one."""
    found = [{name: card[name] for name in ("row", "id", "key")} for card in shown_cards]
    if similarity is None:
        return found
    return [one | {"similarity": round(value, 6)} for one, value in zip(found, similarity, strict=True)]


def page(template: str, values: Mapping[str, Any]) -> str:
    """Return a page of curation/templates as one HTML text; every value is escaped."""
    return environment().get_template(template).render(values)


def write_page(path: Path, text: str) -> None:
    """Write a page; raises ConfigError when the place cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _decisions(run: Run, rows: np.ndarray, images: Sequence[Card]) -> list[Card]:
    if run.has("selection"):
        return list(decisions(run, rows).select(["status", "reason", "detail"]).to_pylist())
    undecided: list[str | None] = ["failed" if image["error"] else None for image in images]
    return [
        {"status": status, "reason": image["error"], "detail": image["error_detail"]}
        for status, image in zip(undecided, images, strict=True)
    ]


def _captions(run: Run, rows: np.ndarray) -> list[dict[str, str]]:
    if not run.has("captions"):
        return [{} for _ in rows]
    written = run.take("captions", rows, ["captions"])["captions"].to_pylist()
    return [_best_lines(row or []) for row in written]


def _best_lines(captions: Sequence[Card]) -> dict[str, str]:
    lines: dict[str, str] = {}
    for caption in sorted(captions, key=lambda one: (CAPTION_ORDER.index(one["level"]), one["language"] != "en")):
        if caption["text"]:
            lines.setdefault(caption["language"], caption["text"])
    return lines
