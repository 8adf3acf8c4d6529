"""The local store: exclusive creation, whole writes, nothing outside the root."""

from multiprocessing import get_context
from pathlib import Path

import pytest

from curation.errors import AlreadyExists
from curation.store import LocalStore


def try_create(root: str, number: int) -> bool:
    try:
        LocalStore(root).create("a/commit", str(number).encode())
    except AlreadyExists:
        return False
    return True


def test_of_many_processes_exactly_one_creates(tmp_path: Path) -> None:
    with get_context("spawn").Pool(4) as pool:
        won = pool.starmap(try_create, [(str(tmp_path), number) for number in range(16)])
    assert sum(won) == 1
    assert LocalStore(tmp_path).get("a/commit") == str(won.index(True)).encode()


def test_put_replaces_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("x/y", b"one")
    store.put("x/y", b"two")
    assert store.get("x/y") == b"two"
    assert list(store.list("x")) == ["x/y"]


def test_a_short_range_is_an_error(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("x", b"abcdef")
    assert store.get_range("x", 2, 3) == b"cde"
    with pytest.raises(EOFError, match="wanted 9 bytes"):
        store.get_range("x", 2, 9)


@pytest.mark.parametrize("key", ["../x", "/etc/x", "a/../../x"])
def test_keys_cannot_leave_the_root(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="leaves the store"):
        LocalStore(tmp_path).put(key, b"")
