"""What a source holds, as chunks of work: a folder of anything, a WebDataset tar, parquet, JSONL or CSV.

Listing reads names, tar headers and parquet footers, never pixels. A chunk is a small JSON object that `curation.ingest.ingest`
turns into one part of IMAGES, on any machine that sees the same paths. Order is that of the sorted relative paths.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from curation.cells import parquet_chunks, parquet_paths
from curation.errors import SourceError
from curation.items import IMAGE_SUFFIXES, Json, is_image_name, sidecar_names
from curation.records import Chunk, NoImages, csv_chunks, csv_items, jsonl_chunks, jsonl_items
from curation.tables import LOCK
from curation.webdataset import check_tar, image_members, samples

Planned: TypeAlias = list[tuple[Chunk, int]]
"""Chunks with the number of rows each will give."""


@dataclass(frozen=True)
class SourceListing:
    """A source cut into chunks.

    chunks: JSON objects in a fixed order, one part of IMAGES each. num_items: rows they will give.
    fingerprint: sha256 in hex over relative path, size and mtime of every file that is read.
    ignored: files left out, by suffix; "special" for pipes, devices and links to nothing that claim no image; "link to a
        folder"; "run folder"; in tars, samples without an image, as "tar:" and the suffix of their first member. Hidden files
        do not count.
    """

    chunks: list[dict[str, Json]]
    fingerprint: str
    num_items: int
    ignored: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Found:
    """A file below the source: absolute path, POSIX path relative to the source, size and mtime; why it cannot be opened."""

    path: str
    relative: str
    size_bytes: int
    mtime_ns: int
    closed: str | None = None

    @property
    def suffix(self) -> str:
        return os.path.splitext(self.relative)[1].lower()


def list_source(source: str, *, part_rows: int = 512) -> SourceListing:
    """Return the chunks of the folder or file `source`, of about `part_rows` images each.

    In a folder, tars and tables are containers of their own; a container or folder that cannot be read becomes one error row,
    and a table without image or path column is ignored. Given as the source itself, all raise.
    Raises SourceError when nothing is there, or `source` is a file of another kind; ValueError for part_rows below 1.
    """
    if part_rows < 1:
        raise ValueError(f"part_rows is {part_rows}, must be at least 1")
    root = os.path.abspath(os.path.expanduser(source))
    if os.path.isdir(root):
        return _list_folder(root, part_rows)
    if "://" in source and not os.path.exists(root):
        raise SourceError(f"source {source} is a URL; only files and folders of this machine are read: mount or copy it first")
    if not os.path.isfile(root):
        raise SourceError(f"source {source} does not exist or is neither a file nor a folder")
    found = _found(root, os.path.basename(root))
    folder = os.path.dirname(root)
    if found.suffix in _CONTAINERS:
        try:
            planned, ignored = _CONTAINERS[found.suffix](root, part_rows)
        except OSError as error:
            raise SourceError(f"source {source} cannot be read: {error.strerror or error}") from error
        return _listing(folder, planned, [found, *_outside(_named(folder, planned), {root})], ignored)
    if is_image_name(root):
        return _listing(folder, list(_file_chunks([(found.relative, [])], part_rows)), [found], {})
    raise SourceError(f"source {source} is neither a folder nor an image nor one of {', '.join(_CONTAINERS)}")


def _listing(root: str, planned: Planned, read: list[_Found], ignored: dict[str, int]) -> SourceListing:
    digest = hashlib.sha256()
    for found in read:
        text = f"{found.relative}\0{found.size_bytes}\0{found.mtime_ns}\n"
        digest.update(text.encode("utf-8", "surrogateescape"))
    chunks = [{**chunk, "root": root} for chunk, _ in planned]
    num_items = sum(rows for _, rows in planned)
    return SourceListing(chunks, digest.hexdigest(), num_items, dict(sorted(ignored.items())))


def _list_folder(root: str, part_rows: int) -> SourceListing:
    files, ignored = _walk(root)
    planned: Planned = []
    used: set[str] = set()  # containers that are read, and the files that tables name
    for found in files:
        if found.closed or found.suffix in _CONTAINERS:
            chunks, skipped = _container_chunks(found, part_rows)
            used |= {found.path} if chunks else set()
            planned += chunks
            ignored.update(skipped)
    named = _named(root, planned)
    used |= named
    items, sidecars = _image_files(files)
    items = [item for item in items if os.path.join(root, item[0]) not in used]
    own = {name for name, _ in items}
    read = [one for one in files if one.path in used or one.relative in sidecars or one.relative in own]
    ignored.update(found.suffix or "no suffix" for found in set(files) - set(read))
    outside = _outside(named, {found.path for found in files})
    return _listing(root, [*_file_chunks(items, part_rows), *planned], [*read, *outside], ignored)


def _container_chunks(found: _Found, part_rows: int) -> tuple[Planned, dict[str, int]]:
    """Return a container's chunks; one chunk of one error row when it is broken, none when it holds no images."""
    try:
        if not found.closed:
            return _CONTAINERS[found.suffix](found.path, part_rows)
        code, detail = "missing", found.closed
    except NoImages:
        return [], {}
    except PermissionError as error:
        code, detail = "missing", f"cannot be read: {error.strerror}"
    except SourceError as error:
        code, detail = "corrupt", str(error)
    return [({"kind": "unreadable", "path": found.path, "code": code, "detail": detail}, 1)], {}


