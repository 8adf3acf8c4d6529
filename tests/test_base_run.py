"""A grown run through the command line: its shards hold the new images, its ledger and stories the whole collection."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data
from test_run import command

from curation.tables import Run
from jobs.adopt import base_rows

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def grown(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the photographs, and one that grows from it by a new picture, a copy of an old one, and a broken file."""
    folder = tmp_path_factory.mktemp("grown")
    keys = "ingest: {part_rows: 3}\nknn: {k: 5}\nshard: {max_samples: 3}\n"
    (folder / "base.yaml").write_text(keys)
    (folder / "grown.yaml").write_text(keys + f"base: {folder / 'base'}\n")
    batch = folder / "batch"
    batch.mkdir()
    Image.fromarray(data.retina()).resize((300, 300)).save(batch / "retina.jpg")
    with Image.open(photos / "coffee.jpg") as coffee:
        coffee.rotate(90, expand=True).save(batch / "coffee-turned.jpg", quality=80)
    shutil.copy(photos / "broken" / "page.jpg", batch / "page.jpg")
    command("run", str(folder / "base.yaml"), "--source", str(photos), "--out", str(folder / "base"), "--until", "shard")
    command("run", str(folder / "grown.yaml"), "--source", str(batch), "--out", str(folder / "grown"))
    return Run(folder / "grown")


def test_the_balance_of_a_grown_run_adds_up_and_names_the_base(grown: Run) -> None:
    found = json.loads(command("status", str(grown.root), "--json").stdout)
    assert found["balance"]["adds_up"]
    assert (found["balance"]["in"], found["balance"]["kept"]) == (13, 5)
    assert found["base"] == {"run": str(grown.root.parent / "base"), "images": 10}
    assert "10 of them came with the base" in command("status", str(grown.root)).stdout


def test_shards_hold_the_new_kept_images_alone(grown: Run) -> None:
    assert base_rows(grown) == 10
    rows = grown.read("shards")["row"].to_pylist()
    keys = grown.take("images", np.array(rows), ["key"])["key"].to_pylist()
    assert keys == ["retina.jpg"]


def test_an_image_dropped_for_one_of_the_base_says_so(grown: Run) -> None:
    (story,) = json.loads(command("explain", str(grown.root), "coffee-turned.jpg", "--json").stdout)
    assert story["verdict"].startswith("dropped: duplicate (copy of ")
    assert grown.take("images", np.array([story["duplicates"]["keeper_row"]]), ["key"])["key"][0].as_py() == "coffee.jpg"
    assert "kept, in the shards of the base" in command("explain", str(grown.root), "coffee.jpg").stdout


def test_a_grown_run_is_sound_and_has_a_report(grown: Run) -> None:
    assert "sound" in command("validate", str(grown.root)).stdout
    assert "coffee-turned.jpg" in (grown.root / "report.html").read_text()


def test_captions_of_the_base_are_not_written_again(grown: Run) -> None:
    base = Run(grown.root.parent / "base")
    assert (grown.folder("captions") / "part-00000.parquet").samefile(base.folder("captions") / "part-00000.parquet")
