"""The whole story of one image: where it came from, what was measured, what was decided and why, where it went."""

import json
import logging
import re
from typing import Any

import numpy as np
import pyarrow.compute as pc

from curation.decisions import decisions
from curation.errors import ConfigError
from curation.items import clean_text
from curation.relative_loss import relative_losses
from curation.tables import Run
from graph.evidence import describe
from graph.refused import by_similarity, keeper_rows, limits_of, rounds
from jobs.adopt import base_rows

log = logging.getLogger(__name__)

MAX_STORIES = 20
"""How many images of one name are explained."""

MAX_RELATED = 12
"""How many copies, containers and parts of an image are listed."""

MAX_LOOK_ALIKES = 5
"""How many images that look alike but were not merged are listed, the most similar first."""

PER_IMAGE = ("metrics", "scores", "tags", "ocr", "caption_fit", "watermarks", "duplicates", "selection", "mentions", "captions")


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
    if run.has("selection"):
        story["selection"] = {k: v for k, v in decisions(run, one).to_pylist()[0].items() if k != "id"}
    if run.has("balance"):
        story["concepts"] = _concepts(run, one)
    story |= _neighbourhood(run, row)
    if (story.get("duplicates") or {}).get("keeper_row") is not None:
        mine = story["duplicates"]
        mine["says"] = describe(mine["evidence"], similarity=mine["similarity"], limits=limits_of(run))
    if run.has("shards"):
        story["shards"] = _where(run.read("shards"), row)
    if run.has("sample_loss"):
        story["losses"] = _losses(run, row)
    story["from_base"] = row < base_rows(run)
    story["verdict"] = _verdict(story)
    return story


def _concepts(run: Run, one: np.ndarray) -> list[dict[str, Any]]:
    """Return the names of the concepts that the image shows, with BM25, those that say most of it first."""
    mine = run.take("balance", one, ["concepts", "bm25"]).to_pylist()[0]
    rows = np.array(mine["concepts"] or [], dtype=np.int64)
    names = run.take("taxonomy", rows, ["name"])["name"].to_pylist() if len(rows) else []
    return [{"name": name, "bm25": round(value, 3)} for name, value in zip(names, mine["bm25"] or [], strict=True)]


def _neighbourhood(run: Run, row: int) -> dict[str, Any]:
    """Return the image's relations: its keeper, what it stands for, what was compared with it and what became of that."""
    found: dict[str, Any] = {}
    limits = limits_of(run)
    if run.has("verdicts"):
        verdicts = _compared(run, row)
        related = [verdict for verdict in verdicts if verdict["relation"] != "different"]
        refused = sorted((v for v in verdicts if v["relation"] == "different"), key=lambda v: -(v["similarity"] or 0))
        found["related"] = _told(run, row, related[:MAX_RELATED], limits)
        found["look_alikes"] = _told(run, row, refused[:MAX_LOOK_ALIKES], limits)
    elif run.has("edges") and run.has("duplicates") and run.has("partitions"):
        found["look_alikes"] = _told(run, row, by_similarity(run, _edges_apart(run, row)), limits)
    if run.has("duplicates"):
        found |= _standing(run, row)
    return found


def _compared(run: Run, row: int) -> list[dict[str, Any]]:
    """Return the verdicts that name `row`, of both rounds."""
    found = []
    for table in rounds(run):
        for part in range(run.num_parts(table)):
            verdicts = run.read_part(table, part)
            mine = verdicts.filter(pc.or_(pc.equal(verdicts["row_a"], row), pc.equal(verdicts["row_b"], row)))
            found += mine.to_pylist()
    return found


def _edges_apart(run: Run, row: int) -> list[dict[str, Any]]:
    """Return the most similar edges from `row` to images of other groups."""
    keepers = keeper_rows(run.read("duplicates", ["keeper_row"]))
    found = []
    for part in range(run.num_parts("edges")):
        edges = run.read_part("edges", part)
        mine = edges.filter(pc.or_(pc.equal(edges["row_a"], row), pc.equal(edges["row_b"], row)))
        found += [edge for edge in mine.to_pylist() if keepers[edge["row_a"]] != keepers[edge["row_b"]]]
    return sorted(found, key=lambda edge: -edge["similarity"])[:MAX_LOOK_ALIKES]


