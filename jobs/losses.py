"""Losses of single images inside a run: the trained model looks at every shard again."""

from collections.abc import Sequence
from typing import Any

from curation.tables import Run
from jobs.sample import newest
from jobs.stage import Item, Output
from model.sample_losses import LossMeter


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item per shard."""
    return [{"parts": [part]} for part in range(run.num_parts("shards"))]


class Meter:
    """Holds the trained model; maps a shard to its part of SAMPLE_LOSS."""

    def __init__(self, *, times: Sequence[float], captions: int, share: float, batch_size: int, seed: int) -> None:
        self.settings: dict[str, Any] = {
            "times": times, "captions": captions, "share": share, "batch_size": batch_size, "seed": seed
        }  # fmt: skip
        self._meter: LossMeter | None = None

    def __call__(self, run: Run, item: Item) -> list[Output]:
        """Measure the images of one shard."""
        if self._meter is None:
            self._meter = LossMeter(newest(run), **self.settings)
        (part,) = item["parts"]
        return [Output(part, self._meter(run.folder("shards"), run.read_part("shards", part)))]
