"""Validation names every kind of damage in a line, and finds a run sound that packed nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from image_rows import image_rows, save
from skimage import data

from curation.tables import Cost, Run
from jobs.validate import problems

TABLES = ("images", "selection", "shards")


def finished(root: Path) -> Run:
    run = Run(root / "run")
    run.commit_part("images", 0, image_rows([save(root, "a.png", data.astronaut())]), fingerprint="f", cost=Cost(0, 0))
    run.finish("images", {"stage": "ingest"})
    run.finish("shards", {"stage": "shard"})
    return run


def test_a_run_without_shards_to_check_is_sound(tmp_path: Path) -> None:
    assert list(problems(finished(tmp_path), TABLES)) == []


def flip(folder: Path) -> None:
    path = folder / "part-00000.parquet"
    value = bytearray(path.read_bytes())
    value[60] ^= 1
    path.write_bytes(value)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped": (flip, "part-00000.parquet has changed"),
    "cut": (lambda folder: (folder / "part-00000.parquet").write_bytes(b"PAR1"), "part-00000.parquet has changed"),
    "gone": (lambda folder: (folder / "part-00000.parquet").unlink(), "part-00000.parquet is missing"),
    "manifest": (lambda folder: (folder / "_manifest.json").write_bytes(b"{"), "_manifest.json is no JSON"),
    "commit": (lambda folder: (folder / "_commits" / "part-00000.json").write_bytes(b"["), "part-00000.json is no JSON"),
    "uncommitted": (lambda folder: (folder / "_commits" / "part-00000.json").unlink(), "counts 1 parts"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_line(tmp_path: Path, name: str) -> None:
    run = finished(tmp_path)
    damage, message = DAMAGE[name]
    damage(run.folder("images"))
    (line,) = problems(run, TABLES)
    assert message in line
    assert "\n" not in line
