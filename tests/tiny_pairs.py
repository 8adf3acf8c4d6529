"""Real pair shards of small pictures for tests of the model room, written by the pair shard stage's writer."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pyarrow import Table

from curation.album import encode
from curation.pair_shards import write_pair_shard
from curation.schema import EDIT_PAIRS

COLOURS = {"red": (200, 40, 40), "blue": (40, 40, 200)}
GREY = (120, 120, 120)


def write_tiny_pairs(
    folder: Path, count: int, *, side_px: int = 16, source_px: tuple[int, int] | None = None, bases: int = 0, grey: bool = False
) -> Path:
    """Write `count` edits of red squares into blue ones and back; returns the folder of the shard.

    source_px: width and height of the sources; by default those of the targets, side_px each. bases: images that they are made
    of in turn, base-0 and so on; 0: drawn from nothing. grey: the sources are grey, so that only instructions tell the targets.
    """
    rows, pictures = tiny_pairs(count, side_px=side_px, source_px=source_px, grey=grey)
    rows = [row | {"base": f"base-{number % bases}" if bases else None} for number, row in enumerate(rows)]
    folder.mkdir()
    pairs = Table.from_pylist(rows, schema=EDIT_PAIRS)
    index = write_pair_shard(folder / "shard-000000.tar", pairs, lambda picture: pictures[picture["offset"]])
    pq.write_table(index, folder / "shard-000000.parquet")
    return folder


def tiny_pairs(
    count: int, *, side_px: int = 16, source_px: tuple[int, int] | None = None, grey: bool = False
) -> tuple[list[dict[str, object]], dict[int, bytes]]:
    """Return rows of EDIT_PAIRS and the bytes of their pictures by place."""
    pictures: dict[int, bytes] = {}
    return [_row(number, pictures, side_px, source_px or (side_px, side_px), grey) for number in range(count)], pictures


def _row(number: int, pictures: dict[int, bytes], side_px: int, source_px: tuple[int, int], grey: bool) -> dict[str, object]:
    before, after = ("red", "blue") if number % 2 else ("blue", "red")
    generator = np.random.default_rng(number)

    def picture(place: int, colour: str, size: tuple[int, int]) -> dict[str, object]:
        pixels = np.array(COLOURS.get(colour, GREY)) + generator.normal(0, 12, (size[1], size[0], 3))
        pictures[place] = encode(np.clip(pixels, 0, 255).astype(np.uint8), "png")
        return {"row": None, "file": "made", "offset": place, "length": len(pictures[place]), "width": size[0], "height": size[1]}

    return {
        "pair": hashlib.sha256(str(number).encode()).hexdigest()[:32],
        "kind": "parametric",
        "task": "attribute",
        "source": f"source{number}",
        "target": f"target{number}",
        "base": None,
        "group": "all",
        "operations": [],
        "instruction_en": f"make it {after}",
        "instruction_zh": "变成红色" if after == "red" else "变成蓝色",
        "caption_source_en": f"a {before} square",
        "caption_source_zh": "方块",
        "caption_target_en": f"a {after} square",
        "caption_target_zh": "方块",
        "region": None,
        "source_picture": picture(2 * number, "grey" if grey else before, source_px),
        "target_picture": picture(2 * number + 1, after, (side_px, side_px)),
        "mask_picture": None,
        "evidence": [],
        "backend": "facts",
        "checks": "{}",
        "error": None,
    }
