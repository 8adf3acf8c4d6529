"""The training loop: flow matching on the batches of a plan, one plain function for one process or many.

A run is a function of (shards, config): killed at any moment and started again, it goes on from its newest checkpoint to the same
bits as an undisturbed run, for the log is cut back to that step and every draw of a step is keyed by its place in the plan.
Processes are started by others (model/ranks.py); each trains on its slice of every global batch, and the gradient is that of the
mean over the whole batch, whatever their number. Only the first writes.
Out: log.jsonl (one line per step), plan.json (the bucket report), step-NNNNNN/ checkpoints, tensorboard/.
"""

import fcntl
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curation.errors import ConfigError, Stopped
from model.checkpoint import Progress, latest_checkpoint
from model.checkpoint_writer import CheckpointWriter
from model.config import TrainConfig
from model.deterministic import deterministic_kernels
from model.non_finite import finite, stop_at_nan
from model.objective import sample_losses
from model.parallel import clip, exchange_gradients
from model.ranks import ERROR_FILE, Ranks, device_of, joined, shared_errors
from model.run_inputs import base_of, open_batches
from model.schedule import learning_rate
from model.stopping import requests
from model.train_batch import TrainBatch
from model.train_log import TrainLog
from model.train_state import TrainState
from model.watch import Update, Watch
from model.watches import configured

logger = logging.getLogger(__name__)

Tell = Callable[[dict[str, Any]], None]


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
    progress: Tell | None = None,
    resume: bool = True,
    watches: Sequence[Watch] = (),
) -> TrainResult:
    """Train on the shards of a folder or URL until config.num_steps and return the result; a finished run returns at once.

    While another process trains in `out`, this one waits: the worker of a killed driver lives on for some seconds.
    progress: called after every step with its log line, in the first process.
    resume: go on from the newest complete checkpoint in `out`; false starts over and removes what is there.
    watches: called after every update, before it is logged; see model/watch.py.
    Raises StaleInput if `out` was trained on other shards or settings, ConfigError if model, autoencoder and text do not fit,
    StageFailed if the loss stops being finite (the batch is saved as nan-step-NNNNNN.json) or another process failed, Stopped
    after the update and checkpoint in which a signal came (model/stopping.py).
    """
    out, started, threads = Path(out), time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(config.num_threads)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with (
            deterministic_kernels(config.deterministic),
            joined(config.device) as ranks,
            shared_errors(out, ranks),
            ExitStack() as held,
        ):
            checkpoint = ranks.first_does(lambda: _enter(held, out, resume))
            run = _Run(config, shards, out, checkpoint, ranks)
            losses = run.loop(progress, watches)
            return run.result(losses, time.monotonic() - started)
    finally:
        torch.set_num_threads(threads)


