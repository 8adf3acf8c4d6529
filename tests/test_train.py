import dataclasses
import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import CONFIG, config, weights_of
from tiny_shards import squares, write_tiny_shards

from curation.errors import ConfigError, ModelError, StageFailed, StaleInput, Stopped
from model.checkpoint import is_complete, latest_checkpoint, load_model, read_config, read_progress
from model.config import DataConfig, TrainConfig, from_dict, to_dict
from model.sampler import Sampler
from model.schedule import ema_decay, learning_rate
from model.train import train


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("train"), squares(44))


@pytest.fixture(scope="module")
def straight(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight")
    train(CONFIG, shards=shards, out=out)
    return out


def losses(out: Path) -> list[tuple[int, float]]:
    return [(r["step"], r["loss"]) for r in map(json.loads, (out / "log.jsonl").read_text().splitlines())]


def test_the_loss_falls_and_every_step_is_logged(shards: Path, tmp_path: Path):
    seen = []
    result = train(config(num_steps=60, checkpoint_every=60), shards=shards, out=tmp_path, progress=seen.append)
    values = [loss for _, loss in losses(tmp_path)]
    assert [step for step, _ in losses(tmp_path)] == list(range(1, 61))
    assert sum(values[-10:]) / 10 < 0.7 * sum(values[:10]) / 10
    assert [record["step"] for record in seen] == list(range(1, 61))
    assert {"step", "epoch", "loss", "grad_norm", "lr", "images_per_second"} <= set(seen[0])
    assert result.step == 60
    assert result.checkpoint == tmp_path / "step-000060"
    assert result.loss == pytest.approx(sum(values[-6:]) / 6)
    assert json.loads((tmp_path / "plan.json").read_text())["buckets"][0]["samples"] == 44
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize("cut", [4, 8])
def test_a_run_resumed_from_any_checkpoint_has_the_bits_of_the_straight_one(
    shards: Path, straight: Path, tmp_path: Path, cut: int
):
    shutil.copytree(straight, tmp_path / "run")
    for path in (tmp_path / "run").glob("step-*"):
        if read_progress(path).step > cut:
            shutil.rmtree(path)
    train(CONFIG, shards=shards, out=tmp_path / "run")
    assert losses(tmp_path / "run") == losses(straight)
    assert weights_of(tmp_path / "run" / "step-000012") == weights_of(straight / "step-000012")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits_twice(shards: Path, straight: Path, tmp_path: Path):
    out, code = tmp_path / "run", (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[3]); from tiny_run import CONFIG\n"
        "from model.train import train\n"
        "train(CONFIG, shards=Path(sys.argv[1]), out=Path(sys.argv[2]), progress=lambda record: time.sleep(0.05))"
    )  # fmt: skip
    for at in (6, 10):
        process = subprocess.Popen([sys.executable, "-c", code, str(shards), str(out), str(Path(__file__).parent)])
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if (out / "log.jsonl").is_file() and len((out / "log.jsonl").read_text().splitlines()) >= at:
                break
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert latest_checkpoint(out) == out / "step-000008"
    train(CONFIG, shards=shards, out=out)
    assert losses(out) == losses(straight)
    assert weights_of(out / "step-000012") == weights_of(straight / "step-000012")


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_training_after_its_update_and_checkpoint(
    shards: Path, straight: Path, tmp_path: Path, sent: signal.Signals, code: int
):
    handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(Stopped, match="stopped after update 6 of 12") as stopped:
        train(
            CONFIG, shards=shards, out=tmp_path, progress=lambda line: os.kill(os.getpid(), sent) if line["step"] == 6 else None
        )
    assert stopped.value.exit_code == code
    assert read_progress(tmp_path / "step-000006").step == 6
    assert handlers == [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    train(CONFIG, shards=shards, out=tmp_path)
    assert weights_of(tmp_path / "step-000012") == weights_of(straight / "step-000012")


def test_a_disk_without_room_is_said_in_one_line_and_training_goes_on_later(shards: Path, straight: Path, tmp_path: Path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))  # the log has room, the weights have none
    try:
        with pytest.raises(StageFailed, match=r"no checkpoint can be written .*make room"):
            train(CONFIG, shards=shards, out=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert latest_checkpoint(tmp_path) is None
    train(CONFIG, shards=shards, out=tmp_path)
    assert weights_of(tmp_path / "step-000012") == weights_of(straight / "step-000012")


def test_a_second_trainer_waits_until_the_first_has_ended(shards: Path, tmp_path: Path):
    with (tmp_path / "_lock").open("w") as first, ThreadPoolExecutor(1) as pool:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = pool.submit(train, config(num_steps=2), shards=shards, out=tmp_path)
        time.sleep(1)
        assert not (tmp_path / "log.jsonl").exists()
        fcntl.flock(first, fcntl.LOCK_UN)
        assert second.result(timeout=60).step == 2


def test_a_finished_run_returns_at_once_and_resume_false_starts_over(shards: Path, straight: Path, tmp_path: Path):
    shutil.copytree(straight, tmp_path / "run")
    before = (tmp_path / "run" / "step-000012" / "manifest.json").stat().st_mtime_ns
    result = train(CONFIG, shards=shards, out=tmp_path / "run")
    assert result.step == 12
    assert (tmp_path / "run" / "step-000012" / "manifest.json").stat().st_mtime_ns == before
    train(config(num_steps=4), shards=shards, out=tmp_path / "run", resume=False)
    assert [path.name for path in sorted((tmp_path / "run").glob("step-*"))] == ["step-000004"]


def test_a_damaged_checkpoint_is_passed_over(shards: Path, straight: Path, tmp_path: Path):
    shutil.copytree(straight, tmp_path / "run")
    (tmp_path / "run" / "step-000012" / "model.safetensors").write_bytes(b"short")
    assert not is_complete(tmp_path / "run" / "step-000012")
    train(CONFIG, shards=shards, out=tmp_path / "run")
    assert weights_of(tmp_path / "run" / "step-000012") == weights_of(straight / "step-000012")


def test_other_settings_or_shards_are_refused_by_name(shards: Path, straight: Path, tmp_path: Path):
    with pytest.raises(StaleInput, match=r"learning_rate = 0\.01, now 0\.001"):
        train(config(learning_rate=0.001), shards=shards, out=straight)
    with pytest.raises(StaleInput, match=r"trained with data\.caption_dropout = 0\.1, now 0\.3"):
        train(config(data=DataConfig(resolution_px=16, caption_dropout=0.3)), shards=shards, out=straight)
    with pytest.raises(StaleInput, match="other shards"):
        train(CONFIG, shards=write_tiny_shards(tmp_path, squares(20, seed=1)), out=straight)


def test_a_run_with_a_vae_and_a_transformer_as_text_encoder_trains_and_samples(shards: Path, tmp_path: Path):
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(4, 4, 8), layers_per_block=1, latent_channels=3, norm_num_groups=4, scaling_factor=0.3611,
        shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
    ).save_pretrained(tmp_path / "vae")  # fmt: skip
    model = dataclasses.replace(CONFIG.model, cap_feat_dim=384)
    settings = config(autoencoder=f"flux:{tmp_path / 'vae'}", text="minilm", model=model, num_steps=2, checkpoint_every=2)
    result = train(settings, shards=shards, out=tmp_path / "run")
    assert not (result.checkpoint / "autoencoder.safetensors").exists()
    assert any(path.is_file() for path in (tmp_path / "run" / "text_features").rglob("*"))
    assert Sampler.open(result.checkpoint).generate(["a red square"], width_px=16, height_px=24).shape == (1, 24, 16, 3)


