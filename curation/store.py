"""One small interface over where a run lives: keys are relative POSIX paths, values are bytes.

A local folder, or an object store (curation/object_store.py) that answers the same calls. Nothing is ever seen half-written: a
put goes to a temporary name in the same folder, is flushed and renamed.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from curation.errors import AlreadyExists
from curation.object_store import ObjectStore, checked_key


class Store(Protocol):
    """Where tables, commit records and shards are kept."""

    def get(self, key: str) -> bytes:
        """Return the bytes at `key`; raises FileNotFoundError."""

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; raises FileNotFoundError, EOFError when the value is shorter."""

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of several (offset, length) ranges, in their order; raises as `get_range` does."""

    def put(self, key: str, value: bytes) -> None:
        """Write `value` at `key`, replacing what was there, all or nothing."""

    def put_file(self, key: str, path: Path) -> None:
        """Move a finished local file to `key`, all or nothing."""

    def create(self, key: str, value: bytes) -> None:
        """Write `value` at `key` only if nothing is there; raises AlreadyExists."""

    def publish(self, source: str, target: str) -> None:
        """Make the value at `source` appear at `target` instead, all or nothing."""

    def delete(self, key: str) -> None:
        """Remove `key`; silent when it is not there."""

    def exists(self, key: str) -> bool:
        """Say whether `key` holds a value."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below the folder `prefix`, sorted."""

    def sha256(self, key: str) -> tuple[str, int]:
        """Return the sha256 in hex and the number of bytes of the value at `key`."""


def open_store(root: str | Path) -> Store:
    """Return the store at `root`: a folder, or a URL that begins with s3://, gs://, az:// or, to be read only, http(s)://.

    Raises ConfigError for another kind of URL.
    """
    return ObjectStore(root) if isinstance(root, str) and "://" in root else LocalStore(root)


class LocalStore:
    """A folder on a local or shared file system."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()

    def path(self, key: str) -> Path:
        """Return the local path of `key`; raises ValueError when it would leave the root."""
        return self.root / checked_key(key)

    def get(self, key: str) -> bytes:
        """Return the bytes at `key`."""
        return self.path(key).read_bytes()

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`."""
        return self.get_ranges(key, [(offset, length)])[0]

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several (offset, length) ranges of one file."""
        with self.path(key).open("rb", buffering=0) as file:
            values = [os.pread(file.fileno(), length, offset) for offset, length in ranges]
        for (offset, length), value in zip(ranges, values, strict=True):
            if len(value) != length:
                raise EOFError(f"{key}: wanted {length} bytes at {offset}, found {len(value)}")
        return values

    def put(self, key: str, value: bytes) -> None:
        """Write `value` at `key` through a temporary file."""
        self.put_file(key, self._temporary(key, value))

    def put_file(self, key: str, path: Path) -> None:
        """Rename a finished local file of the same file system to `key`."""
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(path, target)

    def create(self, key: str, value: bytes) -> None:
        """Link a finished temporary file to `key`: of two writers exactly one succeeds."""
        temporary = self._temporary(key, value)
        try:
            os.link(temporary, self.path(key))
        except FileExistsError:
            raise AlreadyExists(f"{key} exists") from None
        finally:
            temporary.unlink()

    def publish(self, source: str, target: str) -> None:
        """Rename `source` to `target`."""
        self.path(target).parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.path(source), self.path(target))

    def delete(self, key: str) -> None:
        """Unlink `key` if it is there."""
        self.path(key).unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        """Say whether `key` is a file."""
        return self.path(key).is_file()

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the files below `prefix`, sorted."""
        found = (path for path in self.path(prefix).rglob("*") if path.is_file())
        yield from sorted(path.relative_to(self.root).as_posix() for path in found)

    def sha256(self, key: str) -> tuple[str, int]:
        """Hash the file at `key` in blocks."""
        with self.path(key).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return digest.hexdigest(), file.tell()

    def _temporary(self, key: str, value: bytes) -> Path:
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
        with temporary.open("xb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        return temporary
