"""Edit pairs -> WebDataset tars and their index, for training from image to image.

A sample is five members: `<key>.source.jpg`, `<key>.target.jpg`, `<key>.mask.png`, `<key>.json` and `<key>.txt` with one
instruction. As in the shards of images, extensions do not depend on the format and the JSON has the same keys and types in
every sample, without null, for the stock readers' sake. Where it is not known what changed, the mask is white all over and
`masked` is false. Pairs of one scene stand anywhere: they are ordered by (bucket of the target, seeded hash of the pair).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation import tar
from curation.album import encode
from curation.buckets import area_px, bucket
from curation.schema import PAIR_SHARDS, conform
from curation.shards import count_words, fill_shards

IMAGE = "image-"
"""How the name of a picture begins that is an image of the collection; the rest is its id."""

Picture = Mapping[str, Any]
"""An EDIT_PICTURE."""


def plan_pair_shards(
    pairs: pa.Table, lengths: Mapping[int, int], *, max_bytes: int, max_samples: int, seed: int = 0
) -> list[list[int]]:
    """Return the rows of EDIT_PAIRS of each shard, a pure function of table and parameters; refused pairs are in none.

    lengths: bytes of the images of the collection that pairs name, by row. Raises ValueError when a limit is not positive.
    """
    columns = (pairs[name].to_pylist() for name in ("pair", "source_picture", "target_picture", "mask_picture", "error"))
    order = []
    for row, (pair, source, target, mask, error) in enumerate(zip(*columns, strict=True)):
        if error is None:
            name = bucket(target["width"], target["height"])
            size = sum(tar.padded_bytes(_length(one, lengths)) for one in (source, target, mask) if one is not None)
            order.append((area_px(name), name, hashlib.blake2b(f"{seed}:{pair}".encode(), digest_size=8).digest(), row, size))
    return fill_shards(((row, size) for *_, row, size in sorted(order)), max_bytes=max_bytes, max_samples=max_samples)


def write_pair_shard(path: Path, pairs: pa.Table, read: Callable[[Picture], bytes], *, language: str = "en") -> pa.Table:
    """Write one tar at `path` and return its PAIR_SHARDS index, one row per pair in the order of `pairs`.

    read: gives the encoded bytes of an EDIT_PICTURE. language: of the instruction that becomes the text member.
    """
    index: list[dict[str, Any]] = []
    with path.open("wb") as file:
        for row in pairs.to_pylist():
            target = row["target_picture"]
            masked = row["mask_picture"] is not None
            mask = read(row["mask_picture"]) if masked else white(target["width"], target["height"])
            members = {"source": ("source.jpg", read(row["source_picture"])), "target": ("target.jpg", read(target))}
            members |= {"mask": ("mask.png", mask), "json": ("json", _canonical(description(row)))}
            places: dict[str, int] = {}
            for name, (extension, content) in members.items():
                places[f"{name}_offset"] = tar.append(file, f"{row['pair']}.{extension}", content)
                places[f"{name}_length"] = len(content)
            tar.append(file, f"{row['pair']}.txt", row[f"instruction_{language}"].encode())
            index.append({"shard": path.name, "key": row["pair"], "masked": masked, **places, **_index_row(row)})
        tar.finish(file)
    return conform(pa.Table.from_pylist(index, schema=PAIR_SHARDS), PAIR_SHARDS)


def description(row: Mapping[str, Any]) -> dict[str, object]:
    """Return the JSON member of a pair: plain values of fixed type, no null; what varies is JSON text."""
    target = row["target_picture"]
    region = row["region"] or [0.0, 0.0, float(target["width"]), float(target["height"])]
    return {
        **{name: row[name] or "" for name in ("pair", "kind", "task", "source", "target", "base", "group", "backend")},
        "instruction": {language: row[f"instruction_{language}"] for language in ("en", "zh")},
        "captions": {
            side: {language: row[f"caption_{side}_{language}"] for language in ("en", "zh")} for side in ("source", "target")
        },
        "operations_json": json.dumps(row["operations"] or [], ensure_ascii=False, sort_keys=True),
        "evidence_json": json.dumps(row["evidence"] or [], ensure_ascii=False, sort_keys=True),
        "checks_json": row["checks"],
        "masked": row["mask_picture"] is not None,
        "region": [float(value) for value in region],
        "source_size": [row["source_picture"]["width"], row["source_picture"]["height"]],
        "target_size": [target["width"], target["height"]],
    }


@lru_cache(maxsize=64)
def white(width: int, height: int) -> bytes:
    """Return a PNG that is white all over."""
    return encode(np.full((height, width), 255, np.uint8), "png")


def _index_row(row: Mapping[str, Any]) -> dict[str, object]:
    source, target = row["source_picture"], row["target_picture"]
    return {
        **{name: row[name] for name in ("pair", "kind", "task", "group")},
        "images": images_of(row),
        "source_width": source["width"],
        "source_height": source["height"],
        "width": target["width"],
        "height": target["height"],
        "bucket": bucket(target["width"], target["height"]),
        "weight": 1.0,
        "words_en": count_words(row["instruction_en"]),
        "words_zh": count_words(row["instruction_zh"]),
    }


def images_of(row: Mapping[str, Any]) -> list[str]:
    """Return the ids of the images that an EDIT_PAIRS row is made of, sorted: its base, or the two that were found."""
    found = [row[side].removeprefix(IMAGE) for side in ("source", "target") if row[side].startswith(IMAGE)]
    return sorted({*found, row["base"]} - {None})


def _length(picture: Picture, lengths: Mapping[int, int]) -> int:
    return int(picture["length"] if picture["row"] is None else lengths[picture["row"]])


def _canonical(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def rows_named(pairs: pa.Table) -> Sequence[int]:
    """Return the rows of IMAGES whose bytes pairs name, sorted, each once."""
    found: set[int] = set()
    for name in ("source_picture", "target_picture"):
        found |= {picture["row"] for picture in pairs[name].to_pylist() if picture is not None and picture["row"] is not None}
    return sorted(found)
