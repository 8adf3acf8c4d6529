"""A chunk of a source to one part of IMAGES: every image is read, named by its hash and judged, and none disappears.

Bytes stay where they are; a row points at them. An image that cannot be used is a row with a code of curation.errors and
everything else that is known of it.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from curation.cells import parquet_items
from curation.decode import DEFAULT_POLICY, DecodePolicy, ImageHeader, verify
from curation.errors import DecodeError, FailureCode, SourceError
from curation.isolated import IsolatedVerifier
from curation.items import Item, Json, caption_of, clean_text, decode_json, decode_text, group_of, sidecar_names
from curation.pixels import Readers, path_to_uri
from curation.records import Chunk, csv_items, jsonl_items
from curation.schema import IMAGES, conform
from curation.webdataset import tar_items

_SIDECAR_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 20

Judge = Callable[[bytes], ImageHeader]


def ingest(
    chunk: dict[str, Json], *, policy: DecodePolicy | None = None, isolated: bool = False, timeout_seconds: float = 30.0
) -> pa.Table:
    """Return the part of IMAGES that `chunk` of a SourceListing describes, one row per image in the source's order.

    policy: what an image must be; DEFAULT_POLICY when None. isolated: judge in a killable child process, for a part that
        crashed its worker: a crash becomes `worker_crash`, more than timeout_seconds for one image `timeout`.
    Raises SourceError when the chunk's container is gone.
    """
    rules = policy or DEFAULT_POLICY
    with ExitStack() as stack:
        judge: Judge = partial(verify, policy=rules)
        if isolated:
            judge = stack.enter_context(IsolatedVerifier(rules, timeout_seconds=timeout_seconds)).verify
        readers = Readers()
        stack.callback(readers.close)
        rows = [_row(item, readers, judge, rules) for item in chunk_items(chunk)]
    return conform(pa.Table.from_pylist(rows, schema=IMAGES), IMAGES)


def chunk_items(chunk: Chunk) -> Iterator[Item]:
    """Yield the items of a chunk, not yet judged; raises SourceError when the container is gone."""
    kind = str(chunk["kind"])
    if kind not in _KINDS:
        raise SourceError(f"chunk kind {kind!r} is unknown, must be one of {', '.join(_KINDS)}")
    try:
        for item in _KINDS[kind](chunk):
            yield _with_sidecars(item) if kind in _TABLES and item.container == "file" and not item.code else item
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename or chunk.get('path')} was listed but is gone: list the source again") from error


def _file_items(chunk: Chunk) -> Iterator[Item]:
    root, entries = str(chunk["root"]), chunk["items"]
    assert isinstance(entries, list)
    for entry in entries:
        assert isinstance(entry, dict)
        name, beside = str(entry["path"]), entry.get("sidecars", [])
        assert isinstance(beside, list)
        path = os.path.join(root, name)
        caption, fields = _sidecars([os.path.join(root, str(one)) for one in beside])
        yield Item(path, "file", clean_text(name), group_of(root, path, is_container=False), caption=caption, fields=fields)


def _with_sidecars(item: Item) -> Item:
    """Return an item that a table names with what stands beside its file; the table's own word goes first."""
    caption, fields = _sidecars([path for path in sidecar_names(item.path) if os.path.isfile(path)])
    return replace(item, caption=item.caption or caption, fields={**fields, **item.fields})


def _sidecars(paths: list[str]) -> tuple[str | None, dict[str, Json]]:
    caption: str | None = None
    fields: dict[str, Json] = {}
    for path in paths:
        try:
            with open(path, "rb") as file:
                encoded = file.read(_SIDECAR_BYTES)
        except OSError as error:
            fields["sidecar_unreadable"] = clean_text(str(error))
            continue
        if path.endswith(".json"):
            fields = {**decode_json(encoded), **fields}
        else:
            caption = caption or decode_text(encoded) or None
    return caption or caption_of(fields), fields


def _tar_chunk_items(chunk: Chunk) -> Iterator[Item]:
    path, start, stop = str(chunk["path"]), chunk["start"], chunk["stop"]
    assert isinstance(start, int) and (stop is None or isinstance(stop, int))
    yield from tar_items(path, group=group_of(str(chunk["root"]), path, is_container=True), start=start, stop=stop)


