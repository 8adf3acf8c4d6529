"""One process against two (gloo, FSDP2), and interrupted trainings against straight ones."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from parallel_run import CONFIG, LOW, adapted, config, in_processes, losses, random_points, train_until
from safetensors.torch import load_file
from tiny_run import weights_of
from tiny_shards import squares, write_tiny_shards

from model.checkpoint import load_model
from model.sampler import Sampler
from model.train import train

LAST = "step-000020"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("parallel"), squares(44))


@pytest.fixture(scope="module")
def one(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    train(CONFIG, shards=shards, out=out)
    return out


@pytest.fixture(scope="module")
def two(shards: Path, one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All trainings of two processes, by one start of them; one process began and ends `relay` and `adapted`."""
    out = tmp_path_factory.mktemp("two")
    shutil.copytree(one / LAST, out / "base")
    train_until(7, CONFIG, shards=shards, out=out / "relay")
    train_until(3, adapted(out / "base"), shards=shards, out=out / "adapted")
    (out / "points.json").write_text(json.dumps(random_points(3)))
    in_processes(2, shards, out, "straight", "interrupted", "replicated", "bf16", "relay", "adapted", "nan", "stopped", "lonely")
    train(CONFIG, shards=shards, out=out / "relay")
    train(adapted(out / "base"), shards=shards, out=out / "adapted")
    return out


def test_two_processes_have_the_losses_of_one(one: Path, two: Path):
    assert losses(two / "straight") == pytest.approx(losses(one), abs=1e-5)


def test_accumulated_repeated_and_recomputed_gradients_are_the_same(one: Path, two: Path):
    assert losses(two / "replicated") == pytest.approx(losses(one)[:8], abs=1e-5)


def test_parameters_gathered_in_bf16_give_the_losses_of_autocast(shards: Path, two: Path, tmp_path: Path):
    train_until(5, LOW, shards=shards, out=tmp_path)
    assert losses(two / "bf16") == pytest.approx(losses(tmp_path), rel=0.02)  # gains and biases are rounded too: 8 bits
    assert losses(two / "bf16") != losses(two / "straight")[:4]


def test_three_interruptions_in_a_row_leave_the_bits_as_they_are(two: Path):
    assert losses(two / "interrupted") == losses(two / "straight")
    assert weights_of(two / "interrupted" / LAST) == weights_of(two / "straight" / LAST)


def test_one_process_goes_on_where_two_stopped_that_went_on_where_one_did(one: Path, two: Path):
    assert losses(two / "relay") == pytest.approx(losses(one), abs=1e-5)
    assert (two / "relay" / "step-000012" / "sharded").is_dir()
    assert (two / "relay" / LAST / "optimizer.safetensors").is_file()


def test_adapters_go_on_over_their_base_with_other_numbers_of_processes(shards: Path, two: Path, tmp_path: Path):
    train(adapted(two / "base"), shards=shards, out=tmp_path)
    assert losses(two / "adapted") == pytest.approx(losses(tmp_path), abs=1e-5)
    assert (two / "adapted" / "step-000004" / "sharded").is_dir()
    found, expected = (load_file(out / "step-000008" / "model.safetensors") for out in (two / "adapted", tmp_path))
    assert all(".lora_" in name for name in found)
    assert all(torch.allclose(found[name], expected[name], atol=1e-3) for name in expected)


def test_validation_and_samples_see_the_averaged_weights_of_all(one: Path, two: Path):
    lines = [json.loads((out / "log.jsonl").read_text().splitlines()[-1]) for out in (one, two / "straight")]
    assert lines[1]["validation/ema"] == pytest.approx(lines[0]["validation/ema"], abs=1e-5)
    assert lines[1]["validation/raw"] != pytest.approx(lines[1]["validation/ema"], abs=1e-5)
    assert (two / "straight" / lines[1]["samples"]).is_file()


def test_a_checkpoint_of_two_processes_is_whole_and_opens_like_any(one: Path, two: Path):
    found, expected = (load_file(out / LAST / "ema.safetensors") for out in (two / "straight", one))
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-3) for name in expected)  # Adam divides noise by noise
    assert torch.equal(load_model(two / "straight" / LAST).x_pad_token, found["x_pad_token"])
    assert Sampler.open(two / "straight" / LAST).generate(["a red square"], width_px=16, height_px=16).shape == (1, 16, 16, 3)
    assert not list((two / "straight").glob(".step-*"))


def test_recomputed_blocks_give_the_same_losses_to_the_bit(shards: Path, one: Path, tmp_path: Path):
    settings = config(gradient_checkpointing=True, checkpoint_every=20, preview=None)
    train_until(6, settings, shards=shards, out=tmp_path)
    assert losses(tmp_path) == losses(one)[:5]


def test_accumulation_leaves_the_losses_as_they_are(shards: Path, one: Path, tmp_path: Path):
    train_until(10, config(accumulation=3, checkpoint_every=20), shards=shards, out=tmp_path)
    assert losses(tmp_path) == pytest.approx(losses(one)[:9], abs=1e-5)


def test_a_loss_that_is_not_finite_stops_all_processes_with_one_line(two: Path):
    said = [(two / "nan" / f"said-{rank}.txt").read_text() for rank in (0, 1)]
    assert said[0] == said[1]
    assert "step 2: loss nan" in said[0]
    assert "first in " in said[0]
    batches = [json.loads(path.read_text())["batch"] for path in sorted((two / "nan").glob("nan-step-000002-process-*.json"))]
    assert sorted(map(len, batches)) == [3, 4]


def test_a_signal_to_one_process_ends_all_after_the_same_update_and_its_checkpoint(two: Path):
    said = [(two / "stopped" / f"said-{rank}.txt").read_text() for rank in (0, 1)]
    assert said == ["Stopped: stopped after update 3 of 20; the same command goes on there"] * 2
    assert [path.name for path in (two / "stopped").glob("step-*")] == ["step-000003"]


def test_an_error_of_one_process_is_told_by_the_others_too(two: Path):
    assert (two / "lonely" / "said-1.txt").read_text() == "SourceError: the disk is gone"
    assert (two / "lonely" / "said-0.txt").read_text() == "StageFailed: process 1 failed: SourceError: the disk is gone"
