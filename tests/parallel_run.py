"""Trainings that tests compare: straight and interrupted, by one process or by two of torch.distributed over gloo."""

import dataclasses
import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from curation.errors import ImageloomError, SourceError
from model.config import DataConfig, DiTConfig, LoraConfig, PreviewConfig, TrainConfig, ValidationConfig
from model.train import train
from model.watch import Update, Watch

MODEL = DiTConfig(
    dim=64, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, in_channels=3, cap_feat_dim=32, axes_dims=(8, 12, 12),
    pad_to=4,
)  # fmt: skip
CONFIG = TrainConfig(
    model=MODEL, data=DataConfig(resolution_px=16), autoencoder="pca:4:3", text="hash:32", num_steps=20, batch_size=7,
    warmup_steps=3, learning_rate=1e-3, ema_decay=0.9, checkpoint_every=4, keep_checkpoints=0, num_threads=1,
    validation=ValidationConfig(every=10, samples=4, share=0.2, times=(0.3, 0.7)),
    preview=PreviewConfig(every=20, count=2, num_steps=2),
)  # fmt: skip
"""Seven images per update: two processes have 3 and 4 of them."""


def config(**changes: Any) -> TrainConfig:
    return dataclasses.replace(CONFIG, **changes)


LOW = config(precision="bf16", checkpoint_every=20)


def adapted(base: Path) -> TrainConfig:
    """A training of adapters on a checkpoint."""
    lora = LoraConfig(rank=2, alpha=4.0, targets=("to_q", "w2"))
    return config(init=str(base), lora=lora, num_steps=8, checkpoint_every=2, validation=None, preview=None)


class Interrupted(Exception):
    """What ends an interrupted training."""


class StopAfter:
    """A watch that ends training in the middle of a step, in every process."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, update: Update) -> dict[str, Any]:
        if update.step == self.step:
            raise Interrupted
        return {}


def train_until(step: int, settings: TrainConfig, *, shards: Path, out: Path) -> None:
    """Train until the end of update `step`, whose log line and checkpoint are not written."""
    try:
        train(settings, shards=shards, out=out, watches=[StopAfter(step)])
    except Interrupted:
        return
    raise AssertionError("training was not interrupted")


def random_points(count: int) -> list[int]:
    """Return steps at which to interrupt, other ones every day, in order."""
    points = sorted(random.SystemRandom().sample(range(2, CONFIG.num_steps), count))
    print("interrupted in steps", points)
    return points


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


def in_processes(count: int, shards: Path, out: Path, *names: str) -> None:
    """Run the named trainings of TRAININGS, one after the other, in `count` processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, __file__, str(shards), str(out), *names]
    root = Path(__file__).parent.parent
    processes = [
        subprocess.Popen(command, env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(root)})
        for rank in range(count)
    ]
    assert [process.wait(timeout=400) for process in processes] == [0] * count


def interrupted(shards: Path, out: Path) -> None:
    """Train with interruptions at the drawn steps."""
    for step in json.loads((out / "points.json").read_text()):  # drawn by the test: both processes must know the same
        train_until(step, CONFIG, shards=shards, out=out / "interrupted")
    train(CONFIG, shards=shards, out=out / "interrupted")


class FailsInOneProcess:
    """A watch that raises in the second process alone."""

    def __call__(self, update: Update) -> dict[str, Any]:
        if update.step == 2 and os.environ["RANK"] == "1":
            raise SourceError("the disk is gone")
        return {}


class SignalToOneProcess:
    """A watch that sends SIGTERM to the second process alone."""

    def __call__(self, update: Update) -> dict[str, Any]:
        if update.step == 3 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return {}


def fail(out: Path, shards: Path, settings: TrainConfig, *watches: Watch) -> None:
    """Write what a training that must fail says, in every process."""
    try:
        train(settings, shards=shards, out=out, watches=watches)
    except ImageloomError as error:
        (out / f"said-{os.environ['RANK']}.txt").write_text(f"{type(error).__name__}: {error}")


TRAININGS = {
    "straight": lambda shards, out: train(CONFIG, shards=shards, out=out / "straight"),
    "interrupted": interrupted,
    "replicated": lambda shards, out: train_until(
        9, config(shard="none", accumulation=3, gradient_checkpointing=True), shards=shards, out=out / "replicated"
    ),
    "bf16": lambda shards, out: train_until(5, LOW, shards=shards, out=out / "bf16"),
    "relay": lambda shards, out: train_until(14, CONFIG, shards=shards, out=out / "relay"),
    "adapted": lambda shards, out: train_until(7, adapted(out / "base"), shards=shards, out=out / "adapted"),
    "nan": lambda shards, out: fail(out / "nan", shards, config(learning_rate=1e30, warmup_steps=0, validation=None)),
    "stopped": lambda shards, out: fail(out / "stopped", shards, CONFIG, SignalToOneProcess()),
    "lonely": lambda shards, out: fail(out / "lonely", shards, CONFIG, FailsInOneProcess()),
}  # fmt: skip


if __name__ == "__main__":
    from model.ranks import joined

    with joined("cpu"):
        for name in sys.argv[3:]:
            TRAININGS[name](Path(sys.argv[1]), Path(sys.argv[2]))
