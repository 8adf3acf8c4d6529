"""WebDataset tars as byte ranges: members are grouped into samples by key and never extracted.

A sample is a run of neighbouring members whose names agree up to the first dot of the last path component. Member names are
only text to us, so `..` and absolute names cannot escape; they are flagged. Links and devices are error rows. A tar that ends
early yields every sample before the cut and one `truncated` row for the cut; a damaged header costs its own member only.
"""

import os
import tarfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from curation.errors import FailureCode, SourceError
from curation.items import IMAGE_SUFFIXES, Item, Json, caption_of, clean_text, decode_json, decode_text

_CAPTION_SUFFIXES = ("txt", "caption", "text")
_TEXT_SUFFIXES = (*_CAPTION_SUFFIXES, "json", "cls", "url")
_TEXT_BYTES = 1 << 20  # longer text members are named, not read
_NAME_BYTES = 255
_SCAN_BYTES = 1 << 20


@dataclass(frozen=True)
class Sample:
    """Neighbouring members with one key; `start` and `stop` are byte offsets of headers; `cut` says how the tar broke off."""

    key: str
    members: tuple[tarfile.TarInfo, ...]
    start: int
    stop: int
    cut: str | None = None


def check_tar(path: str) -> None:
    """Raise SourceError when `path` cannot be a plain tar."""
    with open(path, "rb") as file:
        head = file.read(512)
    if head[:2] == b"\x1f\x8b" or head[:3] == b"BZh" or head[:6] == b"\xfd7zXZ\0" or head[:4] == b"\x28\xb5\x2f\xfd":
        raise SourceError(f"{path} is compressed; images are read as byte ranges, so unpack it to a plain .tar first")
    if len(head) == 512 and head.count(0) < 512 and head[257:262] != b"ustar" and not _has_checksum(head):
        raise SourceError(f"{path} is not a tar file")


def split_name(name: str) -> tuple[str, str]:
    """Return (key, suffix) of a member name by WebDataset's rule: "a.b/c.left.jpg" is ("a.b/c", "left.jpg")."""
    folder, slash, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return folder + slash + stem, suffix.lower()


def samples(path: str, *, start: int = 0, stop: int | None = None) -> Iterator[Sample]:
    """Yield the samples whose headers lie in the byte range; where the tar is broken stands a sample without members."""
    key, members, begin, position = "", list[tarfile.TarInfo](), start, start
    for member, after in _members(path, start, stop):
        if isinstance(member, str) or (members and split_name(member.name)[0] != key):
            if members:
                yield Sample(key, tuple(members), begin, position)
            members, begin = [], position
        if isinstance(member, str):
            yield Sample("", (), after, after, member)
            position = begin = after
            continue
        key, position = split_name(member.name)[0], after
        members.append(member)
    if members:
        yield Sample(key, tuple(members), begin, position)


def image_members(sample: Sample) -> list[tarfile.TarInfo]:
    """Return the members of a sample whose names claim an image, whatever they are in truth."""
    return [member for member in sample.members if _last_suffix(member) in IMAGE_SUFFIXES]


