"""Training shards of a folder of captioned images as it is: every image that can be read, with the caption it came with.

What `imageloom run` ends with, without anything in between: the same reading, the same shard writing, no measures, no selection
and no captions but the source's. It is what a model gets from data that nobody curated.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from captioning.evidence import source_captions
from curation.buckets import bucket
from curation.decode import DecodePolicy
from curation.ingest import ingest
from curation.schema import CAPTIONS, SELECTION, conform
from curation.shards import plan_shards, write_shard
from curation.sources import list_source


def write_raw_shards(source: Path, out: Path, *, only: Collection[str] | None = None, min_side_px: int = 16) -> pa.Table:
    """Write shards of the readable images of `source` to `out` and return IMAGES of all files.

    only: ids of the images to take; default all. min_side_px: smaller images count as unreadable, as in the pipeline.
    """
    images = pa.concat_tables(
        [ingest(chunk, policy=DecodePolicy(min_side_px=min_side_px)) for chunk in list_source(str(source)).chunks]
    )
    wanted = [error is None and (only is None or name in only)
              for name, error in zip(images["id"].to_pylist(), images["error"].to_pylist(), strict=True)]  # fmt: skip
    selection = _selection(images, wanted)
    captions = _captions(images)
    out.mkdir(parents=True)
    for number, rows in enumerate(plan_shards(selection=selection, images=images)):
        name = f"shard-{number:06d}"
        index = write_shard(
            out / f"{name}.tar", rows=np.array(rows), images=images.take(rows), selection=selection.take(rows),
            captions=captions.take(rows),
        )  # fmt: skip
        pq.write_table(index, out / f"{name}.parquet")
    return images


def _selection(images: pa.Table, wanted: list[bool]) -> pa.Table:
    sizes = zip(images["width"].to_pylist(), images["height"].to_pylist(), wanted, strict=True)
    decided = {
        "id": images["id"],
        "keep": wanted,
        "status": ["kept" if keep else "failed" for keep in wanted],
        "reason": pa.nulls(len(wanted), pa.string()),
        "detail": pa.nulls(len(wanted), pa.string()),
        "bucket": pa.array([bucket(width, height) if keep else None for width, height, keep in sizes], pa.string()),
    }
    return conform(pa.table(decided), SELECTION)


def _captions(images: pa.Table) -> pa.Table:
    rows = [
        {"id": image["id"], "error": None, "captions": [
            {"language": language, "level": "source", "text": text, "backend": "source", "evidence": [], "flags": []}
            for language, text in source_captions(image).items()
        ]}
        for image in images.select(["id", "caption", "metadata"]).to_pylist()
    ]  # fmt: skip
    return conform(pa.Table.from_pylist(rows, schema=CAPTIONS), CAPTIONS)
