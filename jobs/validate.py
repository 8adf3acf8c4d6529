"""Checks a run against its own records: every file's sha256, the alignment of tables, the balance, the shards' offsets."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby

from curation.errors import CorruptPart, SchemaError
from curation.ledger import balance
from curation.tables import Run


def problems(run: Run, tables: Sequence[str]) -> Iterator[str]:
    """Yield one line per finding; a sound run yields nothing."""
    sound = []
    for table in tables:
        found = list(_damaged(run, table))
        yield from found
        sound += [table] if run.has(table) and not found else []
    yield from _misaligned(run, sound)
    if "images" in sound and ("selection" in sound or not run.has("selection")):
        ledger = balance(run)
        if not ledger["adds_up"]:
            yield f"the balance does not add up: {ledger}"
    if "shards" in sound:
        yield from _wrong_offsets(run)


def _damaged(run: Run, table: str) -> Iterator[str]:
    """Yield what is wrong with a table's records and files, and parts that its manifest counts but no commit names."""
    try:
        yield from (str(error) for error in run.verify(table))
        manifest = run.manifest(table)
        if manifest is not None and manifest["digest"] != run.committed_digest(table):
            yield f"{table}/_manifest.json counts {manifest['parts']} parts, but {table}/_commits holds other ones"
    except CorruptPart as error:
        yield str(error)


ALIGNED = (
    "images",
    "metrics",
    "embeddings",
    "tags",
    "scores",
    "ocr",
    "exact",
    "neighbours",
    "hierarchy",
    "caption_fit",
    "keypoints",
    "communities",
    "duplicates",
    "selection",
    "captions",
    "balance",
)


def _misaligned(run: Run, tables: Sequence[str]) -> Iterator[str]:
    names = [table for table in ALIGNED if table in tables]
    for part in range(run.num_parts("images") if "images" in names else 0):
        for name in names[1:]:
            try:
                run.aligned(("images", name), part)
            except (SchemaError, CorruptPart, FileNotFoundError) as error:
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
