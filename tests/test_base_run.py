"""A grown run through the command line: its shards hold the new images, its ledger and stories the whole collection."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data
from test_run import command, told
from tiny_knowledge import write_knowledge

from curation.tables import Run
from jobs.adopt import base_rows

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def grown(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the photographs, and one that grows from it by a new picture, a copy of an old one, and a broken file."""
    folder = tmp_path_factory.mktemp("grown")
    names = [("coffee", "en", 0, "title", 30, 40), ("retina", "en", 1, "title", 30, 40)]
    titles = {"Coffee": {"description": "hot drink"}, "Retina": {"description": "layer of the eye"}}
    base = write_knowledge(folder / "kb", titles=titles, names=names, edges=None)
    keys = f"ingest: {{part_rows: 3}}\nknn: {{k: 5}}\nshard: {{max_samples: 3}}\nknowledge: {{path: {base}}}\n"
    edits = "pairs: {layouts: 0, text_images: 0, pictures: 5, near: 0, versions: 1, min_side_px: 200}\n"
    (folder / "base.yaml").write_text(keys)
    (folder / "grown.yaml").write_text(f"{keys}{edits}base: {folder / 'base'}\n")
    batch = folder / "batch"
    batch.mkdir()
    Image.fromarray(data.retina()).resize((300, 300)).save(batch / "retina.jpg")
    (batch / "retina.txt").write_text("a photograph of a retina\n")
    with Image.open(photos / "coffee.jpg") as coffee:
        coffee.rotate(90, expand=True).save(batch / "coffee-turned.jpg", quality=80)
    shutil.copy(photos / "broken" / "page.jpg", batch / "page.jpg")
    alone = ("--workers", "1")  # one process loads the models; test_run compares one with two
    command("run", str(folder / "base.yaml"), "--source", str(photos), "--out", str(folder / "base"), "--until", "shard", *alone)
    command("run", str(folder / "grown.yaml"), "--source", str(batch), "--out", str(folder / "grown"), *alone)
    return Run(folder / "grown")


def test_the_balance_of_a_grown_run_adds_up_and_names_the_base(grown: Run) -> None:
    found = json.loads(told("status", str(grown.root), "--json"))
    assert found["balance"]["adds_up"]
    assert (found["balance"]["in"], found["balance"]["kept"]) == (13, 5)
    assert found["base"] == {"run": str(grown.root.parent / "base"), "images": 10}
    assert "10 of them came with the base" in told("status", str(grown.root))


def test_shards_hold_the_new_kept_images_alone(grown: Run) -> None:
    assert base_rows(grown) == 10
    rows = grown.read("shards")["row"].to_pylist()
    keys = grown.take("images", np.array(rows), ["key"])["key"].to_pylist()
    assert keys == ["retina.jpg"]


def test_an_image_dropped_for_one_of_the_base_says_so(grown: Run) -> None:
    (story,) = json.loads(told("explain", str(grown.root), "coffee-turned.jpg", "--json"))
    assert story["verdict"].startswith("dropped: duplicate (copy of ")
    assert grown.take("images", np.array([story["duplicates"]["keeper_row"]]), ["key"])["key"][0].as_py() == "coffee.jpg"
    assert "kept, in the shards of the base" in told("explain", str(grown.root), "coffee.jpg")


def test_a_grown_run_is_sound_and_has_a_report(grown: Run) -> None:
    assert "sound" in told("validate", str(grown.root))
    assert "coffee-turned.jpg" in (grown.root / "report.html").read_text()


def test_captions_of_the_base_are_not_written_again(grown: Run) -> None:
    base = Run(grown.root.parent / "base")
    assert (grown.folder("captions") / "part-00000.parquet").samefile(base.folder("captions") / "part-00000.parquet")


def test_entities_of_the_base_stand_and_new_texts_are_linked(grown: Run) -> None:
    base = Run(grown.root.parent / "base")
    assert (grown.folder("mentions") / "part-00000.parquet").samefile(base.folder("mentions") / "part-00000.parquet")
    linked = zip(
        grown.read("images", ["key"])["key"].to_pylist(),
        grown.read("mentions", ["mentions"])["mentions"].to_pylist(),
        strict=True,
    )
    titles = {key: [mention["title"] for mention in found or []] for key, found in linked}
    assert (titles["coffee.jpg"], titles["retina.jpg"], titles["rocket.jpg"]) == (["Coffee"], ["Retina"], [])


def test_edit_pairs_are_made_of_new_images_alone(grown: Run) -> None:
    (retina,) = [row["id"] for row in grown.read("images", ["id", "key"]).to_pylist() if row["key"] == "retina.jpg"]
    assert set(grown.read("edit_pairs", ["base"])["base"].to_pylist()) == {retina}
    assert grown.read("pair_shards").num_rows > 0
