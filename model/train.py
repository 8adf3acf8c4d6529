"""The training loop: flow matching on the batches of a plan, one plain function for one process.

A run is a function of (shards, config): killed at any moment and started again, it goes on from its newest checkpoint to the same
bits as an undisturbed run, for the log is cut back to that step and every draw of a step is keyed by its place in the plan.
Out: log.jsonl (one line per step), plan.json (the bucket report), step-NNNNNN/ checkpoints, tensorboard/.
"""

import fcntl
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curation.errors import ConfigError, StaleInput
from model.autoencoder import Autoencoder, FluxVAE, PCAAutoencoder, parse_autoencoder, to_signed
from model.checkpoint import Progress, latest_checkpoint, load_autoencoder, read_config, read_progress
from model.config import DATA_BOOKKEEPING, TrainConfig, to_dict
from model.data import Batches, ShardReader, TrainBatch, feature_folder, make_plan
from model.objective import sample_losses
from model.plan import Plan
from model.schedule import learning_rate
from model.shard_reader import UnreadableSample
from model.text import TextCache, text_encoder
from model.train_log import TrainLog, stop_at_nan
from model.train_state import TrainState
from model.watch import Update, Watch
from model.watches import configured

logger = logging.getLogger(__name__)

BOOKKEEPING = frozenset({"num_threads", "checkpoint_every", "keep_checkpoints", "device", "validation", "preview", "peak_tflops"})
"""Settings that may change when a run is resumed; all others decide what is learned. What validation holds out is in the plan."""

PCA_IMAGES = 4096
"""Images the PCA autoencoder is fitted to: evenly spaced rows of the index."""


@dataclass(frozen=True)
class TrainResult:
    """What a run ends with."""

    step: int
    checkpoint: Path
    loss: float
    """Mean over the last tenth of the steps that this call ran; nan if it ran none."""
    images_per_second: float
    wall_seconds: float
    num_parameters: int