def tar_items(path: str, *, group: str, start: int = 0, stop: int | None = None) -> Iterator[Item]:
    """Yield the images of the samples in a byte range of a tar, with their text members as caption and fields."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        for sample in samples(path, start=start, stop=stop):
            if sample.cut is not None:
                yield _cut_item(path, group, sample, size)
                continue
            images = image_members(sample)
            for member in images:
                fields, caption = _texts(file.fileno(), sample, member)
                yield _item(path, member, sample, group, size, fields, caption, shared=len(images) > 1)


def _cut_item(path: str, group: str, sample: Sample, file_bytes: int) -> Item:
    key, offset = f"cut-at-byte-{sample.start}", min(sample.start, file_bytes)
    return Item(path, "tar", key, group, offset=offset, length=0, code="truncated", detail=sample.cut)


def _item(
    path: str,
    member: tarfile.TarInfo,
    sample: Sample,
    group: str,
    file_bytes: int,
    fields: dict[str, Json],
    caption: str | None,
    *,
    shared: bool,
) -> Item:
    flags = [name for name, present in (("unsafe_name", _is_unsafe(member.name)), ("shared_key", shared)) if present]
    item = Item(
        path,
        "tar",
        clean_text(sample.key),
        group,
        member=clean_text(member.name),
        offset=member.offset_data,
        length=min(member.size, max(0, file_bytes - member.offset_data)),
        caption=caption,
        fields=fields,
        flags=tuple(flags),
    )
    if not member.isreg() or member.issparse():
        kind = "a sparse file" if member.issparse() else f"no regular file (type {member.type!r})"
        return _failed(item, "unsupported_format", f"tar member is {kind}")
    if member.offset_data + member.size > file_bytes:
        return _failed(item, "truncated", f"the tar ends inside this member: {item.length} of {member.size} bytes")
    return item


def _failed(item: Item, code: FailureCode, detail: str) -> Item:
    length = item.length if code == "truncated" else 0
    return replace(item, code=code, detail=detail, length=length)


def _texts(descriptor: int, sample: Sample, image: tarfile.TarInfo) -> tuple[dict[str, Json], str | None]:
    """Return an image's text members: the JSON object's fields, other texts under their suffix, and the caption.

    In a sample of "x.left.jpg" and "x.right.jpg", "x.left.txt" and "x.txt" are of the first image, the nearer name first; texts
    of no image ("x.en.txt") are of every one, under their suffix.
    """
    fields: dict[str, Json] = {}
    caption: str | None = None
    others: list[Json] = []
    own = _stem(image)
    stems = {_stem(member) for member in image_members(sample)}
    for member in sorted(sample.members, key=lambda one: -len(_stem(one))):
        suffix = split_name(member.name)[1]
        kind = suffix.rpartition(".")[2]
        if _last_suffix(member) in IMAGE_SUFFIXES or member.isdir():
            continue
        is_own = _covers(_stem(member), own)
        if not is_own and any(_covers(_stem(member), stem) for stem in stems):
            continue  # another image's
        if kind not in _TEXT_SUFFIXES or not member.isreg() or member.size > _TEXT_BYTES:
            others.append(clean_text(suffix))
            continue
        encoded = os.pread(descriptor, member.size, member.offset_data)
        if is_own and kind == "json":
            fields = {**decode_json(encoded), **fields}
        elif is_own and kind in _CAPTION_SUFFIXES and caption is None:
            caption = decode_text(encoded) or None
        else:
            fields[clean_text(suffix)] = dict(decode_json(encoded)) if kind == "json" else decode_text(encoded)
    if others:
        fields["other_members"] = others
    return fields, caption or caption_of(fields)


def _stem(member: tarfile.TarInfo) -> str:
    return split_name(member.name)[1].rpartition(".")[0]


def _covers(stem: str, image: str) -> bool:
    """Say whether a text's stem is the image's or begins it at a dot."""
    return f"{image}.".startswith(f"{stem}.") if stem else True


def _members(path: str, start: int, stop: int | None) -> Iterator[tuple[tarfile.TarInfo | str, int]]:
    """Yield (header, byte after the member); where the tar is broken, (reason, byte of the break) stands instead.

    After a damaged header reading goes on at the next valid one, so that one bad block does not cost the rest of the tar.
    """
    with open(path, "rb") as file:
        position: int | None = start
        while position is not None and (stop is None or position < stop):
            position = yield from _run(file, position, stop, os.fstat(file.fileno()).st_size)


def _run(
    file: BinaryIO, start: int, stop: int | None, file_bytes: int
) -> Generator[tuple[tarfile.TarInfo | str, int], None, int | None]:
    """Yield members up to the end or the next break; returns where to go on, None at the end."""
    position, shows_cut, reason = start, False, "no valid header or end marker"
    file.seek(start)
    try:
        tar = tarfile.TarFile(fileobj=file)
        while (stop is None or position < stop) and (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every header
            position = tar.offset
            shows_cut = _last_suffix(member) in IMAGE_SUFFIXES and member.offset_data + member.size > file_bytes
            if not member.isdir() and not _is_hidden(member.name):
                yield member, position
        if (stop is not None and position >= stop) or _is_zero(file, position):
            return None
    except (tarfile.TarError, ValueError, OverflowError) as error:
        reason = str(error)
    going_on = _next_header(file, position + 512)
    if not shows_cut:  # otherwise the last member's own row says it
        lost = "members are lost" if going_on is None else f"members up to byte {going_on} are lost"
        yield f"the tar breaks off at byte {min(position, file_bytes)} ({reason}): {lost}", position
    return going_on


def _is_zero(file: BinaryIO, position: int) -> bool:
    return os.pread(file.fileno(), 512, position) == bytes(512)


def _next_header(file: BinaryIO, position: int) -> int | None:
    """Return the first block from `position` on that is a valid ustar header, or None."""
    while block := os.pread(file.fileno(), _SCAN_BYTES, position):
        for start in range(0, len(block), 512):
            if block[start + 257 : start + 262] == b"ustar" and _has_checksum(block[start : start + 512]):
                return position + start
        position += len(block)
    return None


def _is_hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".") or "__MACOSX" in name.split("/")


def _last_suffix(member: tarfile.TarInfo) -> str:
    return "" if member.isdir() else "." + split_name(member.name)[1].rpartition(".")[2]


def _is_unsafe(name: str) -> bool:
    too_long = len(name.encode("utf-8", "surrogateescape")) > _NAME_BYTES
    return name.startswith("/") or ".." in name.split("/") or "\0" in name or too_long


def _has_checksum(head: bytes) -> bool:
    try:
        stored = int(head[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        return False
    return stored == sum(head[:148]) + 8 * 32 + sum(head[156:])
