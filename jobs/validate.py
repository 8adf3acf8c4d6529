"""Checks a run against its own records: every file's sha256, the alignment of tables, the balance, the shards' offsets."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby

from curation.errors import SchemaError
from curation.ledger import balance
from curation.tables import Run


def problems(run: Run, tables: Sequence[str]) -> Iterator[str]:
    """Yield one line per finding; a sound run yields nothing."""
    for table in tables:
        yield from (str(error) for error in run.verify(table))
    yield from _misaligned(run, [table for table in tables if run.has(table)])
    ledger = balance(run)
    if not ledger["adds_up"]:
        yield f"the balance does not add up: {ledger}"
    if run.has("shards"):
        yield from _wrong_offsets(run)


ALIGNED = (
    "images",
    "metrics",
    "embeddings",
    "tags",
    "scores",
    "ocr",
    "neighbours",
    "keypoints",
    "communities",
    "duplicates",
    "selection",
    "captions",
)


def _misaligned(run: Run, tables: Sequence[str]) -> Iterator[str]:
    names = [table for table in ALIGNED if table in tables]
    for part in range(run.num_parts("images") if "images" in names else 0):
        for name in names[1:]:
            try:
                run.aligned(("images", name), part)
            except (SchemaError, FileNotFoundError) as error:
                yield str(error)


def _wrong_offsets(run: Run) -> Iterator[str]:
    samples = run.read("shards", ["shard", "id", "key", "image_offset", "image_length"]).to_pylist()
    for shard, members in groupby(samples, key=lambda sample: str(sample["shard"])):
        with (run.folder("shards") / shard).open("rb") as file:
            for sample in members:
                file.seek(sample["image_offset"])
                digest = hashlib.sha256(file.read(sample["image_length"])).hexdigest()[:32]
                if digest != sample["id"]:
                    yield f"shards/{shard}: the bytes of {sample['key']} have id {digest}"
