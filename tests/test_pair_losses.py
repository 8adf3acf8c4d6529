"""Losses of edits by pair, and the verb that measures a training outside of a run; what the bar says of it."""

import dataclasses
import json
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tiny_pairs import write_tiny_pairs
from tiny_run import LEARNING, MODEL
from tiny_shards import squares, write_tiny_shards

from curation.errors import ConfigError
from curation.schema import PAIR_LOSS, PAIR_SHARDS, SAMPLE_LOSS
from jobs.__main__ import main
from jobs.direct import _bar, _say
from jobs.losses import measure, read_losses
from model.autoencoder import encoded
from model.checkpoint import latest_checkpoint, load_autoencoder, load_model, read_config
from model.config import DataConfig, ValidationConfig
from model.flow import interpolate, velocity_target
from model.held_out import is_held_out
from model.omni import OmniSample
from model.pair_losses import PairLossMeter
from model.shard_reader import read_index
from model.text import HashText
from model.train import train
from model.validation import fixed_noise

TIMES = (0.05, 0.4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of images and of pairs, and a model that was trained on both."""
    made = tmp_path_factory.mktemp("pairs")
    write_tiny_shards(made, squares(40))
    write_tiny_pairs(made / "pairs", 48, bases=24)
    data = DataConfig(resolution_px=16, pairs=str(made / "pairs"), pair_share=0.6)
    settings = dataclasses.replace(
        LEARNING, batch_size=16, num_steps=60, checkpoint_every=60, data=data, validation=ValidationConfig(every=60, share=0.25)
    )
    train(settings, shards=made / "shards", out=made / "trained")
    return made


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["imageloom", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_every_pair_has_a_row_per_time_whose_losses_are_those_of_the_model(folder: Path):
    checkpoint = latest_checkpoint(folder / "trained")
    assert checkpoint is not None
    index = read_index(folder / "pairs", PAIR_SHARDS)
    found = PairLossMeter(checkpoint, times=TIMES, share=1.0, batch_size=7, seed=3)(folder / "pairs", index)
    assert found.schema.equals(PAIR_LOSS)
    assert found["pair"].to_pylist() == [name for name in index["pair"].to_pylist() for _ in TIMES]
    images = dict(zip(index["pair"].to_pylist(), index["images"].to_pylist(), strict=True))
    assert all(one["held_out"] == is_held_out(images[one["pair"]][0], 0.25, 0) for one in found.to_pylist())
    assert 0 < np.mean(found["held_out"].to_pylist()) < 1
    assert set(found["level"].to_pylist()) == {"instruction"}
    assert set(found["language"].to_pylist()) == {"en", "zh"}
    row = next(k for k, one in enumerate(found.to_pylist()) if one["language"] == "en" and one["t"] == np.float32(0.4))
    wanted = (
        alone(checkpoint, folder / "pairs", row // len(TIMES), told=True),
        alone(checkpoint, folder / "pairs", row // 2, told=False),
    )
    assert (found["loss"][row].as_py(), found["loss_empty"][row].as_py()) == pytest.approx(wanted, rel=1e-4)


def alone(checkpoint: Path, pairs: Path, row: int, *, told: bool) -> float:
    """The loss of one pair at t = .4 from its tar, by hand."""
    one = read_index(pairs, PAIR_SHARDS).slice(row, 1).to_pylist()[0]
    tar = (pairs / one["shard"]).read_bytes()
    member = {name: tar[one[f"{name}_offset"] :][: one[f"{name}_length"]] for name in ("source", "target", "json")}
    autoencoder, model, text = load_autoencoder(read_config(checkpoint), checkpoint), load_model(checkpoint), HashText(width=32)
    source, target = (encoded(autoencoder, np.array(Image.open(BytesIO(member[name])))) for name in ("source", "target"))
    said = json.loads(member["json"])["instruction"]["en"] if told else ""
    segments = tuple(text.encode([part])[0] for part in ("", said, ""))
    noise, losses = fixed_noise(3, "", 0.4, tuple(target.shape)), []
    for each in (noise, -noise):
        with torch.no_grad():
            (found,) = model([OmniSample((source, interpolate(target, each, 0.4)), segments)], torch.tensor([0.4]))
        losses.append(float((found - velocity_target(target, each)).square().mean()))
    return float(np.mean(losses))


def test_a_pair_that_cannot_be_read_is_a_row_with_its_error(folder: Path, tmp_path: Path):
    (tmp_path / "pairs").mkdir()
    for path in (folder / "pairs").iterdir():
        (tmp_path / "pairs" / path.name).write_bytes(path.read_bytes())
    index = read_index(tmp_path / "pairs", PAIR_SHARDS).to_pylist()
    with (tmp_path / "pairs" / index[0]["shard"]).open("r+b") as tar:
        for place in (index[5]["target_offset"], index[9]["json_offset"], index[11]["source_offset"]):
            tar.seek(place)
            tar.write(b"nothing at all")
    checkpoint = latest_checkpoint(folder / "trained")
    assert checkpoint is not None
    measure(checkpoint, tmp_path / "pairs", tmp_path / "out.parquet", times=TIMES, share=1.0, batch_size=16, seed=0)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [one["pair"] for one in rows if one["error"]] == [index[k]["pair"] for k in (5, 9, 11)]
    assert len(rows) == 2 * 45 + 3


def test_the_verb_measures_images_and_pairs_and_refuses_models_that_know_no_references(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    for name, schema in (("shards", SAMPLE_LOSS), ("pairs", PAIR_LOSS)):
        out = tmp_path / f"{name}.parquet"
        assert call(monkeypatch, "losses", str(folder / "trained"), str(folder / name), "--out", str(out), "--time", "0.5") == 0
        assert pq.read_schema(out).names == schema.names
        assert "0.50" in capfd.readouterr().out
    assert not list(tmp_path.glob(".*"))
    both = [tmp_path / "pairs.parquet", tmp_path / "shards.parquet"]
    assert {name: table.schema for name, table in read_losses(both).items()} == {"pair_losses": PAIR_LOSS, "losses": SAMPLE_LOSS}
    with pytest.raises(ConfigError, match=r"pairs\.parquet holds pair losses again"):
        read_losses([both[0], both[0]])
    settings = dataclasses.replace(LEARNING, model=MODEL, num_steps=1, checkpoint_every=1)
    train(settings, shards=folder / "shards", out=tmp_path / "plain")
    assert call(monkeypatch, "losses", str(tmp_path / "plain"), str(folder / "pairs"), "--out", str(tmp_path / "no.parquet")) == 2
    assert "was not trained on edit pairs" in capfd.readouterr().err
    assert not (tmp_path / "no.parquet").exists()


def test_the_bar_and_the_last_line_say_no_loss_where_there_is_none(capfd: pytest.CaptureFixture[str]):
    _say({"checkpoint": "step-000012", "step": 12, "num_parameters": 5, "loss": float("nan")})
    with _bar(LEARNING) as tell:
        pass
    with _bar(LEARNING) as tell:
        tell({"step": 3, "loss": 0.25, "images_per_second": 7.0})
    out, error = capfd.readouterr()
    assert out == "step-000012: step 12, 5 parameters, it was finished, nothing was trained\n"
    assert "nan" not in error
    assert "3/120 loss 0.2500, 7.0 images/s" in error
