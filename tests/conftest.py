"""Fixtures: data on disk, and the one shared Ray; and how `pytest -n 2` divides the tests between its workers."""

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

# Hypothesis ends a test whose example takes 0.2 s; beside another worker that says nothing about the code.
settings.register_profile("shared machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")

LONGEST = (
    "test_run", "test_base_run", "test_endpoint_server", "test_parallel", "test_train", "test_demo_data", "test_initial",
    "test_pairs", "test_difference", "test_dump",
)  # fmt: skip
"""Files that start first, after those of the shared Ray, so that no worker begins a long one when the others are done."""


@functools.cache
def unit_of(file: str) -> str:
    """Return what is never divided between workers: a file, or all files that ask for the shared Ray."""
    return "shared_ray" if "shared_ray" in (Path(__file__).parent / Path(file).name).read_text(encoding="utf-8") else file


class Units(LoadScopeScheduling):
    """Hands out whole units: fixtures of a file are made once, and one Ray is started."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Units | None:
    """Replace xdist's division, unless each worker is to run everything."""
    if config.getoption("dist") == "each":
        return None
    config.option.loadscopereorder = False  # the order is ours
    return Units(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long units first in the workers of xdist; a serial run keeps the order of the files."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        file = item.path.stem
        return unit_of(item.path.name) != "shared_ray", LONGEST.index(file) if file in LONGEST else len(LONGEST)

    if hasattr(config, "workerinput"):
        items.sort(key=place)


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[dict[str, float]]:
    """One local Ray for the whole test run; yields its resources."""
    from jobs.cluster import session

    with session(address="local", num_cpus=2, object_store_mb=100) as resources:
        yield resources


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM as in a foreground shell, whatever nohup, a background job or a Ray before has made of them."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        if handler is not None:  # one that was not installed by Python cannot be put back
            signal.signal(number, handler)


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
