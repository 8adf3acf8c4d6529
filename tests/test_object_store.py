"""The object store against a real S3 server on loopback, beside the local store where both must agree."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from object_server import object_server

from curation.errors import AlreadyExists, ConfigError, SourceError
from curation.object_store import ObjectStore
from curation.store import LocalStore, Store, open_store


class Ranges(SimpleHTTPRequestHandler):
    """The files of a folder, by byte range where one is asked for."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if "Range" not in self.headers:
            return super().do_GET()
        first, last = (int(number) for number in self.headers["Range"].removeprefix("bytes=").split("-"))
        whole = path.read_bytes()
        part = whole[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        self.wfile.write(part)


class Busy(Ranges):
    """The same, but every file is refused twice with 503 before it is served."""

    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        if self.asked[self.path] <= 2:
            return self.send_error(503, "Slow Down")
        super().do_GET()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_server("loom") as url:
        yield url


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(tmp_path)
    return open_store(f"{request.getfixturevalue('bucket')}/{request.node.name}")


def test_both_stores_answer_alike(store: Store, tmp_path: Path) -> None:
    store.put("a/one", b"abcdefgh")
    store.put("a/b/two", b"2")
    store.put("ab", b"3")
    assert store.get("a/one") == b"abcdefgh"
    assert list(store.list("a")) == ["a/b/two", "a/one"]
    assert store.exists("ab") and not store.exists("a")
    assert store.sha256("a/one") == (hashlib.sha256(b"abcdefgh").hexdigest(), 8)
    store.publish("a/one", "c/three")
    assert store.get("c/three") == b"abcdefgh" and not store.exists("a/one")
    store.delete("ab")
    store.delete("ab")
    assert list(store.list("")) == ["a/b/two", "c/three"]
    path = tmp_path / "made"
    path.write_bytes(b"file")
    store.put_file("d", path)
    assert store.get("d") == b"file" and not path.exists()


def test_ranges_come_back_in_their_order_and_short_ones_are_errors(store: Store) -> None:
    store.put("x", bytes(range(200)))
    assert store.get_range("x", 2, 3) == bytes([2, 3, 4])
    ranges = [(150, 10), (0, 2), (7, 0), (1, 4)]
    assert store.get_ranges("x", ranges) == [bytes(range(o, o + n)) for o, n in ranges]
    for offset in (195, 300):
        with pytest.raises(EOFError, match="x"):
            store.get_range("x", offset, 9)
    with pytest.raises(FileNotFoundError):
        store.get_range("y", 0, 1)
    with pytest.raises(FileNotFoundError):
        store.get("y")


def test_of_many_writers_exactly_one_creates(store: Store) -> None:
    def attempt(number: int) -> bool:
        try:
            store.create("a/commit", str(number).encode())
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert sum(won) == 1
    assert store.get("a/commit") == str(won.index(True)).encode()


@pytest.mark.parametrize("key", ["../x", "/etc/x", "a/../../x"])
def test_keys_cannot_leave_the_prefix(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="leaves the store"):
        store.put(key, b"")


def test_a_large_object_goes_up_in_parts_and_is_hashed_as_it_arrives(bucket: str, tmp_path: Path) -> None:
    value = hashlib.shake_256(b"large").digest(12 << 20)
    path = tmp_path / "large"
    path.write_bytes(value)
    store = open_store(bucket)
    store.put_file("large", path)
    assert store.sha256("large") == (hashlib.sha256(value).hexdigest(), len(value))
    assert store.get_ranges("large", [(11 << 20, 5), (3, 5)]) == [value[11 << 20 : (11 << 20) + 5], value[3:8]]


def test_what_goes_wrong_is_one_line_that_names_the_object(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"ftp://x/y is no store; write a folder, or a URL that begins with s3"):
        open_store("ftp://x/y")
    with pytest.raises(FileNotFoundError, match=r"^s3://none/a is not there"):
        open_store("s3://none").get("a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens on the discard port
    with pytest.raises(SourceError, match=r"^s3://loom/a cannot be reached: [^\n]*$"):
        ObjectStore("s3://loom", retry_seconds=0.2).get("a")


def test_a_web_server_is_read_by_range_and_never_written(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abcdefgh")
    handler = partial(Ranges, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        store = open_store(f"http://127.0.0.1:{server.server_port}")
        assert store.get("x") == b"abcdefgh"
        assert store.get_range("x", 2, 3) == b"cde"
        with pytest.raises(SourceError, match="can only be read"):
            store.put("y", b"")
        with pytest.raises(SourceError, match="cannot be listed"):
            list(store.list(""))
        server.shutdown()


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abcdefgh")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Busy, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        assert open_store(f"http://127.0.0.1:{server.server_port}").get_range("x", 2, 3) == b"cde"
        server.shutdown()
    assert Busy.asked["/x"] == 3


def test_a_path_without_scheme_is_a_folder(tmp_path: Path) -> None:
    assert isinstance(open_store(tmp_path), LocalStore)
    assert isinstance(open_store(str(tmp_path)), LocalStore)