def test_parts_that_do_not_fit_are_named(shards: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="cap_feat_dim is 32; hash:16 gives 16"):
        train(config(text="hash:16"), shards=shards, out=tmp_path)
    with pytest.raises(ConfigError, match="in_channels is 3; pca:4:6 gives 6"):
        train(config(autoencoder="pca:4:6"), shards=shards, out=tmp_path)
    with pytest.raises(ConfigError, match="num_steps is 0"):
        config(num_steps=0)


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_the_batch(shards: Path, tmp_path: Path):
    with pytest.raises(StageFailed, match="step 2"):
        train(config(learning_rate=1e30, warmup_steps=0), shards=shards, out=tmp_path)
    saved = json.loads((tmp_path / "nan-step-000002.json").read_text())
    assert len(saved["batch"]) == 8
    assert {"id", "t", "caption"} == set(saved["batch"][0])


def test_old_checkpoints_are_pruned(shards: Path, tmp_path: Path):
    train(config(keep_checkpoints=2), shards=shards, out=tmp_path)
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == ["step-000008", "step-000012"]


def test_the_learning_rate_warms_up_stays_and_falls():
    c = TrainConfig(num_steps=100, warmup_steps=10, learning_rate=1.0, constant_share=0.6, final_lr_share=0.02)
    assert [learning_rate(s, c) for s in (0, 9, 30, 59)] == pytest.approx([0.1, 1, 1, 1])
    assert learning_rate(79, c) == pytest.approx(0.51)
    assert learning_rate(99, c) == pytest.approx(0.02)
    assert [ema_decay(s, 0.99) for s in (0, 10, 10_000)] == pytest.approx([0.1, 0.55, 0.99])


def test_a_checkpoint_rebuilds_its_configuration_and_model(straight: Path):
    checkpoint = straight / "step-000012"
    assert read_config(checkpoint) == CONFIG
    averaged, plain = load_model(checkpoint), load_model(checkpoint, ema=False)
    assert not torch.equal(averaged.x_pad_token, plain.layers[0].attention.to_q.weight)
    assert torch.equal(plain.cap_pad_token, load_file(checkpoint / "model.safetensors")["cap_pad_token"])
    with pytest.raises(ModelError, match="not a checkpoint"):
        read_config(straight)


def test_configurations_survive_json_and_unknown_keys_are_errors():
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(CONFIG)))) == CONFIG
    with pytest.raises(ConfigError, match="has no 'resolution'"):
        from_dict(DataConfig, {"resolution": 3})
