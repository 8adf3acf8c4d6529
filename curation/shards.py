"""Kept images -> WebDataset tars and their index.

A sample is three members: `<key>.jpg` with the original bytes, untouched; `<key>.txt` with one caption; `<key>.json` with
everything else. Two choices are for the stock readers' sake:

- The image's extension is `jpg` whatever its format. `datasets` takes the member types of a data set from its first samples and
  silently returns None for a sample with another extension, and webdataset decodes by an extension list without webp, gif, avif
  and tiff; both, and every image library, go by the magic bytes once they decode. The JSON and IMAGES name the true format.
- The JSON has the same keys and types in every sample, without null: `datasets` refuses a struct whose fields change. What
  varies (text lines, tags, scores, metrics, source metadata, caption evidence) is JSON text inside a string.

The text member is the medium English caption unless configured otherwise; without one, the source's caption; without that, the
first caption there is; else empty. Shards are contiguous in the order (bucket area, bucket, seeded hash of the id): readers find
one shape in long runs, and inside a bucket the order says nothing about the source.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation import tar
from curation.buckets import area_px
from curation.errors import SourceError
from curation.pixels import read_encoded
from curation.schema import CAPTION_LANGUAGES, CAPTION_LEVELS, SHARDS, conform

JSON_ALLOWANCE_BYTES = 16 << 10
"""What the plan counts for the text and JSON members of a sample, whose length it cannot know before the captions.

