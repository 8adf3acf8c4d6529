"""Real shards of small pictures for tests of the model room, written by the shard stage."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curation.schema import CAPTIONS, IMAGES, SELECTION, conform
from curation.shards import write_shard


@dataclass(frozen=True)
class Picture:
    pixels: np.ndarray
    caption: str
    group: str = "all"
    weight: float = 1.0
    bucket: str | None = None
    captions: Sequence[tuple[str, str, str]] = field(default_factory=tuple)  # (language, level, text)


def write_tiny_shards(folder: Path, pictures: Sequence[Picture], *, per_shard: int = 40) -> Path:
    """Write pictures as PNG files and as shards; returns the folder of the shards."""
    sources, shards = folder / "pictures", folder / "shards"
    sources.mkdir(parents=True)
    shards.mkdir()
    tables = [_tables(sources, i, picture) for i, picture in enumerate(pictures)]
    images, selection, captions = (
        conform(pa.Table.from_pylist([row[k] for row in tables], schema=schema), schema)
        for k, schema in enumerate((IMAGES, SELECTION, CAPTIONS))
    )
    for number, start in enumerate(range(0, len(pictures), per_shard)):
        stop = min(start + per_shard, len(pictures))
        index = write_shard(
            shards / f"shard-{number:06d}.tar", rows=np.arange(start, stop), images=images.slice(start, stop - start),
            selection=selection.slice(start, stop - start), captions=captions.slice(start, stop - start),
        )  # fmt: skip
        pq.write_table(index, shards / f"shard-{number:06d}.parquet")
    return shards


def _tables(folder: Path, number: int, picture: Picture) -> tuple[dict, dict, dict]:
    encoded = BytesIO()
    Image.fromarray(picture.pixels).save(encoded, "PNG")
    path = folder / f"{number:05d}.png"
    path.write_bytes(encoded.getvalue())
    height, width = picture.pixels.shape[:2]
    sample = hashlib.sha256(encoded.getvalue()).hexdigest()[:32]
    image = {name: None for name in IMAGES.names} | {
        "id": sample, "uri": str(path), "container": "file", "offset": 0, "length": len(encoded.getvalue()), "key": path.name,
        "group": picture.group, "format": "png", "width": width, "height": height, "caption": picture.caption,
    }  # fmt: skip
    chosen = {
        "id": sample,
        "keep": True,
        "status": "kept",
        "weight": picture.weight,
        "bucket": picture.bucket or f"{width}x{height}",
    }
    listed = [(language, level, text) for language, level, text in picture.captions] + [("en", "source", picture.caption)]
    captions = [
        {"language": language, "level": level, "text": text, "backend": "facts", "evidence": [], "flags": []}
        for language, level, text in listed
    ]
    return image, {name: chosen.get(name) for name in SELECTION.names}, {"id": sample, "captions": captions, "error": None}


def squares(count: int, *, side_px: int = 16, seed: int = 0) -> list[Picture]:
    """Red or blue pictures with noise, captioned by their colour in two languages."""
    generator = np.random.default_rng(seed)
    pictures = []
    for i in range(count):
        colour, chinese = (("red", "红色"), ("blue", "蓝色"))[i % 2]
        base = np.array([200, 40, 40] if colour == "red" else [40, 40, 200])
        pixels = np.clip(base + generator.normal(0, 12, (side_px, side_px, 3)), 0, 255).astype(np.uint8)
        captions = (("en", "short", f"a {colour} square"), ("zh", "short", f"{chinese}的方块"))
        pictures.append(Picture(pixels, f"one {colour} square", captions=captions))
    return pictures
