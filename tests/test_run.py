"""The main job on real pictures, through the command line: results, ledger, resume, and independence of the worker count."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curation.tables import Run
from jobs.__main__ import app

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def command(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([sys.executable, "-m", "jobs", *arguments], capture_output=True, text=True, timeout=600)
    if check and result.returncode:
        raise AssertionError(f"{arguments} exited {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def told(*arguments: str) -> str:
    """Return what a verb that starts no Ray says, without a process of its own."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def settings(folder: Path) -> str:
    path = folder / "run.yaml"
    path.write_text("ingest: {part_rows: 3}\nverify: {pairs_per_item: 8}\nknn: {k: 5}\nshard: {max_samples: 3}\n")
    return str(path)


def content(run: Path) -> dict[str, str]:
    """Return the sha256 of every file that is a result: parts and shards, not records of time."""
    files = sorted(path for path in run.rglob("*") if path.suffix in (".parquet", ".tar") and "/_" not in path.as_posix())
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    command("run", settings(folder), "--source", str(photos), "--out", str(folder / "run"), "--workers", "2")
    return folder / "run"


def test_the_balance_adds_up(finished: Path) -> None:
    ledger = json.loads(told("status", str(finished), "--json"))["balance"]
    assert ledger["adds_up"]
    assert ledger["in"] == 10
    assert ledger["failed"] == {"empty": 1, "not_an_image": 1, "truncated": 1}
    assert ledger["dropped"] == {"duplicate": 3}
    assert ledger["kept"] == 4


def test_copies_name_their_original_as_keeper(finished: Path) -> None:
    run = Run(finished)
    rows = dict(zip(run.read("images", ["key"])["key"].to_pylist(), run.read("duplicates").to_pylist(), strict=True))
    for copy, original in (("coffee-small.jpg", "coffee.jpg"), ("coffee-mirror.png", "coffee.jpg"), ("same.jpg", "rocket.jpg")):
        assert rows[f"copies/{copy}"]["keeper"] == rows[original]["id"]
        assert json.loads(rows[f"copies/{copy}"]["evidence"])


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("astronaut.jpg", "kept, in shard-"),
        ("coffee-small.jpg", "dropped: duplicate (copy of "),
        ("broken/cut.jpg", "failed: truncated (the JPEG has no end marker"),
    ],
)
def test_explain_tells_the_story(finished: Path, name: str, verdict: str) -> None:
    assert verdict in told("explain", str(finished), name)
    (story,) = json.loads(told("explain", str(finished), name, "--json"))
    assert story["verdict"].startswith(verdict.split(",")[0].split("(")[0].strip())


def test_explain_of_an_unknown_name_offers_near_ones(finished: Path) -> None:
    result = command("explain", str(finished), "astronaught.jpg", check=False)
    assert result.returncode == 2
    assert "did you mean astronaut.jpg" in result.stderr


def test_validate_finds_a_sound_run_sound(finished: Path) -> None:
    assert "sound" in told("validate", str(finished))


def test_the_source_caption_reaches_the_shard(finished: Path) -> None:
    run = Run(finished)
    captions = run.read("captions")["captions"].to_pylist()
    sources = {c["text"] for row in captions for c in row or [] if c["level"] == "source"}
    assert {f"a photograph called {name}" for name in ("astronaut", "coffee", "chelsea", "rocket")} <= sources


def test_a_second_run_does_nothing_and_says_so(finished: Path, photos: Path) -> None:
    before = content(finished)
    started = time.monotonic()
    result = command("run", settings(finished.parent), "--source", str(photos), "--out", str(finished))
    assert "nothing to do" in result.stdout
    assert time.monotonic() - started < 30  # no Ray, no models: seconds, with room for a busy machine
    assert content(finished) == before


def kill_at(commits: int, run: Path, arguments: list[str]) -> None:
    """Start a run and kill -9 its driver when so many parts are committed in all."""
    driver = subprocess.Popen([sys.executable, "-m", "jobs", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list(run.glob("*/_commits/*.json"))) < commits and time.monotonic() < deadline and driver.poll() is None:
        time.sleep(0.02)
    assert driver.poll() is None, "the run ended before it could be killed"
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()


def test_a_run_killed_three_times_and_resumed_by_one_worker_has_the_bytes_of_two(
    finished: Path, photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["run", settings(tmp_path), "--source", str(photos), "--out", str(run), "--until", "shard", "--workers"]
    kept: dict[Path, int] = {}
    for commits, workers in ((1, "2"), (9, "2"), (30, "1")):  # from the tenth commit on, of pixels to vectors, it is one alone
        kill_at(commits, run, [*arguments, workers])
        assert (run / "config.yaml").is_file(), "nobody can tell what the killed run was"
        kept = {path: path.stat().st_mtime_ns for path in run.glob("*/part-*.parquet")} | kept
    command(*arguments, "1")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "a finished part was written again"
    assert content(run) == content(finished)


def test_the_graph_around_an_image_is_written_as_graphml(finished: Path, tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    told("explain", str(finished), "coffee.jpg", "--graphml", str(tmp_path / "coffee.graphml"))
    graph = networkx.read_graphml(tmp_path / "coffee.graphml")
    assert {"coffee.jpg", "copies/coffee-small.jpg", "copies/coffee-mirror.png"} <= {
        data["key"] for _, data in graph.nodes(data=True)
    }