With ten captions and their evidence the demo takes 8 KiB a sample, 11 KiB at most."""

WINDOW_BYTES = 128 << 20
"""How many bytes of images are read ahead and held while a shard is written."""

_WORD = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


def plan_shards(
    *,
    selection: pa.Table,
    images: pa.Table,
    max_bytes: int = 256 << 20,
    max_samples: int = 10_000,
    seed: int = 0,
) -> list[list[int]]:
    """Return the global rows of each shard, a pure function of the tables and the parameters.

    max_bytes: size of a tar, counting JSON_ALLOWANCE_BYTES for what describes an image; one larger image is a shard alone.
    max_samples: samples in a shard.
    seed: another seed gives another order inside the buckets.
    Raises ValueError when a limit is not positive.
    """
    kept = np.flatnonzero(selection["keep"].to_numpy())
    names = zip(kept.tolist(), selection["bucket"].take(kept).to_pylist(), images["id"].take(kept).to_pylist(), strict=True)
    order = sorted((area_px(bucket), bucket, _shuffle_key(seed, sample), row) for row, bucket, sample in names)
    lengths = images["length"].fill_null(0).to_numpy()
    sizes = ((row, tar.padded_bytes(int(lengths[row]))) for *_, row in order)
    return fill_shards(sizes, max_bytes=max_bytes, max_samples=max_samples)


def fill_shards(samples: Iterable[tuple[int, int]], *, max_bytes: int, max_samples: int) -> list[list[int]]:
    """Return the rows of each shard: samples in their order, in one shard until the next does not fit.

    samples: row, and bytes of its pictures in a tar; JSON_ALLOWANCE_BYTES are added for what describes them. One larger sample is
    a shard alone. Raises ValueError when a limit is not positive.
    """
    if max_bytes <= 0 or max_samples <= 0:
        raise ValueError(f"max_bytes {max_bytes} and max_samples {max_samples} must be positive")
    shards: list[list[int]] = []
    used = 0
    for row, size in samples:
        size += JSON_ALLOWANCE_BYTES
        if not shards or used + size > max_bytes or len(shards[-1]) == max_samples:
            shards.append([])
            used = 2 * tar.BLOCK_BYTES
        shards[-1].append(row)
        used += size
    return shards


def write_shard(
    path: Path,
    *,
    rows: np.ndarray,
    images: pa.Table,
    selection: pa.Table,
    metrics: pa.Table | None = None,
    scores: pa.Table | None = None,
    ocr: pa.Table | None = None,
    tags: pa.Table | None = None,
    captions: pa.Table | None = None,
    duplicates: pa.Table | None = None,
    shard: str | None = None,
    image_extension: str = "jpg",
    caption_language: str = "en",
    caption_level: str = "medium",
) -> pa.Table:
    """Write one tar at `path` and return its SHARDS index, one row per sample in the order of `rows`.

    rows: int64 (n,), global rows in IMAGES; every table holds just these rows, in this order.
    selection: SELECTION, with the sampling weight as `curation.decisions` adds it; without one every image weighs 1.
    shard: name of the tar in the index; by default that of `path`.
    image_extension: extension of every image member.
    caption_language, caption_level: the caption that becomes the text member.
    Raises SourceError when an image's bytes can no longer be read or no longer hash to its id.
    """
    given = {"metrics": metrics, "scores": scores, "ocr": ocr, "tags": tags, "captions": captions, "duplicates": duplicates}
    described = {name: table for name, table in given.items() if table is not None}
    samples = _samples(rows, {"images": images, "selection": selection} | described)
    keys: set[str] = set()
    index: list[dict[str, Any]] = []
    with path.open("wb") as file:
        for sample, encoded in zip(samples, _read_windows(images), strict=True):
            encoded = _unchanged(sample["images"], encoded)
            key = _unused(sample["images"]["id"], keys)
            keys.add(key)
            text = _text_caption(_captions(sample), caption_language, caption_level)
            description = _canonical(_description(sample))
            image_name = f"{key}.{image_extension}"
            image_offset = tar.append(file, image_name, encoded)
            json_offset = tar.append(file, f"{key}.json", description)
            tar.append(file, f"{key}.txt", text.encode())
            member = {"key": key, "shard": shard or path.name, "image_member": image_name}
            offsets = {"image_offset": image_offset, "image_length": len(encoded)}
            offsets |= {"json_offset": json_offset, "json_length": len(description)}
            index.append(member | offsets | _index_row(sample))
        tar.finish(file)
    return conform(pa.Table.from_pylist(index, schema=SHARDS), SHARDS)


def count_words(text: str) -> int:
    """Return the number of words: runs without white space, and every Chinese or Japanese character by itself."""
    return len(_WORD.findall(text))


def _shuffle_key(seed: int, sample: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{sample}".encode(), digest_size=8).digest()


def _read_windows(images: pa.Table) -> Iterator[bytes | None]:
    """Yield the encoded bytes of each row in order, read window by window in the order in which the sources hold them.

    The shuffled order would open a parquet row group once per image; a window of WINDOW_BYTES opens each once.
    """
    columns = (images[name].to_pylist() for name in ("uri", "container", "offset", "member", "length"))
    found = [
        (uri, offset or 0, _cell(member) if container == "parquet" else 0, length or 0)
        for uri, container, offset, member, length in zip(*columns, strict=True)
    ]
    ends = np.cumsum([place[-1] for place in found]) // WINDOW_BYTES
    for window in np.split(np.arange(len(found)), np.flatnonzero(np.diff(ends)) + 1):
        order = sorted(window.tolist(), key=lambda row: found[row])
        encoded = dict(zip(order, read_encoded(images.take(order)), strict=True))
        yield from (encoded[row] for row in window.tolist())


def _cell(member: str | None) -> int:
    """Return the row of a parquet cell 'column#row'."""
    return int((member or "").rpartition("#")[2] or 0)


def _unchanged(image: Mapping[str, Any], encoded: bytes | None) -> bytes:
    """Return the bytes if they still hash to the image's id."""
    if encoded is None:
        raise SourceError(f"{image['uri']}: the bytes of {image['key']} cannot be read")
    if not hashlib.sha256(encoded).hexdigest().startswith(image["id"]):
        raise SourceError(f"{image['uri']}: {image['key']} has changed since ingest; start a new run to take it in")
    return encoded


