"""Which part of a source the base has read already, when the source is the whole collection again and not the new batch alone.

A file is known when the base read a file of that path and size, and it was not written since the base's ingest began. Of a
container (tar, parquet, JSONL, CSV) all or nothing is known: one that changed is read again from its beginning, and what it held
before comes out as exact copies of the base.
"""

import os
from collections.abc import Sequence
from typing import Any

import pyarrow.compute as pc

from curation.pixels import uri_to_path
from curation.tables import Run

Chunk = dict[str, Any]


def without_known(chunks: Sequence[Chunk], base: Run | None, *, part_rows: int) -> list[Chunk]:
    """Return the chunks of a listing without what `base` holds; files are gathered into chunks of `part_rows` again."""
    if base is None:
        return list(chunks)
    sizes = _sizes(base)
    since = (base.folder("images") / "_stage.json").stat().st_mtime_ns
    files = [chunk for chunk in chunks if chunk["kind"] == "files"]
    fresh = [
        (chunk, item)
        for chunk in files
        for item in chunk["items"]
        if not _known(os.path.join(str(chunk["root"]), item["path"]), sizes, since)
    ]
    gathered = [
        {**fresh[begin][0], "items": [item for _, item in fresh[begin : begin + part_rows]]}
        for begin in range(0, len(fresh), part_rows)
    ]
    others = [chunk for chunk in chunks if chunk["kind"] != "files" and not _known(str(chunk.get("path")), sizes, since)]
    return gathered + others


def _sizes(base: Run) -> dict[str, int | None]:
    """Return every path that the base's images lie at, with the size of a file and None for a container."""
    images = base.read("images", ["uri", "container", "length"])
    single = pc.equal(images["container"], "file").to_pylist()
    columns = zip(images["uri"].to_pylist(), single, images["length"].to_pylist(), strict=True)
    return {uri_to_path(uri): length if alone else None for uri, alone, length in columns}


def _known(path: str, sizes: dict[str, int | None], since_ns: int) -> bool:
    if path not in sizes:
        return False
    try:
        now = os.stat(path)
    except OSError:
        return False
    return now.st_mtime_ns < since_ns and sizes[path] in (None, now.st_size)
