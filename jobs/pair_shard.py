"""Shards of edit pairs: planned once from EDIT_PAIRS, then one tar per item."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from curation.errors import SourceError
from curation.pair_shards import plan_pair_shards, rows_named, write_pair_shard
from curation.pixels import read_encoded
from curation.tables import Run, part_stem
from jobs.stage import Item, Output


def plan(run: Run, *, max_bytes: int, max_samples: int, seed: int, **_: object) -> list[Item]:
    """Return one item per shard with its rows of EDIT_PAIRS."""
    pairs = run.read("edit_pairs", ["pair", "source_picture", "target_picture", "mask_picture", "error"])
    named = rows_named(pairs)
    lengths = dict(zip(named, run.take("images", np.array(named, np.int64), ["length"])["length"].to_pylist(), strict=True))
    shards = plan_pair_shards(pairs, lengths, max_bytes=max_bytes, max_samples=max_samples, seed=seed)
    return [{"parts": [number], "rows": rows} for number, rows in enumerate(shards)]


def work(run: Run, item: Item, *, language: str, **_: object) -> list[Output]:
    """Write one tar beside the run's tables and return its index."""
    (part,) = item["parts"]
    name = f"{part_stem('pair_shards', part)}.tar"
    folder = run.folder("pair_shards") / "_attempts"
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=folder)) / name
    pairs = run.take("edit_pairs", np.array(item["rows"], np.int64))
    named = rows_named(pairs)
    own = dict(zip(named, read_encoded(run.take("images", np.array(named, np.int64))), strict=True))
    index = write_pair_shard(path, pairs, lambda picture: _bytes(run, picture, own), language=language)
    return [Output(part, index, files={name: path})]


def _bytes(run: Run, picture: Mapping[str, Any], own: Mapping[int, bytes | None]) -> bytes:
    """Return the encoded bytes of a picture; raises SourceError when an image of the collection is gone."""
    if picture["row"] is not None:
        encoded = own[picture["row"]]
        if encoded is None:
            raise SourceError(f"the bytes of image row {picture['row']} cannot be read any more; start a new run")
        return encoded
    with (run.folder("edit_pairs") / picture["file"]).open("rb") as file:
        return os.pread(file.fileno(), picture["length"], picture["offset"])