def _told(run: Run, row: int, verdicts: list[dict[str, Any]], limits: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each verdict with the other image's key and a sentence of what was measured."""
    others = np.array([v["row_b"] if v["row_a"] == row else v["row_a"] for v in verdicts], dtype=np.int64)
    keys = run.take("images", others, ["key"]).column("key").to_pylist() if verdicts else []
    return [
        {
            "key": key,
            **verdict,
            "relation": _seen_from(row, verdict),
            "evidence": json.loads(verdict["evidence"]),
            "says": describe(verdict["evidence"], relation=verdict["relation"], similarity=verdict["similarity"], limits=limits),
        }
        for key, verdict in zip(keys, verdicts, strict=True)
    ]


def _seen_from(row: int, verdict: dict[str, Any]) -> str:
    """Return the relation with `row` as its subject: contains, when it shows all of the other."""
    turned = {"contains": "contained", "contained": "contains"}
    relation = str(verdict["relation"])
    return relation if verdict["row_a"] == row else turned.get(relation, relation)


def _standing(run: Run, row: int) -> dict[str, Any]:
    """Return the keys of the image's keeper, of the images it stands for, and of an image that shows all of it."""
    one = run.take("duplicates", np.array([row])).to_pylist()[0]
    keepers = run.read("duplicates", ["keeper_row"])["keeper_row"]
    copies = np.flatnonzero(pc.fill_null(pc.equal(keepers, row), False).to_numpy())
    found: dict[str, Any] = {
        "stands_for": run.take("images", copies, ["key"]).column("key").to_pylist() if len(copies) else [],
        "keeper_key": None,
        "container_key": None,
    }
    if one["keeper_row"] is not None:
        found["keeper_key"] = run.take("images", np.array([one["keeper_row"]]), ["key"])["key"][0].as_py()
    if one["contained_in"] is not None:
        images = run.read("images", ["id", "key"])
        at = pc.index(images["id"], one["contained_in"]).as_py()
        found["container_key"] = images["key"][at].as_py() if at >= 0 else None
    return found


def _where(shards: Any, row: int) -> dict[str, Any] | None:
    found = shards.filter(pc.equal(shards["row"], row)).to_pylist()
    return {key: found[0][key] for key in ("shard", "key", "bucket", "image_offset", "image_length")} if found else None


def _losses(run: Run, row: int) -> list[dict[str, Any]]:
    """Return losses by caption, with how hard the image is beside all others (1 is average) and what the caption takes off."""
    losses = run.read("sample_loss")
    mine = losses.filter(pc.equal(losses["row"], row)).to_pylist()
    relative = relative_losses(losses)
    kinds = relative.filter(pc.equal(relative["row"], row)).to_pylist()
    failed = [{"error": one["error"]} for one in mine if one["error"]]
    return failed + [
        {
            **{name: kind[name] for name in ("level", "language", "held_out", "hardness", "help")},
            "times": [
                {name: one[name] for name in ("t", "loss", "loss_empty")}
                for one in mine
                if (one["level"], one["language"]) == (kind["level"], kind["language"])
            ],
        }
        for kind in kinds
    ]


def _verdict(story: dict[str, Any]) -> str:
    image = story["images"]
    selection = story.get("selection")
    if image["error"]:
        return f"failed: {image['error']} ({image['error_detail']})"
    if selection is None:
        return "read; selection has not run yet"
    if selection["status"] == "kept":
        place = story.get("shards")
        elsewhere = ", in the shards of the base" if story["from_base"] else ""
        return "kept" + (f", in {place['shard']} as {place['key']}" if place else elsewhere)
    return f"{selection['status']}: {selection['reason']}" + (f" ({selection['detail']})" if selection["detail"] else "")