def _named(root: str, planned: Planned) -> set[str]:
    """Return the absolute paths of the files that the rows of tables name."""
    readers = {"jsonl": jsonl_items, "csv": csv_items}
    names: set[str] = set()
    for chunk, _ in planned:
        rooted: Chunk = {**chunk, "root": root}
        if chunk["kind"] == "parquet":
            names.update(parquet_paths(rooted))
        elif chunk["kind"] in readers:
            names.update(item.path for item in readers[str(chunk["kind"])](rooted))
    return names


def _outside(named: set[str], known: set[str]) -> list[_Found]:
    """Return the existing files that tables name and a walk has not met, so that the fingerprint covers them."""
    return [_found(name, name) for name in sorted(named - known) if os.path.isfile(name)]


def _walk(root: str) -> tuple[list[_Found], Counter[str]]:
    """Return the visible files below `root`, sorted by relative path, and what was left out: links to folders, runs of ours.

    A folder that cannot be listed, and a pipe, device or broken link whose name claims images, is there as a closed file.
    Raises SourceError when `root` itself cannot be listed.
    """
    found: list[_Found] = []
    ignored: Counter[str] = Counter()
    for folder, folders, names in os.walk(root, onerror=lambda error: found.append(_closed_folder(error, root))):
        if LOCK in names and folder != root:
            ignored["run folder"] += 1
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        ignored["link to a folder"] += sum(os.path.islink(os.path.join(folder, name)) for name in folders)
        for path in (os.path.join(folder, name) for name in names if not name.startswith(".") and name != LOCK):
            relative = os.path.relpath(path, root).replace(os.sep, "/")
            if os.path.isfile(path):
                found.append(_found(path, relative))
            elif os.path.splitext(path)[1].lower() in {*_CONTAINERS, *IMAGE_SUFFIXES}:
                found.append(_Found(path, relative, 0, 0, _why_closed(path)))
            else:
                ignored["special"] += 1
    return sorted(found, key=lambda one: os.fsencode(one.relative)), +ignored


def _closed_folder(error: OSError, root: str) -> _Found:
    path = str(error.filename)
    if path == root:
        raise SourceError(f"source {root} cannot be listed: {error.strerror}") from error
    detail = f"the folder cannot be listed, so what it holds is unknown: {error.strerror}"
    return _Found(path, os.path.relpath(path, root).replace(os.sep, "/"), 0, 0, detail)


def _why_closed(path: str) -> str:
    if os.path.islink(path) and not os.path.exists(path):
        return f"the link leads to no file: {os.readlink(path)}"
    return "not a regular file"


def _found(path: str, relative: str) -> _Found:
    status = os.stat(path)
    return _Found(path, relative, status.st_size, status.st_mtime_ns)


def _image_files(files: list[_Found]) -> tuple[list[tuple[str, list[str]]], set[str]]:
    """Return (relative path, its sidecars) for every image file, and the set of all sidecars."""
    names = {found.relative for found in files}
    images = [found.relative for found in files if not found.closed and is_image_name(found.relative)]
    items = [(name, [beside for beside in sidecar_names(name) if beside in names]) for name in images]
    return items, {name for _, beside in items for name in beside}


def _file_chunks(items: list[tuple[str, list[str]]], part_rows: int) -> Iterator[tuple[Chunk, int]]:
    for start in range(0, len(items), part_rows):
        part = items[start : start + part_rows]
        rows: list[Json] = [{"path": name, "sidecars": list(beside)} if beside else {"path": name} for name, beside in part]
        yield {"kind": "files", "items": rows}, len(part)


def _tar_chunks(path: str, part_rows: int) -> tuple[Planned, dict[str, int]]:
    check_tar(path)
    ignored: Counter[str] = Counter()
    chunks: Planned = []
    start = rows = 0
    for sample in samples(path):
        images = len(image_members(sample)) + (sample.cut is not None)
        if not images:
            ignored["tar:" + os.path.splitext(sample.members[0].name)[1].lower()] += 1
        if rows and rows + images > part_rows:
            chunks.append(({"kind": "tar", "path": path, "start": start, "stop": sample.start}, rows))
            start, rows = sample.start, 0
        rows += images
    if rows:
        chunks.append(({"kind": "tar", "path": path, "start": start, "stop": None}, rows))
    return chunks, ignored


_CONTAINERS: dict[str, Callable[[str, int], tuple[Planned, dict[str, int]]]] = {
    ".tar": _tar_chunks,
    ".parquet": lambda path, part_rows: (parquet_chunks(path, part_rows=part_rows), {}),
    ".jsonl": lambda path, part_rows: (jsonl_chunks(path, part_rows=part_rows), {}),
    ".csv": lambda path, part_rows: (csv_chunks(path, part_rows=part_rows), {}),
}
"""How a container file of each suffix is cut into chunks."""