def _enter(held: ExitStack, out: Path, resume: bool) -> Path | None:
    """Take the folder for this training and return the checkpoint to go on from."""
    held.enter_context(_alone(out))
    (out / ERROR_FILE).unlink(missing_ok=True)
    if not resume:
        _clear(out)
    return latest_checkpoint(out)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the lock of a training folder; it ends with the process, even by kill -9."""
    with (out / "_lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("another process is training in %s; waiting for it to end", out)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Run:
    """One process's part of a training: its batches, its state, and what it writes."""

    def __init__(self, config: TrainConfig, shards: Path | str, out: Path, checkpoint: Path | None, ranks: Ranks) -> None:
        if config.batch_size < ranks.size * config.accumulation and not config.data.token_budget:
            raise ConfigError(
                f"batch_size is {config.batch_size}; {ranks.size} processes x accumulation {config.accumulation} need one "
                "sample each at least"
            )
        self.config, self.out, self.ranks = replace(config, device=device_of(config.device, ranks)), out, ranks
        base = ranks.first_does(lambda: base_of(config, checkpoint))
        self.images = 0
        self.batches = open_batches(self.config, shards, out, checkpoint=checkpoint, base=base, ranks=ranks)
        digest = self.batches.plan.digest
        self.state = TrainState.create(self.config, checkpoint, digest, base=base, ranks=ranks)
        self.writer = CheckpointWriter(out, config, self.batches.autoencoder, base=base, ranks=ranks)

    def loop(self, progress: Tell | None, watches: Sequence[Watch]) -> list[float]:
        """Train to the last step and return the losses of all steps that were run."""
        at, config, losses = self.state.progress, self.config, list[float]()
        watches = [*configured(config, self.batches, self.out, rank=self.ranks.rank), *watches]
        log_file = TrainLog(self.out, at.step) if self.ranks.first else nullcontext()
        with self.writer as writer, log_file as log, requests() as request:
            asked = time.monotonic()
            left = config.num_steps - at.step
            for batch in self.batches.run(at.epoch, at.number, count=left, rank=self.ranks.rank, world_size=self.ranks.size):
                step, ready = self.state.progress.step, time.monotonic()
                record, each = self._update(batch, step)
                done = time.monotonic()
                losses.append(record["loss"])
                self.state.progress = Progress(step + 1, batch.epoch, batch.number + 1, at.plan_digest)
                update = Update(step + 1, batch, each, self.state, seconds=done - asked, data_seconds=ready - asked)
                record |= {"step_seconds": round(update.seconds, 6), "data_seconds": round(update.data_seconds, 6)}
                for watch in watches:
                    record |= watch(update)
                if log is not None:
                    log.write(record)
                    if progress is not None:
                        progress(record)
                stop = int(max(self.ranks.gathered(float(request.signal))))  # what one process was sent, all do
                if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.num_steps or stop:
                    writer.save(self.state)
                if stop:
                    break
                asked = time.monotonic()
        if (step := self.state.progress.step) < config.num_steps:
            raise Stopped(f"stopped after update {step} of {config.num_steps}; the same command goes on there", signal=stop)
        return losses

    def _update(self, batch: TrainBatch, step: int) -> tuple[dict[str, Any], Tensor]:
        """One optimiser step on this process's slice of a global batch; returns what to log and the slice's losses."""
        config, state, rate = self.config, self.state, learning_rate(step, self.config)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.zero_grad(set_to_none=True)
        each = gradients(state, batch, config, self.ranks)
        grad_norm = clip(state.trained.values(), config.max_grad_norm)
        loss = math.fsum(self.ranks.gathered(float(each.double().sum()))) / batch.global_size
        if not finite(loss, grad_norm):
            stop_at_nan(state.model, batch, each, config, self.ranks, out=self.out, step=step + 1, loss=loss, grad_norm=grad_norm)
        state.optimizer.step()
        state.follow(step, config.ema_decay)
        self.images += batch.global_size
        record = {"step": step + 1, "epoch": batch.epoch, "loss": loss, "grad_norm": grad_norm, "lr": rate}
        if config.data.on_error == "skip":
            record["replaced"] = int(sum(self.ranks.gathered(float(batch.replaced))))
        return record, each

    def result(self, losses: list[float], seconds: float) -> TrainResult:
        """Return what the run ended with."""
        final = latest_checkpoint(self.out)
        assert final is not None
        tail = losses[-max(1, len(losses) // 10) :]
        return TrainResult(
            step=self.state.progress.step,
            checkpoint=final,
            loss=sum(tail) / len(tail) if tail else math.nan,
            images_per_second=self.images / seconds,
            wall_seconds=seconds,
            num_parameters=sum(p.numel() for p in self.state.model.parameters()),
        )


def gradients(state: TrainState, batch: TrainBatch, config: TrainConfig, ranks: Ranks) -> Tensor:
    """Leave the gradient of the mean over the global batch in the parameters; return the losses of this slice, on the CPU.

    FSDP takes the mean over processes, hence the factor: slices and micro-batches need not be equally long.
    """
    parts, found = batch.split(config.accumulation), list[Tensor]()
    for i, part in enumerate(parts):
        exchange_gradients(state.model, last=i == len(parts) - 1)
        losses = sample_losses(state.model, part, config)
        torch.autograd.backward(losses.sum() * (ranks.size / batch.global_size))
        found.append(losses.detach().cpu())
    return torch.cat(found)


def _clear(out: Path) -> None:
    for path in [*out.glob("step-*"), *out.glob(".step-*"), out / "tensorboard", out / "samples"]:
        shutil.rmtree(path, ignore_errors=True)
    (out / "log.jsonl").unlink(missing_ok=True)
