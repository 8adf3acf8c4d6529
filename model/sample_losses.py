"""How well a trained model knows each image of the shards: its loss at fixed times and with fixed noise, caption by caption.

In: a checkpoint and the index of a shard. Out: SAMPLE_LOSS, to be joined with every other table by id or row. The time explains
most of a loss, so losses are comparable inside one time only (curation/relative_loss.py). All images of one size meet the same
noise and its negative, so that noise does not decide which seems hard: this finds more planted faults than noise of each image's
own. Beside each loss stands that without the caption, from the same noise: a wrong caption helps little or harms, however hard
the picture is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from curation.schema import SAMPLE_LOSS, conform
from model.autoencoder import encoded
from model.buckets import Shape, caption_weight, training_shape
from model.checkpoint import load_autoencoder, load_model, read_config, read_progress
from model.config import TrainConfig
from model.dit import DiT
from model.held_out import held_out_place, is_held_out
from model.objective import sample_losses
from model.ranks import usable
from model.shard_reader import Caption, ShardReader, UnreadableSample
from model.text import TextCache, text_encoder
from model.train_batch import TrainBatch, measured_batch
from model.validation import fixed_noise


@dataclass(frozen=True)
class Sample:
    """One image with one of its captions."""

    row: int
    shape: Shape
    caption: Caption


class LossMeter:
    """A checkpoint with its encoders; maps the index of a shard to SAMPLE_LOSS."""

    def __init__(
        self, checkpoint: Path, *, times: Sequence[float], captions: int, share: float, batch_size: int, seed: int
    ) -> None:
        """Load the averaged weights of `checkpoint`.

        captions: per image, of those that training draws, chosen by hashes with training's weights. share: of the images, by a
        hash of the id.
        """
        config, self.step = read_config(checkpoint), read_progress(checkpoint).step
        self.config = replace(config, device=usable(config.device))
        self.model = load_model(checkpoint, device=self.config.device)
        self.autoencoder = load_autoencoder(self.config, checkpoint)
        self.text = TextCache(text_encoder(self.config.text, device=self.config.device))
        self.times, self.captions, self.share, self.batch_size, self.seed = tuple(times), captions, share, batch_size, seed

    def __call__(self, shards: Path | str, index: pa.Table) -> pa.Table:
        """Return one row per image, caption and time in the index's order; an image that cannot be read has one, with `error`.

        index: SHARDS rows of shards in the folder `shards`. Images that training leaves out by group, weight or captions are left
        out here; those it holds out for validation are marked.
        """
        reader = ShardReader(shards, index)
        errors = dict[int, str]()
        rows = self._rows(index)
        samples = {row: self._samples(reader, index, row, errors) for row in rows}
        measured = dict[Sample, list[dict[str, Any]]]()
        for part in _parts([sample for chosen in samples.values() for sample in chosen], self.batch_size):
            self._measure(part, self._latents(reader, part, errors), measured)
        listed = list[dict[str, Any]]()
        for row in rows:
            about = self._about(reader, index, row)
            if row in errors:
                listed.append(about | {"error": errors[row]})
            for sample in samples[row] if row not in errors else ():
                caption = {"level": sample.caption.level, "language": sample.caption.language}
                listed += [about | caption | values for values in measured[sample]]
        return conform(pa.Table.from_pylist(listed, schema=SAMPLE_LOSS), SAMPLE_LOSS)

    def _rows(self, index: pa.Table) -> list[int]:
        data, found = self.config.data, []
        for row, (sample, group, weight) in enumerate(
            zip(*(index[n].to_pylist() for n in ("id", "group", "weight")), strict=True)
        ):
            wanted = (not data.groups or group in data.groups) and (weight > 0 or not data.use_weights)
            if wanted and is_held_out(f"loss/{sample}", self.share, self.seed):
                found.append(row)
        return found

    def _samples(self, reader: ShardReader, index: pa.Table, row: int, errors: dict[int, str]) -> list[Sample]:
        """Return the image with the captions that are measured; none, and an error, when its captions cannot be read."""
        data = self.config.data
        unit = self.autoencoder.downsample * self.config.model.patch_px
        try:
            with reader.members.named(row):
                shape = training_shape(index["bucket"][row].as_py(), resolution_px=data.resolution_px, unit_px=unit)
            captions = dict.fromkeys(reader.captions(row))
        except UnreadableSample as error:
            errors[row] = str(error.__cause__)
            return []
        keyed = []
        for caption in captions:
            weight = caption_weight(caption.level, caption.language, data.level_weights, data.language_weights)
            place = held_out_place(f"{reader.ids[row]}/{caption.level}/{caption.language}/{caption.text}", self.seed)
            if weight > 0:  # the largest keys u^(1/w) are a draw by weight without replacement (Efraimidis & Spirakis 2006)
                keyed.append((-(place ** (1 / weight)), caption))
        return [Sample(row, shape, caption) for _, caption in sorted(keyed, key=lambda pair: pair[0])[: self.captions]]

    def _latents(self, reader: ShardReader, part: Sequence[Sample], errors: dict[int, str]) -> dict[int, Tensor]:
        """Return the latents of the images of a batch by row, without those that cannot be read."""
        latents = dict[int, Tensor]()
        for sample in part:
            if sample.row in latents or sample.row in errors:
                continue
            try:
                latents[sample.row] = encoded(self.autoencoder, reader.pixels(sample.row, sample.shape))
            except UnreadableSample as error:
                errors[sample.row] = str(error.__cause__)
        return latents

    def _measure(
        self, part: Sequence[Sample], latents: Mapping[int, Tensor], measured: dict[Sample, list[dict[str, Any]]]
    ) -> None:
        part = [sample for sample in part if sample.row in latents]
        if not part:
            return
        data = torch.stack([latents[sample.row] for sample in part])
        with_caption = [sample.caption.text for sample in part]
        for t in self.times:
            loss = self._losses(data, t, with_caption)
            # a model that never saw the empty caption has nothing to say without one
            empty = self._losses(data, t, [""] * len(part)) if self.config.data.caption_dropout > 0 else [None] * len(part)
            for sample, value, without in zip(part, loss, empty, strict=True):
                measured.setdefault(sample, []).append({"t": t, "loss": value, "loss_empty": without})

    def _losses(self, data: Tensor, t: float, captions: list[str]) -> list[float]:
        none, unnamed = torch.zeros_like(data), [""] * len(data)
        batch = measured_batch(list(data), list(none), t, text=self.text.encode(captions), captions=captions, ids=unnamed)
        return losses_of_both(self.model, batch, self.config, seed=self.seed)

    def _about(self, reader: ShardReader, index: pa.Table, row: int) -> dict[str, Any]:
        held = self.config.validation
        return {
            "id": reader.ids[row],
            "row": index["row"][row].as_py(),
            "group": index["group"][row].as_py(),
            "held_out": held is not None and is_held_out(reader.ids[row], held.share, held.seed),
            "step": self.step,
        }


@torch.no_grad()
def losses_of_both(model: DiT, batch: TrainBatch, config: TrainConfig, *, seed: int) -> list[float]:
    """Return the loss of each sample of a batch of one time, mean over one noise for all and its negative.

    The noise is a function of (seed, time, size); that of the batch is not used.
    """
    noise = fixed_noise(seed, "", float(batch.t[0]), tuple(batch.latents.shape[1:])).expand_as(batch.latents)
    both = [sample_losses(model, replace(batch, noise=one), config) for one in (noise, -noise)]
    return [float(loss) for loss in torch.stack(both).mean(0).cpu()]


def _parts(samples: Sequence[Sample], size: int) -> Iterator[list[Sample]]:
    """Yield the samples in batches of one shape."""
    for shape in sorted({sample.shape for sample in samples}):
        group = [sample for sample in samples if sample.shape == shape]
        for start in range(0, len(group), size):
            yield group[start : start + size]
