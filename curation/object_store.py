"""The calls of a Store answered by an object store: S3 and what speaks its protocol, Google Cloud Storage, Azure, plain HTTP.

obstore does the work: requests are retried with growing pauses on its side, near byte ranges of one object are fetched together,
large objects go up in parts. Nothing is ever seen half-written, for an object appears when its upload is complete; `create` is a
put under If-None-Match, so of two writers one wins.

Credentials and endpoint come from the environment, as everywhere: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION,
AWS_ENDPOINT_URL (MinIO, Ceph, R2; http:// only where this variable says so), AWS_SKIP_SIGNATURE=true for public buckets,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import from_url

from curation.errors import AlreadyExists, ConfigError, SourceError

SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss", "http", "https")
"""What a URL of a store may begin with."""

BLOCK_BYTES = 8 << 20
"""How much of an object is held when it is hashed."""


class ObjectStore:
    """A prefix of a bucket, or of a web server, which can only be read."""

    def __init__(self, url: str, *, retry_seconds: float = 180.0) -> None:
        """Open `url`, for example s3://bucket/prefix; nothing is asked of the server yet.

        retry_seconds: a request is given up after so long. Raises ConfigError for a URL of another kind.
        """
        self.url = url.rstrip("/")
        scheme, host = urlsplit(self.url)[:2]
        if scheme not in SCHEMES or not host:
            raise ConfigError(f"{url} is no store; write a folder, or a URL that begins with {', '.join(SCHEMES)}, and a bucket")
        self._readonly = scheme in ("http", "https")
        plain = scheme == "http" or os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        try:
            self._store = from_url(
                self.url,
                client_options={"allow_http": plain},
                retry_config={"retry_timeout": timedelta(seconds=retry_seconds)},
            )
        except (BaseError, ValueError) as error:
            raise ConfigError(f"{url} cannot be opened: {_first_line(error)}") from error

    def get(self, key: str) -> bytes:
        """Return the bytes at `key`."""
        with self._errors(key):
            return bytes(obstore.get(self._store, checked_key(key)).bytes())

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`."""
        return self.get_ranges(key, [(offset, length)])[0]

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several (offset, length) ranges of one object; near ones cost one request."""
        wanted = [(offset, length) for offset, length in ranges if length]
        with self._errors(key):
            found = obstore.get_ranges(
                self._store, checked_key(key), starts=[o for o, _ in wanted], lengths=[n for _, n in wanted]
            )
        parts = iter([bytes(one) for one in found])
        values = [next(parts) if length else b"" for _, length in ranges]
        for (offset, length), value in zip(ranges, values, strict=True):
            if len(value) != length:
                raise EOFError(f"{self.url}/{key}: wanted {length} bytes at {offset}, found {len(value)}")
        return values

    def put(self, key: str, value: bytes) -> None:
        """Upload `value` to `key`."""
        with self._errors(key, write=True):
            obstore.put(self._store, checked_key(key), value)

    def put_file(self, key: str, path: Path) -> None:
        """Upload a finished local file, in parts when it is large, then remove it here."""
        with self._errors(key, write=True):
            obstore.put(self._store, checked_key(key), path)
        path.unlink()

    def create(self, key: str, value: bytes) -> None:
        """Upload `value` on condition that nothing is at `key`: of two writers exactly one succeeds."""
        with self._errors(key, write=True):
            obstore.put(self._store, checked_key(key), value, mode="create")

    def publish(self, source: str, target: str) -> None:
        """Copy `source` to `target` on the server, then delete `source`."""
        with self._errors(source, write=True):
            obstore.rename(self._store, checked_key(source), checked_key(target))

    def delete(self, key: str) -> None:
        """Delete `key` if it is there."""
        try:
            with self._errors(key, write=True):
                obstore.delete(self._store, checked_key(key))
        except FileNotFoundError:  # S3 says nothing, Google and Azure do
            return

    def exists(self, key: str) -> bool:
        """Ask for the head of `key`."""
        try:
            with self._errors(key):
                obstore.head(self._store, checked_key(key))
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below the folder `prefix`, sorted; "" is the whole store."""
        if self._readonly:
            raise SourceError(f"{self.url} is a web server and cannot be listed; give s3://, gs://, az:// or a folder")
        with self._errors(prefix):
            pages = obstore.list(self._store, prefix=checked_key(prefix) or None)
            yield from sorted(str(one["path"]) for page in pages for one in page)

    def sha256(self, key: str) -> tuple[str, int]:
        """Hash the object at `key` as it arrives."""
        digest, size = hashlib.sha256(), 0
        with self._errors(key):
            for block in obstore.get(self._store, checked_key(key)).stream(min_chunk_size=BLOCK_BYTES):
                digest.update(block)
                size += len(block)
        return digest.hexdigest(), size

    @contextmanager
    def _errors(self, key: str, *, write: bool = False) -> Iterator[None]:
        """Turn what the library raises into our errors, of one line each."""
        if write and self._readonly:
            raise SourceError(f"{self.url} is a web server and can only be read")
        name = f"{self.url}/{key}"
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{name} is not there: {_first_line(error)}") from None
        except AlreadyExistsError:
            raise AlreadyExists(f"{name} exists") from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise SourceError(f"{name} is refused: {_first_line(error)}; are the credentials in the environment right?") from None
        except BaseError as error:
            if "416 " in str(error):
                raise EOFError(f"{name} is shorter than what is asked of it: {_first_line(error)}") from None
            raise SourceError(f"{name} cannot be reached: {_first_line(error)}") from None


def checked_key(key: str) -> str:
    """Return `key`; raises ValueError when it would leave the root of its store."""
    if key.startswith("/") or ".." in key.split("/"):
        raise ValueError(f"key {key!r} leaves the store")
    return key


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].partition(": <?xml")[0].strip()