def _unused(sample: str, keys: set[str]) -> str:
    """Return the id, or id-1, id-2, ... when the shard has it: two samples of one key would merge into one."""
    key, copies = sample, 0
    while key in keys:
        copies += 1
        key = f"{sample}-{copies}"
    return key


def _samples(rows: np.ndarray, tables: Mapping[str, pa.Table]) -> Iterator[dict[str, Any]]:
    """Yield for each sample its row of every table by table name, and its global row."""
    columns = {name: table.to_pylist() for name, table in tables.items()}
    for position, row in enumerate(rows.tolist()):
        yield {"row": row} | {name: table[position] for name, table in columns.items()}


def _captions(sample: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sample's captions, the source's own among them even when the captioner did not run."""
    captions = list(sample.get("captions", {}).get("captions") or [])
    source = sample["images"]["caption"]
    if source and not any(caption["level"] == "source" for caption in captions):
        row = {"language": "", "level": "source", "text": source, "backend": "source", "evidence": [], "flags": []}
        captions.append(row)
    return captions


def _text_caption(captions: list[dict[str, Any]], language: str, level: str) -> str:
    wanted = [caption for caption in captions if (caption["language"], caption["level"]) == (language, level)]
    source = [caption for caption in captions if caption["level"] == "source"]
    ranked = [caption["text"] for caption in (*wanted, *source, *captions) if caption["text"]]
    return str(ranked[0]) if ranked else ""


def _description(sample: Mapping[str, Any]) -> dict[str, object]:
    """Return the JSON member: plain values of fixed type, no null; what varies is JSON text."""
    image, chosen, captions = sample["images"], sample["selection"], _captions(sample)
    texts = {(caption["language"], caption["level"]): caption["text"] for caption in captions}
    levels = [level for level in CAPTION_LEVELS if level != "source"]
    return {
        **{name: image[name] or "" for name in ("id", "uri", "member", "key", "group", "format")},
        "width": image["width"],
        "height": image["height"],
        "bucket": chosen["bucket"],
        "weight": _short(chosen.get("weight", 1.0)),
        "caption": image["caption"] or "",
        "captions": {language: {level: texts.get((language, level)) or "" for level in levels} for language in CAPTION_LANGUAGES},
        "captions_json": _text(captions),
        "merged_captions_json": _text(sample.get("duplicates", {}).get("merged_captions") or []),
        "ocr_json": _text(sample.get("ocr", {}).get("lines") or []),
        "tags_json": _text(sample.get("tags", {}).get("tags") or []),
        "scores_json": _text(_measured(sample.get("scores", {}))),
        "metrics_json": _text(_measured(sample.get("metrics", {}))),
        "metadata_json": image["metadata"] or "{}",
    }


def _index_row(sample: Mapping[str, Any]) -> dict[str, object]:
    image, chosen = sample["images"], sample["selection"]
    lengths = [
        {
            "language": caption["language"],
            "level": caption["level"],
            "characters": len(caption["text"] or ""),
            "words": count_words(caption["text"] or ""),
        }
        for caption in _captions(sample)
    ]
    taken = {name: image[name] for name in ("id", "width", "height", "group")}
    return taken | {
        "row": sample["row"],
        "bucket": chosen["bucket"],
        "weight": chosen.get("weight", 1.0),
        "caption_lengths": lengths,
    }


def _measured(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("id", "error") and value is not None}


def _canonical(value: object) -> bytes:
    return _text(value).encode()


def _text(value: object) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold: short floats, hex for bytes, null for what is not finite."""
    kind = type(value)
    if kind is str or kind is int:  # most values by far
        return value
    if kind is float:
        return _short(value)
    if kind is dict:
        return {name: _plain(item) for name, item in value.items()}
    if kind is list:
        return [_plain(item) for item in value]
    return value.hex() if kind is bytes else value


def _short(value: float) -> float | None:
    """Return the shortest decimal that is the same float32; None for infinities and NaN."""
    return float(str(np.float32(value))) if np.isfinite(value) else None
