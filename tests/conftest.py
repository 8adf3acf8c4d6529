"""Fixtures: data on disk, and the one shared Ray."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[dict[str, float]]:
    """One local Ray for the whole test run; yields its resources."""
    from jobs.cluster import session

    with session(address="local", num_cpus=2, object_store_mb=100) as resources:
        yield resources


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real photographs, copies, a text page, small pictures, sidecars and broken files."""
    from PIL import Image
    from skimage import data

    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        picture = Image.fromarray(getattr(data, name)())
        picture.thumbnail((400, 400))
        picture.save(folder / f"{name}.jpg", quality=92)
        (folder / f"{name}.txt").write_text(f"a photograph called {name}\n")
    (folder / "copies").mkdir()
    with Image.open(folder / "coffee.jpg") as coffee:
        coffee.resize((coffee.width // 2, coffee.height // 2)).save(folder / "copies" / "coffee-small.jpg", quality=70)
        coffee.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "copies" / "coffee-mirror.png")
    (folder / "copies" / "same.jpg").write_bytes((folder / "rocket.jpg").read_bytes())
    (folder / "broken").mkdir()
    (folder / "broken" / "empty.jpg").write_bytes(b"")
    (folder / "broken" / "cut.jpg").write_bytes((folder / "astronaut.jpg").read_bytes()[:9000])
    (folder / "broken" / "page.jpg").write_text("<!doctype html><title>404</title>")
    return folder
