"""Grids of samples while training: always the same prompts from the same noise, so that two grids differ by the model alone."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from curation.errors import ModelError
from model.config import PreviewConfig, TrainConfig
from model.contact_sheet import contact_sheet
from model.data import Batches
from model.held_out import held_out_place
from model.released import Pipeline
from model.sampler import Sampler
from model.shard_reader import UnreadableSample, draw_caption
from model.watch import Update

logger = logging.getLogger(__name__)

COLUMNS = 8
"""Samples side by side."""


class SampleGrid:
    """The watch that samples with the averaged weights: samples/step-NNNNNN.png and an image in TensorBoard."""

    def __init__(self, batches: Batches, config: TrainConfig, settings: PreviewConfig, *, out: Path, writes: bool = True) -> None:
        """Prepare the prompts; writes: false on ranks that only take part in sampling."""
        self.batches, self.config, self.settings, self.out, self.writes = batches, config, settings, out, writes
        self.prompts = settings.prompts or prompts_of(batches, count=settings.count)
        batches.text.encode(["", *self.prompts])  # now: while training, another thread reads captions ahead

    def __call__(self, update: Update) -> dict[str, Any]:
        """Return `samples`, the path of the grid, on the steps that have one."""
        if update.step % self.settings.every and update.step != self.config.num_steps:
            return {}
        try:
            images = self._images(update)
        except ModelError as error:  # one prompt overflowed; losses have a guard of their own
            logger.warning("no grid after update %d: %s", update.step, error)
            return {}
        path = self.out / "samples" / f"step-{update.step:06d}.png"
        if self.writes:
            path.parent.mkdir(parents=True, exist_ok=True)
            contact_sheet(list(images), list(self.prompts), columns=COLUMNS).save(path)
        return {"samples": path}

    def _images(self, update: Update) -> np.ndarray:
        with update.state.averaged() as model:
            return self._sampler(model).generate(
                self.prompts,
                width_px=self.settings.width_px or self.config.data.resolution_px,
                height_px=self.settings.height_px or self.config.data.resolution_px,
                num_steps=self.settings.num_steps,
                guidance=self.settings.guidance,
                seed=self.settings.seed,
                batch_size=self.config.batch_size,
            )

    def _sampler(self, model: Any) -> Sampler:
        parts = Pipeline(
            model=model,
            autoencoder=self.batches.autoencoder,
            text=self.batches.text.encoder,
            shift=self.config.shift,
            dynamic_shift=self.config.dynamic_shift,
        )
        sampler = Sampler(parts, device=self.config.device)
        sampler.text = self.batches.text  # its features are cached
        return sampler


def prompts_of(batches: Batches, *, count: int) -> tuple[str, ...]:
    """Return different captions of the data, those of held-out images first, in the order of the images' hashes."""
    ids, found = batches.reader.ids, dict[str, None]()
    for buckets in (batches.plan.held_out, batches.plan.buckets):
        rows = sorted({int(row) for bucket in buckets for row in bucket.rows}, key=lambda row: (held_out_place(ids[row], 0), row))
        for row in rows:
            if len(found) == count:
                return tuple(found)
            try:
                found[_caption(batches, row)] = None
            except UnreadableSample:
                if batches.config.data.on_error == "stop":
                    raise
    return tuple(found)


def _caption(batches: Batches, row: int) -> str:
    """Return the caption of an image that training would draw with its weights, chosen by a hash of the id."""
    data = batches.config.data
    place, captions = held_out_place(batches.reader.ids[row], -1), batches.reader.captions(row)
    return draw_caption(captions, place, level_weights=data.level_weights, language_weights=data.language_weights)
