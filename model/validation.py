"""Validation while training: the loss of held-out images and edits at fixed times and with fixed noise, averaged and raw weights.

Training's own loss hardly shows progress: which times and noise an update draws decides most of it. Here every sample meets the
same times and noise at every step, so two values differ by the model alone. Each time is logged by itself, as it explains most of
a loss (pytorch/torchtitan#1150). Batches do not depend on the number of processes, which share them out: the numbers are alike.
Edits are logged apart: their reference gives most of the target away, so their losses are not those of images.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curation.errors import ConfigError
from model.buckets import Bucket, Shape
from model.config import TrainConfig, ValidationConfig
from model.data import Batches
from model.dit import DiT
from model.draws import draws
from model.held_out import held_out_place
from model.objective import sample_losses
from model.plan import Task
from model.ranks import present
from model.samples import Sample
from model.shard_reader import UnreadableSample
from model.train_batch import Reference, TrainBatch, measured_batch
from model.watch import Update

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """One held-out sample with the caption or instruction it is validated with."""

    sample: Sample
    shape: Shape
    text: Tensor  # float32 (L, width)
    reference: Reference | None = None
    """What an edit starts from."""


class Validation:
    """The watch that computes the validation loss; holds the latents and text features of the held-out samples."""

    def __init__(self, batches: Batches, config: TrainConfig, settings: ValidationConfig) -> None:
        """Read and encode the samples; raises ConfigError when no image is held out, or none of them can be read.

        A sample that cannot be read ends training, or with data.on_error skip gives its place to the next one.
        """
        self.config, self.settings = config, settings
        self.batches = self._fixed(held_out(batches, "image", config, settings))
        self.edits = self._fixed(held_out(batches, "edit", config, settings)) if config.data.pairs else []
        if config.data.pairs and not self.edits:
            logger.warning(
                "no edit pair is validated: none that can be read is made of an image that validation.share = %s holds out",
                settings.share,
            )

    def __call__(self, update: Update) -> dict[str, Any]:
        """Return validation/ema and validation/raw, the means over images and times, and validation/ema_t<time>.

        Of edits, if some are held out: validation/edit_ema, validation/edit_raw and validation/edit_ema_t<time>.
        """
        if update.step % self.settings.every and update.step != self.config.num_steps:
            return {}
        found = self._losses(update, self.batches, "")
        return found | (self._losses(update, self.edits, "edit_") if self.edits else {})

    def _losses(self, update: Update, batches: Sequence[TrainBatch], kind: str) -> dict[str, float]:
        with update.state.averaged() as model:
            averaged = shared_losses(model, batches, self.config)
        raw = shared_losses(update.state.model, batches, self.config)
        times = np.concatenate([batch.t.numpy() for batch in batches])
        means = {f"ema_t{t:g}": averaged[times == np.float32(t)].mean() for t in self.settings.times}
        means = {"ema": averaged.mean(), "raw": raw.mean()} | means
        return {f"validation/{kind}{name}": float(mean) for name, mean in means.items()}

    def _fixed(self, held: Sequence[Held]) -> list[TrainBatch]:
        settings = self.settings
        return list(fixed_batches(held, times=settings.times, seed=settings.seed, batch_size=self.config.batch_size))


def held_out(batches: Batches, task: Task, config: TrainConfig, settings: ValidationConfig) -> list[Held]:
    """Return the held-out samples of a task that are validated: the first ones by the hash of their ids, that can be read."""
    places = _places(batches, task, settings)
    held = list[Held]()
    for row, shape in places:
        if len(held) == settings.samples:
            break
        try:
            sample, text, reference = batches.fixed(task, row, shape)
        except UnreadableSample as error:
            if config.data.on_error == "stop":
                raise
            logger.warning("not validated on: %s", error)
            continue
        held.append(Held(sample, shape, text, reference))
    if task == "image" and not held:
        found = f"{len(places)} (none can be read)" if places else "none"
        raise ConfigError(f"validation.share = {settings.share} holds out {found} of {len(batches.ids(task))} images; raise it")
    return held


def _places(batches: Batches, task: Task, settings: ValidationConfig) -> list[tuple[int, Shape]]:
    """Return row and shape of the held-out samples of a task, in the order of their hashes."""
    buckets: Sequence[Bucket] = batches.plan.held_out if task == "image" else batches.plan.held_out_edits
    ids = batches.ids(task)
    places = [(int(row), bucket.shape) for bucket in buckets for row in bucket.rows]
    return sorted(places, key=lambda one: (held_out_place(ids[one[0]], settings.seed), ids[one[0]]))


def fixed_batches(held: Sequence[Held], *, times: Sequence[float], seed: int, batch_size: int) -> Iterator[TrainBatch]:
    """Yield batches of one shape and one time each; the noise is a function of (seed, id, time)."""
    for shape in sorted({one.shape for one in held}):
        group = [one for one in held if one.shape == shape]
        for t in times:
            for start in range(0, len(group), batch_size):
                yield _batch(group[start : start + batch_size], t, seed)


def _batch(part: Sequence[Held], t: float, seed: int) -> TrainBatch:
    references = [one.reference for one in part if one.reference is not None]
    return measured_batch(
        [one.sample.latent for one in part],
        [fixed_noise(seed, one.sample.id, t, tuple(one.sample.latent.shape)) for one in part],
        t,
        text=[one.text for one in part],
        captions=[one.sample.caption.text for one in part],
        ids=[one.sample.id for one in part],
        references=references or None,
    )


def fixed_noise(seed: int, sample: str, t: float, size: tuple[int, ...]) -> Tensor:
    """Return normal noise of `size`, a function of (seed, sample, t) alone."""
    key = int(held_out_place(f"{sample}/{t:g}", seed) * 2**62)
    return torch.from_numpy(draws(seed, 0, key, 0).standard_normal(size, dtype=np.float32))


@torch.no_grad()
def shared_losses(model: DiT, batches: Sequence[TrainBatch], config: TrainConfig) -> np.ndarray:
    """Return the losses of batches, one after the other, float64; ranks share the batches out and all return the same.

    EVERY RANK RUNS THE MODEL EQUALLY OFTEN, for its weights may have to be gathered from all: a rank without a batch left takes
    the last one again and does not count it.
    """
    ranks = present()
    starts = np.cumsum([0, *(len(batch) for batch in batches)])
    found = torch.zeros(int(starts[-1]), dtype=torch.float64)
    for turn in range(-(-len(batches) // ranks.size)):
        which = turn * ranks.size + ranks.rank
        losses = sample_losses(model, batches[min(which, len(batches) - 1)], config)
        if which < len(batches):
            found[starts[which] : starts[which + 1]] = losses.double().cpu()
    if ranks.size > 1:
        found = found.to(config.device)
        torch.distributed.all_reduce(found)
    return found.cpu().numpy()
