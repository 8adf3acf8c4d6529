"""How well a trained model makes each edit of pair shards: the loss of its target, told by the instruction and told nothing.

In: a checkpoint that was trained on pairs, and the index of pair shards. Out: PAIR_LOSS, to be joined with EDIT_PAIRS by `pair`.
Times and noise are those of model/sample_losses.py. The loss that is told nothing still has the reference, so what lies between
the two is what the instruction says: a wrong one takes nothing away, however large the change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from curation.errors import ConfigError
from curation.schema import PAIR_LOSS, conform
from model.buckets import Shape, training_shape
from model.checkpoint import load_autoencoder, load_model, read_config, read_progress
from model.feature_cache import FeatureCache
from model.held_out import held_out_place, is_held_out
from model.pair_reader import PairReader
from model.ranks import usable
from model.sample_losses import losses_of_both
from model.samples import DROPPED, EditSamples, Latents, Sample, Uniforms, encoded_texts
from model.shard_reader import UnreadableSample
from model.siglip import SigLIP
from model.text import TextCache, text_encoder
from model.train_batch import measured_batch


class PairLossMeter:
    """A checkpoint with its encoders; maps pair shards to PAIR_LOSS."""

    def __init__(self, checkpoint: Path, *, times: Sequence[float], share: float, batch_size: int, seed: int) -> None:
        """Load the averaged weights of `checkpoint`; raises ConfigError when it was not trained on pairs.

        share: of the pairs, by a hash of their names.
        """
        config, self.step = read_config(checkpoint), read_progress(checkpoint).step
        self.config = replace(config, device=usable(config.device))
        if not self.config.data.pairs:
            raise ConfigError(f"{checkpoint} was not trained on edit pairs (data.pairs): it cannot follow a reference")
        self.model = load_model(checkpoint, device=self.config.device)
        self.autoencoder = load_autoencoder(self.config, checkpoint)
        self.text = TextCache(text_encoder(self.config.text, device=self.config.device))
        self.siglip = SigLIP(self.config.siglip, device=self.config.device) if self.config.siglip else None
        self.unit_px = self.autoencoder.downsample * self.config.model.patch_px
        self.times, self.share, self.batch_size, self.seed = tuple(times), share, batch_size, seed

    def __call__(self, shards: Path | str, index: pa.Table) -> pa.Table:
        """Return one row per pair and time in the index's order; a pair that cannot be read has one, with `error`.

        index: PAIR_SHARDS rows of pair shards in a folder or URL. Those that training never draws, by weight or for want of a
        text, are left out; those it holds out are marked.
        """
        reader = PairReader(shards, index)
        pairs = reader.index.to_pylist()
        samples = self._samples(reader)
        found = dict[int, list[dict[str, Any]]]()
        for shape, rows in self._parts(reader, pairs, found):
            measured = dict[int, Sample]()
            for row in rows:
                try:
                    measured[row] = self._sample(samples, reader.ids[row], row, shape)
                except UnreadableSample as error:
                    found[row] = [{"error": str(error.__cause__)}]
            told = {row: sample for row, sample in measured.items() if sample.caption.text}
            found |= self._measured(told)
        listed = [self._about(pairs[row]) | values for row in sorted(found) for values in found[row]]
        return conform(pa.Table.from_pylist(listed, schema=PAIR_LOSS), PAIR_LOSS)

    def _samples(self, reader: PairReader) -> EditSamples:
        """Return what loads pairs; pictures that many pairs share, a scene's versions, are encoded once while they are kept."""
        kept = self.config.data.cache_bytes
        return EditSamples(
            reader,
            Latents(self.autoencoder, FeatureCache("measured", memory_bytes=kept)),
            self.config.data,
            unit_px=self.unit_px,
            siglip=self.siglip,
            siglip_cache=None if self.siglip is None else FeatureCache(self.siglip.id, memory_bytes=kept),
        )

    def _parts(
        self, reader: PairReader, pairs: Sequence[Mapping[str, Any]], found: dict[int, list[dict[str, Any]]]
    ) -> list[tuple[Shape, list[int]]]:
        """Return the rows that are measured in batches of one shape; those without one are `found` with an error."""
        of_shape = dict[Shape, list[int]]()
        for row, pair in enumerate(pairs):
            drawn = pair["weight"] > 0 or not self.config.data.use_weights
            if drawn and is_held_out(f"loss/{pair['pair']}", self.share, self.seed):
                try:
                    with reader.members.named(row):
                        shape = training_shape(pair["bucket"], resolution_px=self.config.data.resolution_px, unit_px=self.unit_px)
                except UnreadableSample as error:
                    found[row] = [{"error": str(error.__cause__)}]
                else:
                    of_shape.setdefault(shape, []).append(row)
        size = self.batch_size
        return [(shape, rows[k : k + size]) for shape, rows in sorted(of_shape.items()) for k in range(0, len(rows), size)]

    def _sample(self, samples: EditSamples, pair: str, row: int, shape: Shape) -> Sample:
        """Return a pair with its instruction, in a language by hash; with the target's caption if training knows no other."""
        return samples.load(row, shape, Uniforms(dropped=1.0, which=held_out_place(pair, -1), told=0.0), {})

    def _measured(self, samples: Mapping[int, Sample]) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {row: [] for row in samples}
        untold = [replace(sample, caption=DROPPED) for sample in samples.values()]
        for t in self.times if samples else ():
            losses = self._losses(list(samples.values()), t)
            # a model that never saw the empty text has nothing to say without one
            empty = self._losses(untold, t) if self.config.data.caption_dropout > 0 else [None] * len(losses)
            for (row, sample), loss, without in zip(samples.items(), losses, empty, strict=True):
                said = {"level": sample.caption.level, "language": sample.caption.language}
                found[row].append({**said, "t": t, "loss": loss, "loss_empty": without})
        return found

    def _losses(self, samples: list[Sample], t: float) -> list[float]:
        text, references = encoded_texts(self.text, samples)
        batch = measured_batch(
            [sample.latent for sample in samples],
            [torch.zeros_like(sample.latent) for sample in samples],
            t,
            text=text,
            captions=[sample.caption.text for sample in samples],
            ids=[sample.id for sample in samples],
            references=references,
        )
        return losses_of_both(self.model, batch, self.config, seed=self.seed)

    def _about(self, pair: Mapping[str, Any]) -> dict[str, Any]:
        held = self.config.validation
        return {
            **{name: pair[name] for name in ("pair", "kind", "task", "group")},
            "held_out": held is not None and any(is_held_out(image, held.share, held.seed) for image in pair["images"]),
            "step": self.step,
        }
