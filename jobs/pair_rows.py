"""Rows of EDIT_PAIRS: what is made of a pair, of an instruction, of captions, of a refusal."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from captioning.difference import Told
from captioning.instructions import in_order, instruction, say, task_of
from curation.album import Album, is_plain, untouched
from curation.edits import Edit
from curation.errors import EditError
from curation.pairs import Refused, pair_name, plain_edit
from curation.pixels import read_pixels
from curation.schema import EDIT_PAIRS
from curation.tables import Run
from curation.text_lines import Pixels

Row = dict[str, Any]
TABLES = ("images", "metrics", "tags", "ocr", "captions")
LAYOUTS = "layouts"
"""Group of the pairs of drawn layouts."""


def about(run: Run, row: int) -> dict[str, Row]:
    """Return an image's row of every table that pairs speak of."""
    return {table: run.take(table, np.array([row])).to_pylist()[0] for table in TABLES}


def pixels_of(run: Run, row: int, max_side_px: int) -> Pixels:
    """Return an image's pixels, its long side at most `max_side_px`; raises EditError (unreadable) when they are gone."""
    images = run.take("images", np.array([row]))
    (decoded,) = read_pixels(images, max_side_px=max_side_px)
    if decoded is None:
        raise EditError("unreadable", f"{images['key'][0].as_py()} cannot be decoded any more")
    return np.ascontiguousarray(decoded.pixels)


def own_picture(album: Album, name: str, row: int | None, image: Row | None, pixels: Pixels, *, max_side_px: int) -> Row:
    """Return where a base's bytes are: the image's own when they serve, else in the album."""
    if row is not None and image is not None and is_plain(image, max_side_px=max_side_px):
        return untouched(row, width=image["width"], height=image["height"])
    return album.add(name, pixels)


def pair_row(kind: str, source: str, target: str, change: Edit, image: Row | None, *, based: bool = True) -> Row:
    """Return a row without pictures and words; based: source and target are made of `image`."""
    row: Row = {field.name: None for field in EDIT_PAIRS}
    row |= {"pair": pair_name(source, target, change), "kind": kind, "task": "attribute", "source": source, "target": target}
    row |= {"base": image["id"] if image and based else None, "group": image["group"] if image else LAYOUTS}
    row |= {"operations": [], "backend": "facts", "checks": "{}"}
    return row | {name: "" for name in EDIT_PAIRS.names if name.startswith(("instruction_", "caption_"))}


def said(change: Edit, *, size_px: tuple[int, int], salt: str, checks: Mapping[str, Any]) -> Row:
    """Return instruction, task, operations and evidence of an edit whose operations are known."""
    told = say(change, size_px=size_px, salt=salt)
    return {
        "task": task_of(told) if told else "attribute",
        "operations": [
            {"operation": one.name, "parameters": as_json(plain_edit((operation,))[0])}
            for one, operation in zip(told, in_order(change), strict=True)
        ],
        "evidence": [{"clause": one.en, "source": one.name, "value": one.value} for one in told],
        "checks": as_json(checks),
        **{f"instruction_{language}": instruction(told, language) for language in ("en", "zh")},
    }


def told(difference: Told, checks: Mapping[str, Any]) -> Row:
    """Return instruction, task and evidence of a difference caption; why a model's was not taken stands in the checks."""
    fault = {} if difference.fault is None else {"fault": difference.fault}
    return {
        "task": difference.task,
        "evidence": [dict(one) for one in difference.evidence],
        "backend": difference.backend,
        "checks": as_json({**checks, **fault}),
        **{f"instruction_{language}": text for language, text in difference.instruction.items()},
    }


def captioned(source: Mapping[str, str], target: Mapping[str, str]) -> Row:
    """Return the captions of both pictures, given by language."""
    sides = (("source", source), ("target", target))
    return {f"caption_{side}_{language}": text for side, texts in sides for language, text in texts.items()}


def refusal(
    kind: str,
    source: str,
    target: str,
    refused: Refused,
    image: Row | None,
    *,
    size_px: tuple[int, int] = (1, 1),
    based: bool = True,
) -> Row:
    """Return the row of an edit that was not made; it has no pictures, and its reason in `error` and `checks`."""
    row = pair_row(kind, source, target, refused.change, image, based=based)
    row |= said(refused.change, size_px=size_px, salt=row["pair"], checks={"refused": refused.error.detail})
    return row | {"error": refused.error.code}


def refusals(kind: str, name: str, all_refused: Sequence[Refused], image: Row | None, size_px: tuple[int, int]) -> list[Row]:
    """Return the rows of a scene's refused edits."""
    return [
        refusal(kind, name, f"{name}-refused-{number}", one, image, size_px=size_px) for number, one in enumerate(all_refused)
    ]


def as_json(value: Mapping[str, Any]) -> str:
    """Return a value as JSON text with sorted keys."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
