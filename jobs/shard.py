"""Shards: planned once from the selection and the balance, then one tar per item."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.decisions import decisions
from curation.shards import plan_shards, write_shard
from curation.tables import Run, part_stem
from jobs.adopt import base_rows
from jobs.stage import Item, Output


def plan(run: Run, *, max_bytes: int, max_samples: int, seed: int, **_: object) -> list[Item]:
    """Return one item per shard with its global rows."""
    selection = decisions(run)
    new = np.arange(len(selection)) >= base_rows(run)  # the base's images are in its own shards
    keep = pa.array(selection["keep"].to_numpy() & new)
    shards = plan_shards(
        selection=selection.set_column(selection.column_names.index("keep"), "keep", keep),
        images=run.read("images", ["id", "length"]),
        max_bytes=max_bytes,
        max_samples=max_samples,
        seed=seed,
    )
    return [{"parts": [number], "rows": rows} for number, rows in enumerate(shards)]


def work(run: Run, item: Item, *, caption_language: str, caption_level: str, **_: object) -> list[Output]:
    """Write one tar beside the run's tables and return its index."""
    rows = np.array(item["rows"], dtype=np.int64)
    (part,) = item["parts"]
    name = f"{part_stem('shards', part)}.tar"
    folder = run.folder("shards") / "_attempts"
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=folder)) / name
    tables = ("images", "metrics", "scores", "ocr", "tags", "captions", "duplicates")
    index = write_shard(
        path,
        rows=rows,
        shard=name,
        caption_language=caption_language,
        caption_level=caption_level,
        selection=decisions(run, rows),
        **{table: run.take(table, rows) for table in tables},
    )
    return [Output(part, index, files={name: path})]
