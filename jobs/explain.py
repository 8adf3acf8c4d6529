"""The whole story of one image: where it came from, what was measured, what was decided and why, where it went."""

import json
import logging
import re
from typing import Any

import numpy as np
import pyarrow.compute as pc

from curation.errors import ConfigError
from curation.items import clean_text
from curation.tables import Run

log = logging.getLogger(__name__)

MAX_STORIES = 20
"""How many images of one name are explained."""

PER_IMAGE = ("metrics", "scores", "tags", "ocr", "duplicates", "selection", "captions")


def explain(run: Run, name: str) -> list[dict[str, Any]]:
    """Return the story of every image whose id, id prefix (8 digits or more), key, file name or path is `name`.

    Raises ConfigError when there is none, naming the closest keys.
    """
    rows = rows_called(run, name)
    if len(rows) > MAX_STORIES:
        log.warning("%d images are called %r; here are the first %d: give more of the path", len(rows), name, MAX_STORIES)
    return [_story(run, row) for row in rows[:MAX_STORIES]]


def rows_called(run: Run, name: str) -> list[int]:
    """Return the global rows of the images whose id, id prefix, key, file name or path is `name`; ConfigError when none is."""
    images = run.read("images", ["id", "uri", "key", "member"])
    name = clean_text(name)
    rows = _matching(images.to_pylist(), name) if name.strip("./") else []
    if not rows:
        raise ConfigError(f"no image in {run.root} is called {name!r}{_closest(images.column('key').to_pylist(), name)}")
    return rows


def _matching(images: list[dict[str, Any]], name: str) -> list[int]:
    exact = [row for row, image in enumerate(images) if name in (image["id"], image["key"], image["uri"], image["member"])]
    if exact:
        return exact
    tail = "/" + re.sub(r"^(\.{0,2}/)+", "", name)
    by_tail = [
        row
        for row, image in enumerate(images)
        if any(image[k] and f"/{image[k]}".endswith(tail) for k in ("key", "uri", "member"))
    ]
    if by_tail:
        return by_tail
    return [row for row, image in enumerate(images) if len(name) >= 8 and image["id"].startswith(name)]


def _closest(keys: list[str], name: str) -> str:
    from rapidfuzz import process

    found = [match for match, score, _ in process.extract(name, keys, limit=3) if score > 60]
    return f"; did you mean {', '.join(found)}?" if found else ""


def _story(run: Run, row: int) -> dict[str, Any]:
    one = np.array([row])
    image = run.take("images", one).to_pylist()[0]
    image["metadata"] = json.loads(image["metadata"]) if image["metadata"] else None
    story: dict[str, Any] = {"row": row, "images": image}
    for table in PER_IMAGE:
        if run.has(table):
            story[table] = {k: v for k, v in run.take(table, one).to_pylist()[0].items() if k != "id"}
    story |= _neighbourhood(run, row)
    if run.has("shards"):
        story["shards"] = _where(run.read("shards"), row)
    story["verdict"] = _verdict(story)
    return story


def _neighbourhood(run: Run, row: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if run.has("verdicts"):
        verdicts = run.read("verdicts")
        mine = verdicts.filter(pc.or_(pc.equal(verdicts["row_a"], row), pc.equal(verdicts["row_b"], row)))
        related = [verdict for verdict in mine.to_pylist() if verdict["relation"] != "different"]
        others = np.array([v["row_b"] if v["row_a"] == row else v["row_a"] for v in related], dtype=np.int64)
        keys = run.take("images", others, ["key"]).column("key").to_pylist() if related else []
        found["related"] = [
            {"key": key, **v, "evidence": json.loads(v["evidence"])} for key, v in zip(keys, related, strict=True)
        ]
    if run.has("duplicates"):
        duplicates = run.read("duplicates", ["keeper_row"])
        copies = np.flatnonzero(pc.fill_null(pc.equal(duplicates["keeper_row"], row), False).to_numpy())
        found["stands_for"] = run.take("images", copies, ["key"]).column("key").to_pylist() if len(copies) else []
    return found


def _where(shards: Any, row: int) -> dict[str, Any] | None:
    found = shards.filter(pc.equal(shards["row"], row)).to_pylist()
    return {key: found[0][key] for key in ("shard", "key", "bucket", "image_offset", "image_length")} if found else None


def _verdict(story: dict[str, Any]) -> str:
    image = story["images"]
    selection = story.get("selection")
    if image["error"]:
        return f"failed: {image['error']} ({image['error_detail']})"
    if selection is None:
        return "read; selection has not run yet"
    if selection["status"] == "kept":
        place = story.get("shards")
        return "kept" + (f", in {place['shard']} as {place['key']}" if place else "")
    return f"{selection['status']}: {selection['reason']}" + (f" ({selection['detail']})" if selection["detail"] else "")
