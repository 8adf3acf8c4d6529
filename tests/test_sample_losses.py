"""Losses of single images: planted faults come first, whatever the batches; bad images are rows with an error."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_run import LEARNING
from tiny_shards import Picture, squares, write_tiny_shards

from curation.relative_loss import extremes, relative_losses
from curation.schema import SAMPLE_LOSS
from curation.tables import Cost, Run
from jobs import losses as losses_stage
from model.checkpoint import latest_checkpoint
from model.config import DataConfig, ValidationConfig
from model.sample_losses import LossMeter
from model.shard_reader import read_index
from model.train import train

WRONG = (3, 40, 77, 101, 118, 151)
NOISY = (10, 60)


def pictures() -> list[Picture]:
    """Red and blue squares; six with the other colour's captions, two of pure noise."""
    made = squares(160)
    right = [(picture.caption, picture.captions) for picture in made]
    for row in WRONG:
        made[row] = dataclasses.replace(made[row], caption=right[row - 1][0], captions=right[row - 1][1])
    for row in NOISY:
        noise = np.random.default_rng(row).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        made[row] = dataclasses.replace(made[row], pixels=noise)
    return made


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("losses"), pictures())


@pytest.fixture(scope="module")
def checkpoint(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    data = DataConfig(resolution_px=16, level_weights={"short": 2.0, "source": 1.0})
    train(dataclasses.replace(LEARNING, data=data, validation=ValidationConfig(share=0.1)), shards=shards, out=out)
    found = latest_checkpoint(out)
    assert found is not None
    return found


def measured(checkpoint: Path, shards: Path, index: pa.Table, **changes: object) -> pa.Table:
    settings = {"times": (0.05, 0.2, 0.5), "captions": 1, "share": 1.0, "batch_size": 64, "seed": 0} | changes
    return LossMeter(checkpoint, **settings)(shards, index)


@pytest.fixture(scope="module")
def losses(checkpoint: Path, shards: Path) -> pa.Table:
    return measured(checkpoint, shards, read_index(shards))


def test_every_image_has_a_row_per_time(losses: pa.Table):
    assert losses.schema.equals(SAMPLE_LOSS)
    assert losses["row"].to_pylist() == [row for row in range(160) for _ in range(3)]
    assert {round(t, 3) for t in losses["t"].to_pylist()} == {0.05, 0.2, 0.5}
    assert 0.05 < np.mean(losses["held_out"].to_pylist()) < 0.2
    assert set(losses["level"].to_pylist()) == {"short", "source"}
    assert losses["error"].null_count == losses.num_rows
    assert set(losses["step"].to_pylist()) == {120}


def test_planted_faults_are_the_hardest_and_wrong_captions_do_not_help(losses: pa.Table):
    relative = relative_losses(losses)
    planted = {*WRONG, *NOISY}
    hardest = extremes(relative, [("hardness", "descending")], num=len(planted))["row"].to_pylist()
    assert len(set(hardest) & planted) >= len(planted) - 1  # of 160 images; all eight for most seeds of noise and training
    help_of = dict(zip(relative["row"].to_pylist(), relative["help"].to_pylist(), strict=True))
    wrong, right = (np.mean([help_of[row] for row in help_of if (row in WRONG) == is_wrong]) for is_wrong in (True, False))
    assert wrong < 0 < right


def test_losses_do_not_depend_on_how_the_shards_are_cut_into_batches(checkpoint: Path, shards: Path, losses: pa.Table):
    index = read_index(shards)
    parts = [measured(checkpoint, shards, index.slice(start, 80), batch_size=7) for start in (0, 80)]
    again = pa.concat_tables(parts)
    assert again.drop(["loss", "loss_empty"]).equals(losses.drop(["loss", "loss_empty"]))
    for name in ("loss", "loss_empty"):
        assert np.allclose(again[name].to_numpy(), losses[name].to_numpy(), rtol=1e-4)


def test_several_captions_and_a_share_of_the_images(checkpoint: Path, shards: Path):
    index = read_index(shards)
    found = measured(checkpoint, shards, index, captions=9, share=0.25, times=(0.5,))
    rows = found["row"].to_pylist()
    assert 20 < len(set(rows)) < 60
    assert all(rows.count(row) == 3 for row in set(rows))  # short in two languages, and the source's
    wanted = {row for row in rows}
    more = measured(checkpoint, shards, index, captions=1, share=0.5, times=(0.5,))
    assert wanted < set(more["row"].to_pylist())


def test_an_image_that_cannot_be_read_is_a_row_with_its_error(checkpoint: Path, shards: Path, tmp_path: Path):
    index = read_index(shards).slice(0, 40)
    name, offset = index["shard"][0].as_py(), index["image_offset"][5].as_py()
    for path in shards.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / name).open("r+b") as file:
        for place in (offset, index["json_offset"][9].as_py()):
            file.seek(place)
            file.write(b"nothing")
    found = measured(checkpoint, tmp_path, index, captions=2, times=(0.5,))
    bad = [row for row in found.to_pylist() if row["error"]]
    assert [row["row"] for row in bad] == [5, 9]
    assert bad[0]["error"].startswith("not_an_image")
    assert [(row["loss"], row["level"]) for row in bad] == [(None, None)] * 2
    assert found.num_rows == 2 * 38 + 2


def test_the_stage_of_a_run_measures_shard_by_shard_and_joins_by_row(checkpoint: Path, shards: Path, tmp_path: Path):
    run = Run(tmp_path / "run")
    for number, path in enumerate(sorted(shards.glob("*.parquet"))):
        tar = path.with_suffix(".tar")
        run.commit_part("shards", number, pq.read_table(path), fingerprint="f", cost=Cost(0.1, 0.1), files={tar.name: tar})
    run.finish("shards", {})
    shutil.copytree(checkpoint, run.folder("checkpoints") / checkpoint.name)
    items = losses_stage.plan(run)
    meter = losses_stage.Meter(times=[0.1], captions=1, share=0.2, batch_size=16, seed=0)
    (tables,) = zip(*((output.rows for output in meter(run, item)) for item in items), strict=True)
    assert [item["parts"] for item in items] == [[0], [1], [2], [3]]
    index = run.read("shards", ["id", "row"])
    row_of = dict(zip(index["id"].to_pylist(), index["row"].to_pylist(), strict=True))
    found = pa.concat_tables(tables)
    assert 15 < found.num_rows < 50
    assert [row_of[i] for i in found["id"].to_pylist()] == found["row"].to_pylist()
