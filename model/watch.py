"""Watches: what looks at a training run after each update (validation, sample grids, losses by sample) without changing it."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from model.train_batch import TrainBatch
from model.train_state import TrainState


@dataclass(frozen=True)
class Update:
    """One finished update as a watch sees it."""

    step: int
    """Number of finished updates, from 1."""
    batch: TrainBatch
    """What this rank trained on."""
    losses: Tensor
    """Loss of each sample of `batch`, float32 (B,), on the CPU."""
    state: TrainState
    """The run after the update; to be read only."""
    seconds: float
    """From asking for the batch to the end of the update; what watches and checkpoints took is not in it."""
    data_seconds: float
    """Part of `seconds` spent waiting for the batch."""


class Watch(Protocol):
    """Called on every rank after every update; the numbers it returns join the update's log line."""

    def __call__(self, update: Update) -> dict[str, Any]:
        """Look at `update` and return what to log, often nothing."""
        ...