def train(
    config: TrainConfig,
    *,
    shards: Path | str,
    out: Path,
    progress: Callable[[dict[str, Any]], None] | None = None,
    resume: bool = True,
    watches: Sequence[Watch] = (),
) -> TrainResult:
    """Train on the shards of a folder or URL until config.num_steps and return the result; a finished run returns at once.

    While another process trains in `out`, this one waits: the worker of a killed driver lives on for some seconds.
    progress: called after every step with its log line.
    resume: go on from the newest complete checkpoint in `out`; false starts over and removes what is there.
    watches: called after every update, before it is logged; see model/watch.py.
    Raises StaleInput if `out` was trained on other shards or settings, ConfigError if model, autoencoder and text do not fit,
    StageFailed if the loss stops being finite (the batch is saved as nan-step-NNNNNN.json).
    """
    started, threads = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(config.num_threads)
    try:
        with _alone(Path(out)):
            return _train(config, shards, Path(out), progress, resume, watches, started)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the lock of a training folder; it ends with the process, even by kill -9."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "_lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("another process is training in %s; waiting for it to end", out)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _train(
    config: TrainConfig,
    shards: Path | str,
    out: Path,
    progress: Callable[[dict[str, Any]], None] | None,
    resume: bool,
    watches: Sequence[Watch],
    started: float,
) -> TrainResult:
    if not resume:
        _clear(out)
    checkpoint = latest_checkpoint(out)
    reader = ShardReader(shards)
    kind, rest = parse_autoencoder(config.autoencoder)
    vae = FluxVAE(rest, device=config.device) if kind == "flux" else None
    downsample = vae.downsample if vae else int(rest.split(":")[0])
    plan = make_plan(config, reader, unit_px=downsample * config.model.patch_px)
    if checkpoint is not None:
        _check_same_run(checkpoint, config, plan.digest)
    (out / "plan.json").write_text(json.dumps(plan.report(), indent=1) + "\n")
    logger.info("plan %s: %s", plan.digest[:8], json.dumps(plan.report()))
    autoencoder = vae or (load_autoencoder(config, checkpoint) if checkpoint else _fitted_pca(config, reader, plan))
    folder = feature_folder(config, shards)
    kept = None if config.text.startswith("hash:") else folder or out / "text_features"  # hashing is faster than a disk
    text = TextCache(text_encoder(config.text, device=config.device), folder=kept, max_bytes=config.data.cache_bytes,
                     folder_bytes=config.data.latent_cache_bytes)  # fmt: skip
    _check_fit(config, autoencoder, text.encoder.width)
    state = TrainState.create(config, checkpoint, plan.digest)
    batches = Batches(plan, reader, autoencoder, text, config, patch=config.model.patch_px, folder=folder)
    losses = _loop(state, batches, config, out, progress, watches)
    seconds = time.monotonic() - started
    final = latest_checkpoint(out)
    assert final is not None
    tail = losses[-max(1, len(losses) // 10) :]
    return TrainResult(
        step=state.progress.step,
        checkpoint=final,
        loss=sum(tail) / len(tail) if tail else math.nan,
        images_per_second=len(losses) * config.batch_size / seconds,
        wall_seconds=seconds,
        num_parameters=sum(p.numel() for p in state.model.parameters()),
    )


def _loop(
    state: TrainState,
    batches: Batches,
    config: TrainConfig,
    out: Path,
    progress: Callable[[dict[str, Any]], None] | None,
    watches: Sequence[Watch],
) -> list[float]:
    losses: list[float] = []
    at = state.progress
    watches = [*configured(config, batches, out), *watches]
    with TrainLog(out, at.step) as log:
        asked = time.monotonic()
        for batch in batches.run(at.epoch, at.number, count=config.num_steps - at.step):
            step, ready = state.progress.step, time.monotonic()
            each, grad_norm = _update(state, batch, config, step)
            done = time.monotonic()
            loss = float(each.mean())
            if not (math.isfinite(loss) and math.isfinite(grad_norm)):
                stop_at_nan(out, step + 1, batch, loss, grad_norm)
            losses.append(loss)
            state.progress = Progress(step + 1, batch.epoch, batch.number + 1, at.plan_digest)
            record = {
                "step": step + 1,
                "epoch": batch.epoch,
                "loss": loss,
                "grad_norm": grad_norm,
                "lr": learning_rate(step, config),
            }
            for watch in watches:
                record |= watch(Update(step + 1, batch, each, state, seconds=done - asked, data_seconds=ready - asked))
            log.write(record)
            if progress is not None:
                progress(record)
            if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.num_steps:
                state.save(batches.autoencoder, config, out)
            asked = time.monotonic()
    return losses


def _update(state: TrainState, batch: TrainBatch, config: TrainConfig, step: int) -> tuple[Tensor, float]:
    """One optimiser step on one batch; returns the samples' losses and the gradient norm before clipping.

    Not finite: nothing is updated.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(step, config)
    losses = sample_losses(state.model, batch, config)
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(losses.mean())
    grad_norm = float(torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.max_grad_norm))
    losses = losses.detach().cpu()
    if math.isfinite(float(losses.mean())) and math.isfinite(grad_norm):
        state.optimizer.step()
        state.follow(step, config.ema_decay)
    return losses, grad_norm


def _fitted_pca(config: TrainConfig, reader: ShardReader, plan: Plan) -> PCAAutoencoder:
    downsample, channels = (int(part) for part in parse_autoencoder(config.autoencoder)[1].split(":"))
    return PCAAutoencoder.fit(_images(reader, plan, config.data.on_error), downsample=downsample, channels=channels)


def _images(reader: ShardReader, plan: Plan, on_error: str) -> Iterator[Tensor]:
    """Training images one by one, at most PCA_IMAGES of them, evenly spaced; data.on_error says what becomes of bad ones."""
    places = [(int(row), bucket.shape) for bucket in plan.buckets for row in bucket.rows]
    for i in range(min(len(places), PCA_IMAGES)):
        row, shape = places[i * len(places) // min(len(places), PCA_IMAGES)]
        try:
            yield to_signed(torch.from_numpy(reader.pixels(row, shape))[None])
        except UnreadableSample:
            if on_error == "stop":
                raise


def _check_fit(config: TrainConfig, autoencoder: Autoencoder, text_width: int) -> None:
    if config.model.in_channels != autoencoder.channels:
        raise ConfigError(f"model.in_channels is {config.model.in_channels}; {config.autoencoder} gives {autoencoder.channels}")
    if config.model.cap_feat_dim != text_width:
        raise ConfigError(f"model.cap_feat_dim is {config.model.cap_feat_dim}; {config.text} gives {text_width}")


def _check_same_run(checkpoint: Path, config: TrainConfig, digest: str) -> None:
    old, new = to_dict(read_config(checkpoint)), to_dict(config)
    for settings in (old, new):
        settings["data"] = {key: value for key, value in settings["data"].items() if key not in DATA_BOOKKEEPING}
    changed = sorted(key for key in new if key not in BOOKKEEPING and old.get(key) != new[key])
    if changed:
        key = changed[0]
        raise StaleInput(
            f"{checkpoint} was trained with {key} = {old.get(key)}, now {new[key]}; start over or use another folder"
        )
    if read_progress(checkpoint).plan_digest != digest:
        raise StaleInput(f"{checkpoint} was trained on other shards (another plan digest); start over or use another folder")


def _clear(out: Path) -> None:
    for path in [*out.glob("step-*"), *out.glob(".step-*"), out / "tensorboard"]:
        shutil.rmtree(path, ignore_errors=True)
    (out / "log.jsonl").unlink(missing_ok=True)