def _unreadable_item(chunk: Chunk) -> Iterator[Item]:
    path, root = str(chunk["path"]), str(chunk["root"])
    key, group = clean_text(os.path.relpath(path, root)), group_of(root, path, is_container=True)
    code: FailureCode = "missing" if chunk.get("code") == "missing" else "corrupt"
    yield Item(path, "file", key, group, code=code, detail=clean_text(str(chunk["detail"])))


_KINDS: dict[str, Callable[[Chunk], Iterator[Item]]] = {
    "files": _file_items,
    "tar": _tar_chunk_items,
    "parquet": parquet_items,
    "jsonl": jsonl_items,
    "csv": csv_items,
    "unreadable": _unreadable_item,
}
_TABLES = ("parquet", "jsonl", "csv")


@dataclass(frozen=True)
class _Judged:
    id: str
    length: int | None
    header: ImageHeader | None = None
    code: FailureCode | None = None
    detail: str | None = None


def _row(item: Item, readers: Readers, judge: Judge, policy: DecodePolicy) -> dict[str, object]:
    judged = _judged(item, readers, judge, policy)
    header = judged.header
    exif: dict[str, Json] = {"exif": dict(header.exif)} if header and header.exif and "exif" not in item.fields else {}
    return {
        "id": judged.id,
        "uri": path_to_uri(item.path),
        "container": item.container,
        "member": item.member,
        "offset": item.offset,
        "length": judged.length,
        "key": item.key,
        "group": item.group,
        "format": header.format if header else None,
        "width": header.width_px if header else None,
        "height": header.height_px if header else None,
        "caption": item.caption,
        "metadata": clean_text(json.dumps({**item.fields, **exif}, ensure_ascii=False)),
        "flags": [*(header.flags if header else ()), *item.flags],
        "error": judged.code,
        "error_detail": clean_text(judged.detail) if judged.detail else None,
    }


def _judged(item: Item, readers: Readers, judge: Judge, policy: DecodePolicy) -> _Judged:
    """Return the image's id and header, or its id and why it has none."""
    encoded: bytes | None = None
    try:
        item = _located(item)
        if item.length is None or (item.code and not item.length):
            return _Judged(_text_id(item), item.length, code=item.code or "missing", detail=item.detail)
        if item.length > policy.max_encoded_bytes:
            limit = f"{item.length} bytes, at most {policy.max_encoded_bytes} allowed"
            return _Judged(_range_id(item), item.length, code=item.code or "too_large", detail=item.detail or limit)
        encoded = _read(item, readers)
    except OSError as error:
        return _Judged(_text_id(item), None, code="missing", detail=f"cannot be read: {error.strerror or error}")
    image_id = _digest_id(hashlib.sha256(encoded))
    if item.code:
        return _Judged(image_id, len(encoded), code=item.code, detail=item.detail)
    try:
        return _Judged(image_id, len(encoded), judge(encoded))
    except DecodeError as error:
        return _Judged(image_id, len(encoded), code=error.code, detail=error.detail)
    except Exception as error:  # the per-image boundary: whatever a decoder raises on one file must not end the part
        return _Judged(image_id, len(encoded), code="corrupt", detail=f"{type(error).__name__}: {error}")


def _located(item: Item) -> Item:
    """Return `item` with the length of its file; pipes and devices are refused, for reading them may never end."""
    if item.length is not None or item.code == "missing":
        return item
    status = os.stat(item.path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "not a regular file")
    return replace(item, length=status.st_size)


def _read(item: Item, readers: Readers) -> bytes:
    if item.encoded is not None:
        return item.encoded
    return readers.read(path_to_uri(item.path), item.container, item.member, item.offset, item.length)


def _text_id(item: Item) -> str:
    """Return the id of an image without bytes: the hash of its address instead."""
    address = path_to_uri(item.path) if item.container == "file" and item.offset == 0 else _address(item)
    return _digest_id(hashlib.sha256(address.encode()))


def _address(item: Item) -> str:
    return f"{path_to_uri(item.path)}#{item.member or item.key}#{item.offset}"


def _range_id(item: Item) -> str:
    """Return the id of bytes too many to hold, hashed in blocks."""
    if item.encoded is not None:
        return _digest_id(hashlib.sha256(item.encoded))
    digest, left = hashlib.sha256(), item.length or 0
    with open(item.path, "rb") as file:
        file.seek(item.offset or 0)
        while left and (block := file.read(min(left, _BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
    return _digest_id(digest)


def _digest_id(digest: "hashlib._Hash") -> str:
    return digest.hexdigest()[:32]
