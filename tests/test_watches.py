"""What looks at training while it runs: validation on held-out images, sample grids, speed; none of it changes the run."""

import dataclasses
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from tiny_pairs import write_tiny_pairs
from tiny_run import CONFIG, config, weights_of
from tiny_shards import squares, write_tiny_shards

from curation.errors import ConfigError, StaleInput
from model.checkpoint import latest_checkpoint, load_autoencoder, load_model
from model.config import DataConfig, DiTConfig, LoraConfig, PreviewConfig, TrainConfig, ValidationConfig
from model.data import Batches, make_plan
from model.flow import interpolate, velocity_target
from model.held_out import held_out_place, is_held_out
from model.omni import OmniSample
from model.pair_reader import PairReader
from model.roofline import forward_flops
from model.sample_grid import prompts_of
from model.sampler import Sampler
from model.shard_reader import ShardReader, UnreadableSample
from model.text import HashText, TextCache
from model.throughput import WARM_UP, Throughput
from model.train import train
from model.train_batch import TrainBatch
from model.validation import Validation, shared_losses
from model.watch import Update

VALIDATION = ValidationConfig(every=4, samples=5, times=(0.1, 0.6), share=0.25)
WATCHED = config(
    num_steps=6, checkpoint_every=6, validation=VALIDATION,
    preview=PreviewConfig(every=4, count=3, num_steps=2, guidance=2.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("watches"), squares(44))


@pytest.fixture(scope="module")
def watched(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("watched")
    train(WATCHED, shards=shards, out=out)
    return out


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def batches(shards: Path, settings: TrainConfig, checkpoint: Path) -> Batches:
    reader = ShardReader(shards)
    plan = make_plan(settings, reader, unit_px=4 * settings.model.patch_px)
    text = TextCache(HashText(width=32))
    return Batches(plan, reader, load_autoencoder(settings, checkpoint), text, settings, patch=settings.model.patch_px)


def test_held_out_images_are_a_stable_share_that_only_grows():
    ids = [f"{i:032x}" for i in range(4000)]
    few, more = ({i for i in ids if is_held_out(i, share, 0)} for share in (0.05, 0.2))
    assert few < more
    assert len(few) / 4000 == pytest.approx(0.05, abs=0.015)
    assert few != {i for i in ids if is_held_out(i, 0.05, 1)}
    assert np.histogram([held_out_place(i, 0) for i in ids], bins=4)[0].min() > 900


def test_training_never_sees_what_validation_holds_out(shards: Path, watched: Path):
    held = {i for i in ShardReader(shards).ids if is_held_out(i, 0.25, 0)}
    assert 4 <= len(held) <= 20
    seen = set()
    train(dataclasses.replace(WATCHED, validation=VALIDATION, num_steps=10, preview=None), shards=shards,
          out=watched.parent / "seen", watches=[lambda update: seen.update(update.batch.ids) or {}])  # fmt: skip
    assert not seen & held
    report = json.loads((watched / "plan.json").read_text())
    assert report["excluded"] == {"held out for validation": len(held)}


def test_validation_is_the_loss_of_fixed_images_times_and_noise(shards: Path, watched: Path):
    lines = {line["step"]: line for line in log(watched)}
    assert [step for step, line in lines.items() if "validation/ema" in line] == [4, 6]
    checkpoint = latest_checkpoint(watched)
    assert checkpoint is not None
    validation = Validation(batches(shards, WATCHED, checkpoint), WATCHED, VALIDATION)
    assert [len(batch) for batch in validation.batches] == [5, 5]
    assert validation.batches[0].ids == validation.batches[1].ids
    assert all(is_held_out(i, 0.25, 0) for i in validation.batches[0].ids)
    for ema, name in ((True, "ema"), (False, "raw")):
        model = load_model(checkpoint, ema=ema)
        by_time = []
        for batch in validation.batches:
            with torch.no_grad():
                predicted = torch.stack(model(interpolate(batch.latents, batch.noise, float(batch.t[0])), batch.t, batch.text))
            by_time.append(float((predicted - velocity_target(batch.latents, batch.noise)).square().mean()))
        assert lines[6][f"validation/{name}"] == pytest.approx(np.mean(by_time), rel=1e-5)
        if ema:
            assert lines[6]["validation/ema_t0.1"] == pytest.approx(by_time[0], rel=1e-5)
            assert lines[6]["validation/ema_t0.6"] == pytest.approx(by_time[1], rel=1e-5)
    assert lines[6]["validation/ema"] != lines[6]["validation/raw"]


def test_held_out_edits_are_validated_apart_at_fixed_times_and_noise(shards: Path, tmp_path: Path):
    pairs = write_tiny_pairs(tmp_path / "pairs", 24, bases=12)
    data = DataConfig(resolution_px=16, pairs=str(pairs), pair_share=0.5)
    settings = config(num_steps=4, checkpoint_every=4, data=data, validation=VALIDATION)
    seen = set[str]()
    train(settings, shards=shards, out=tmp_path / "out", watches=[lambda update: seen.update(update.batch.ids) or {}])
    index = PairReader(pairs).index
    held = {one["pair"] for one in index.to_pylist() if is_held_out(one["images"][0], 0.25, 0)}
    assert 2 <= len(held) <= 12 and not held & seen
    checkpoint = latest_checkpoint(tmp_path / "out")
    assert checkpoint is not None
    validation = Validation(batches(shards, settings, checkpoint), settings, VALIDATION)
    assert {name for batch in validation.edits for name in batch.ids} == set(sorted(held, key=lambda x: held_out_place(x, 0))[:5])
    assert all(caption for batch in validation.edits for caption in batch.captions)
    model, by_time = load_model(checkpoint), dict[str, float]()
    for batch in validation.edits:
        assert batch.references is not None
        samples = [
            OmniSample((one.latent, x), torch.split(text, list(one.segments)))
            for one, x, text in zip(
                batch.references, interpolate(batch.latents, batch.noise, float(batch.t[0])), batch.text, strict=True
            )
        ]
        with torch.no_grad():
            predicted = torch.stack(model(samples, batch.t))
        wanted = velocity_target(batch.latents, batch.noise)
        by_time[f"validation/edit_ema_t{batch.t[0]:g}"] = float((predicted - wanted).square().mean())
    line = log(tmp_path / "out")[-1]
    assert {name: line[name] for name in by_time} == pytest.approx(by_time, rel=1e-5)
    assert line["validation/edit_ema"] == pytest.approx(np.mean(list(by_time.values())), rel=1e-5)
    assert line["validation/edit_raw"] != line["validation/edit_ema"] != line["validation/ema"]


def test_held_out_images_that_cannot_be_read_make_room_for_the_next_when_bad_ones_are_skipped(shards: Path, tmp_path: Path):
    broken = tmp_path / "shards"
    shutil.copytree(shards, broken)
    reader = ShardReader(shards)
    ids = sorted((i for i in reader.ids if is_held_out(i, 0.25, 0)), key=lambda i: held_out_place(i, 0))
    first = reader.index.slice(reader.ids.index(ids[0]), 1).to_pylist()[0]
    with (broken / first["shard"]).open("r+b") as tar:
        tar.seek(first["image_offset"])
        tar.write(b"no image")
    with pytest.raises(UnreadableSample, match=ids[0]):
        train(WATCHED, shards=broken, out=tmp_path / "stops")
    settings = dataclasses.replace(WATCHED, data=DataConfig(resolution_px=16, on_error="skip"), num_steps=4)
    train(settings, shards=broken, out=tmp_path / "skips")
    checkpoint = latest_checkpoint(tmp_path / "skips")
    assert checkpoint is not None
    assert Validation(batches(broken, settings, checkpoint), settings, VALIDATION).batches[0].ids == ids[1:6]


def test_watching_changes_nothing_of_what_is_trained(shards: Path, watched: Path, tmp_path: Path):
    seldom = dataclasses.replace(WATCHED, validation=dataclasses.replace(VALIDATION, every=6), preview=None)
    train(seldom, shards=shards, out=tmp_path)
    assert [line["loss"] for line in log(tmp_path)] == [line["loss"] for line in log(watched)]
    mine, others = (weights_of(out / "step-000006") for out in (tmp_path, watched))
    assert mine == others
    assert log(tmp_path)[-1]["validation/ema"] == log(watched)[-1]["validation/ema"]


def test_a_grid_shows_held_out_captions_and_equals_samples_of_the_checkpoint(shards: Path, watched: Path):
    assert [path.name for path in sorted((watched / "samples").iterdir())] == ["step-000004.png", "step-000006.png"]
    assert [line["samples"] for line in log(watched) if "samples" in line] == [
        "samples/step-000004.png",
        "samples/step-000006.png",
    ]
    checkpoint = latest_checkpoint(watched)
    assert checkpoint is not None
    prompts = prompts_of(batches(shards, WATCHED, checkpoint), count=3)
    assert len(set(prompts)) == 3
    images = Sampler.open(checkpoint).generate(prompts, width_px=16, height_px=16, num_steps=2, guidance=2.0)
    grid = np.asarray(Image.open(watched / "samples" / "step-000006.png"))
    side = 128  # a cell is the picture enlarged eight times, after a margin of twelve pixels
    cells = [grid[12 : 12 + side : 8, 12 + k * (side + 12) : 12 + k * (side + 12) + side : 8] for k in range(3)]
    assert all(np.array_equal(cell, image) for cell, image in zip(cells, images, strict=True))


def tags(folder: Path) -> dict[str, list[int]]:
    """Steps by tag of TensorBoard's events: records of a length, its checksum, the event, its checksum."""
    steps: dict[str, list[int]] = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                steps.setdefault(f"{value.tag}{'.png' if value.HasField('image') else ''}", []).append(event.step)
    return steps


def test_tensorboard_has_curves_and_grids(watched: Path):
    steps = tags(watched / "tensorboard")
    for name in ("loss", "grad_norm", "images_per_second", "memory_gb"):
        assert steps[f"train/{name}"] == [1, 2, 3, 4, 5, 6]
    assert steps["validation/ema"] == steps["validation/ema_t0.6"] == [4, 6]
    assert steps["train/samples.png"] == [4, 6]


def test_nothing_held_out_is_an_error_that_says_what_to_do(shards: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="holds out none of 44 images; raise it"):
        train(config(validation=ValidationConfig(share=1e-6)), shards=shards, out=tmp_path)


def test_settings_of_watches_may_change_when_a_run_goes_on_but_not_what_is_held_out(shards: Path, watched: Path, tmp_path: Path):
    shutil.copytree(watched, tmp_path / "run")
    other = dataclasses.replace(WATCHED, preview=None, validation=dataclasses.replace(VALIDATION, every=1, samples=2))
    assert train(other, shards=shards, out=tmp_path / "run").step == 6
    with pytest.raises(StaleInput, match="plan"):
        more = dataclasses.replace(WATCHED, validation=dataclasses.replace(VALIDATION, share=0.5))
        train(more, shards=shards, out=tmp_path / "run")


def update(step: int, *, seconds: float, text: tuple[int, ...] = (5, 9), global_size: int = 2) -> Update:
    batch = TrainBatch(
        latents=torch.zeros(len(text), 3, 8, 12), noise=torch.zeros(len(text), 3, 8, 12), t=torch.zeros(len(text)),
        text=[torch.zeros(length, 32) for length in text], captions=["a"] * len(text), ids=["x"] * len(text), epoch=0,
        number=step, global_size=global_size,
    )  # fmt: skip
    return Update(step, batch, torch.zeros(len(text)), None, seconds=seconds, data_seconds=seconds / 4)  # type: ignore[arg-type]


def test_rates_count_the_model_s_operations_and_leave_the_first_updates_out():
    settings = dataclasses.replace(CONFIG, peak_tflops=1e-6)
    meter = Throughput(settings)
    for step in range(1, WARM_UP + 1):
        first = meter(update(step, seconds=100.0))
    assert first["images_per_second"] == pytest.approx(0.02)
    later = [meter(update(step, seconds=0.5)) for step in range(10, 14)][-1]
    assert later["images_per_second"] == pytest.approx(4.0)
    assert later["tokens_per_second"] == pytest.approx((24 + 5 + 24 + 9) / 0.5, rel=1e-3)  # 8 x 12 cells are 24 tokens
    flops = 3 * sum(forward_flops(settings.model, image_tokens=24, text_tokens=text) for text in (5, 9))
    assert later["tflops"] == pytest.approx(flops / 0.5 / 1e12, rel=1e-3)
    assert later["mfu"] == pytest.approx(flops / 0.5 / 1e12 / 1e-6, rel=1e-3)
    assert later["data_share"] == pytest.approx(0.25)
    assert 0.05 < later["memory_gb"] < 20
    assert "mfu" not in Throughput(CONFIG)(update(1, seconds=1.0)), "a CPU has no known peak"


def test_rates_of_a_rank_stand_for_all_ranks_and_adapters_cost_one_pass_less():
    one = Throughput(CONFIG)(update(1, seconds=1.0, global_size=8))
    assert one["images_per_second"] == pytest.approx(8.0)
    assert one["tokens_per_second"] == pytest.approx(4 * 62.0)
    big = dataclasses.replace(CONFIG, model=DiTConfig(in_channels=3))
    full, adapted = (
        Throughput(c)(update(1, seconds=1.0)) for c in (big, dataclasses.replace(big, lora=LoraConfig(), init="base"))
    )
    assert adapted["tflops"] / full["tflops"] == pytest.approx(2 / 3, rel=1e-3)


OTHER_RANK = """
import sys, numpy as np
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_watches as this
np.save(sys.argv[4], this.share_of(1, Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[5])))
"""


def share_of(rank: int, shards: Path, checkpoint: Path, store: Path) -> np.ndarray:
    """The losses of five batches as one of two processes gets them: one of the two has none left at the end."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        return five_losses(shards, checkpoint)
    finally:
        torch.distributed.destroy_process_group()


def five_losses(shards: Path, checkpoint: Path) -> np.ndarray:
    small = dataclasses.replace(WATCHED, batch_size=2)
    validation = Validation(batches(shards, WATCHED, checkpoint), small, VALIDATION)
    return shared_losses(load_model(checkpoint), validation.batches[:5], small)


def test_two_processes_compute_the_validation_of_one_to_the_bit(shards: Path, watched: Path, tmp_path: Path):
    checkpoint = latest_checkpoint(watched)
    assert checkpoint is not None
    alone = five_losses(shards, checkpoint)
    told = [str(path) for path in (Path(__file__).parent, shards, checkpoint, tmp_path / "one.npy", tmp_path / "store")]
    other = subprocess.Popen([sys.executable, "-c", OTHER_RANK, *told], env={**os.environ, "OMP_NUM_THREADS": "1"})
    mine = share_of(0, shards, checkpoint, tmp_path / "store")
    assert other.wait(timeout=120) == 0
    assert np.array_equal(mine, alone)
    assert np.array_equal(np.load(tmp_path / "one.npy"), alone)
