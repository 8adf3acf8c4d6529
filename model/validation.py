"""Validation while training: the loss of held-out images at fixed times and with fixed noise, with averaged and with raw weights.

Training's own loss hardly shows progress: which times and noise an update draws decides most of it. Here every image meets the
same times and noise at every step, so two values differ by the model alone. Each time is logged by itself, as it explains most of
a loss (pytorch/torchtitan#1150). Batches do not depend on the number of processes, which share them out: the numbers are alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curation.errors import ConfigError
from model.autoencoder import encoded
from model.buckets import Shape
from model.config import DataConfig, TrainConfig, ValidationConfig
from model.data import Batches
from model.dit import DiT
from model.draws import draws
from model.held_out import held_out_place
from model.objective import sample_losses
from model.plan import Plan
from model.ranks import present
from model.shard_reader import Caption, draw_caption
from model.train_batch import TrainBatch, measured_batch
from model.watch import Update


@dataclass(frozen=True)
class Held:
    """One held-out image with the caption it is validated with."""

    id: str
    shape: Shape
    latent: Tensor  # float32 (C, h, w)
    caption: str
    text: Tensor  # float32 (L, width)


class Validation:
    """The watch that computes the validation loss; holds the latents and text features of the held-out images."""

    def __init__(self, batches: Batches, config: TrainConfig, settings: ValidationConfig) -> None:
        """Read and encode the images; raises ConfigError when none is held out."""
        self.config, self.settings = config, settings
        held = [_held(batches, row, shape) for row, shape in chosen(batches.plan, batches.reader.ids, settings)]
        self.batches = list(fixed_batches(held, times=settings.times, seed=settings.seed, batch_size=config.batch_size))

    def __call__(self, update: Update) -> dict[str, Any]:
        """Return validation/ema and validation/raw, the means over images and times, and validation/ema_t<time>."""
        if update.step % self.settings.every and update.step != self.config.num_steps:
            return {}
        with update.state.averaged() as model:
            averaged = shared_losses(model, self.batches, self.config)
        raw = shared_losses(update.state.model, self.batches, self.config)
        times = np.concatenate([batch.t.numpy() for batch in self.batches])
        by_time = {f"validation/ema_t{t:g}": float(averaged[times == np.float32(t)].mean()) for t in self.settings.times}
        return {"validation/ema": float(averaged.mean()), "validation/raw": float(raw.mean())} | by_time


def chosen(plan: Plan, ids: Sequence[str], settings: ValidationConfig) -> list[tuple[int, Shape]]:
    """Return row and shape of the images to validate on: the first held-out ones by their hash."""
    held = [(int(row), bucket.shape) for bucket in plan.held_out for row in bucket.rows]
    if not held:
        raise ConfigError(f"validation.share = {settings.share} holds out none of {len(ids)} images; raise it")
    return sorted(held, key=lambda one: (held_out_place(ids[one[0]], settings.seed), ids[one[0]]))[: settings.samples]


def _held(batches: Batches, row: int, shape: Shape) -> Held:
    """Encode one image, with the caption that a hash of its id draws."""
    sample, data = batches.reader.ids[row], batches.config.data
    caption = fixed_caption(sample, batches.reader.captions(row), data)
    latent = encoded(batches.autoencoder, batches.reader.pixels(row, shape))
    return Held(sample, shape, latent, caption, batches.text.encode([caption])[0])


def fixed_caption(sample: str, captions: Sequence[Caption], data: DataConfig) -> str:
    """Return the caption of a sample that training would draw with its weights, chosen by a hash of the id."""
    return draw_caption(
        captions, held_out_place(sample, -1), level_weights=data.level_weights, language_weights=data.language_weights
    )


def fixed_batches(held: Sequence[Held], *, times: Sequence[float], seed: int, batch_size: int) -> Iterator[TrainBatch]:
    """Yield batches of one shape and one time each; the noise is a function of (seed, id, time)."""
    for shape in sorted({one.shape for one in held}):
        group = [one for one in held if one.shape == shape]
        for t in times:
            for start in range(0, len(group), batch_size):
                yield _batch(group[start : start + batch_size], t, seed)


def _batch(part: Sequence[Held], t: float, seed: int) -> TrainBatch:
    return measured_batch(
        [one.latent for one in part],
        [fixed_noise(seed, one.id, t, tuple(one.latent.shape)) for one in part],
        t,
        text=[one.text for one in part],
        captions=[one.caption for one in part],
        ids=[one.id for one in part],
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
