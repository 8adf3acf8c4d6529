"""Batches of the plan as tensors: byte ranges of the shards -> pixels -> latents, with the text, time and noise of each slot.

Bytes of the next batches are read ahead by a few threads; one thread decodes and encodes. What a batch holds never depends on
threads, ranks or caches. Progress is what the trainer has used: batches that were only read ahead do not count.
"""

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from curation.errors import ConfigError
from model.autoencoder import Autoencoder
from model.config import TrainConfig
from model.draws import draws
from model.feature_cache import FeatureCache, autoencoder_fingerprint
from model.flow import dynamic_shift, logit_normal
from model.held_out import held_out_place
from model.pair_reader import PairReader, as_samples
from model.plan import Plan, PlannedBatch, Shape, Task
from model.samples import EditSamples, ImageSamples, Latents, Sample, Uniforms, encoded_texts
from model.shard_reader import Place, ShardReader, UnreadableSample
from model.siglip import SigLIP
from model.text import TextCache
from model.train_batch import Reference, TrainBatch, slots_of

logger = logging.getLogger(__name__)

MAX_REPLACEMENTS = 8
"""Unreadable samples in a row after which `skip` stops too: then it is the store that fails, not a sample."""


def make_plan(config: TrainConfig, reader: ShardReader, *, unit_px: int, pairs: PairReader | None = None) -> Plan:
    """Return the plan of a run over the shards of `reader`, and of data.pairs (`pairs`, if they are open already)."""
    data, held = config.data, config.validation
    if data.pairs and pairs is None:
        pairs = PairReader(data.pairs)
    siglip_tokens = SIGLIP_TOKENS if config.siglip else 0
    return Plan(
        reader.index,
        batch_size=config.batch_size,
        resolution_px=data.resolution_px,
        unit_px=unit_px,
        seed=config.seed,
        groups=data.groups,
        level_weights=data.level_weights,
        language_weights=data.language_weights,
        use_weights=data.use_weights,
        held_out_share=held.share if held else 0.0,
        held_out_seed=held.seed if held else 0,
        token_budget=data.token_budget,
        batch_multiple=data.batch_multiple,
        pad_to=config.model.pad_to,
        edits=as_samples(pairs.index) if pairs else None,
        edit_share=data.pair_share,
        reference_tokens=siglip_tokens,
    )


SIGLIP_TOKENS = 256
"""Patches of a picture in SigLIP 2's processor, at most."""


def feature_folder(config: TrainConfig, shards: Path | str) -> Path | None:
    """Return where features are cached on disk, None without `data.latent_cache`; raises ConfigError for a folder of a store."""
    chosen = config.data.latent_cache
    if isinstance(chosen, str):
        return Path(chosen)
    if chosen and "://" in str(shards):
        raise ConfigError(f"data.latent_cache is true, but {shards} is no folder: name one, latent_cache: FOLDER")
    return Path(shards) / "_features" if chosen else None


class Batches:
    """Loads the batches of a plan."""

    def __init__(
        self,
        plan: Plan,
        reader: ShardReader,
        autoencoder: Autoencoder,
        text: TextCache,
        config: TrainConfig,
        *,
        patch: int,
        folder: Path | None = None,
        pairs: PairReader | None = None,
    ) -> None:
        """folder: where latents are cached beside memory. pairs: those of data.pairs, if they are open already."""
        self.plan, self.reader, self.autoencoder, self.text, self.config = plan, reader, autoencoder, text, config
        self.patch, self._folder = patch, folder
        self.latents = self._cache(autoencoder_fingerprint(autoencoder))
        latents = Latents(autoencoder, self.latents)
        self._images = ImageSamples(reader, latents, config.data)
        self._edits = self._edit_samples(pairs, latents) if config.data.pairs else None

    def load(
        self,
        planned: PlannedBatch,
        *,
        rank: int = 0,
        world_size: int = 1,
        fetched: Mapping[Place, bytes] | None = None,
    ) -> TrainBatch:
        """Return slice `rank` of a planned batch; what is in a slot does not depend on the slicing.

        fetched: bytes that `fetch` has read for this slice. Raises UnreadableSample unless data.on_error is skip.
        """
        slots = slots_of(len(planned.rows), rank=rank, world_size=world_size)
        loaded = [self._slot(planned, slot, fetched or {}) for slot in slots]
        samples = [sample for sample, _, _, _ in loaded]
        texts, references = encoded_texts(self.text, samples)
        return TrainBatch(
            latents=torch.stack([sample.latent for sample in samples]),
            noise=torch.from_numpy(np.stack([noise for _, noise, _, _ in loaded])),
            t=torch.tensor([t for _, _, t, _ in loaded], dtype=torch.float32),
            text=texts,
            captions=[sample.caption.text for sample in samples],
            ids=[sample.id for sample in samples],
            epoch=planned.epoch,
            number=planned.number,
            global_size=len(planned.rows),
            levels=tuple(sample.caption.level for sample in samples),
            languages=tuple(sample.caption.language for sample in samples),
            references=references if planned.task == "edit" else None,
            replaced=sum(replaced for _, _, _, replaced in loaded),
        )

    def fixed(self, task: Task, row: int, shape: Shape) -> tuple[Sample, Tensor, Reference | None]:
        """Return a sample, its text and an edit's reference, to be measured: what training may draw, chosen by a hash of its id.

        The caption is never dropped. Raises UnreadableSample.
        """
        source, name = self._source(task), self.ids(task)[row]
        uniforms = Uniforms(dropped=1.0, which=held_out_place(name, -1), told=held_out_place(name, -2))
        sample = source.load(row, shape, uniforms, {})
        texts, references = encoded_texts(self.text, [sample])
        return sample, texts[0], references[0] if references else None

    def ids(self, task: Task) -> list[str]:
        """Return the ids of the samples of a task, by row of its index."""
        return self._source(task).reader.ids

    def fetch(self, planned: PlannedBatch, *, rank: int = 0, world_size: int = 1) -> dict[Place, bytes]:
        """Return the bytes that `load` will need of a slice and that are not in a cache, as far as they can be read."""
        source = self._source(planned.task)
        places = list[Place]()
        for slot in slots_of(len(planned.rows), rank=rank, world_size=world_size):
            with suppress(UnreadableSample):  # `load` says why
                places += source.wanted(planned.rows[slot], planned.shape)
        return source.members.fetch(places)

    def run(self, epoch: int, number: int, *, count: int, rank: int = 0, world_size: int = 1) -> Iterator[TrainBatch]:
        """Yield slice `rank` of `count` global batches from (epoch, number) on, loading ahead of their use.

        Raises ConfigError for a batch of fewer samples than ranks, UnreadableSample as `load` does.
        """
        ahead: deque[Future[TrainBatch]] = deque()
        with ThreadPoolExecutor(self.config.data.prefetch) as fetchers, ThreadPoolExecutor(1) as loader:

            def begin(planned: PlannedBatch) -> Future[TrainBatch]:
                bytes_ahead = fetchers.submit(self.fetch, planned, rank=rank, world_size=world_size)
                return loader.submit(lambda: self.load(planned, rank=rank, world_size=world_size, fetched=bytes_ahead.result()))

            try:
                for left in range(count, 0, -1):
                    while len(ahead) < min(left, self.config.data.prefetch):
                        epoch, number = self.plan.after(epoch, number)
                        ahead.append(begin(self.plan.batch(epoch, number)))
                        number += 1
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _source(self, task: Task) -> ImageSamples | EditSamples:
        if task == "image":
            return self._images
        assert self._edits is not None, "a plan has edits only where data.pairs names them"
        return self._edits

    def _slot(self, planned: PlannedBatch, slot: int, fetched: Mapping[Place, bytes]) -> tuple[Sample, np.ndarray, float, bool]:
        """Sample, noise and time of one slot, all from its own generator; and whether the sample stands in for another."""
        generator = draws(self.plan.seed, planned.epoch, planned.number, slot)
        dropped, which = generator.random(2)
        normal = generator.standard_normal(1)
        factor = self.autoencoder.downsample
        size = self.autoencoder.channels, planned.shape.height_px // factor, planned.shape.width_px // factor
        noise = generator.standard_normal(size, dtype=np.float32)
        uniforms = Uniforms(float(dropped), float(which), float(generator.random()))
        sample, replaced = self._readable(planned, slot, uniforms, fetched)
        shift = dynamic_shift(size[1] * size[2] // self.patch**2) if self.config.dynamic_shift else self.config.shift
        t = logit_normal(normal, mean=self.config.time_mean, std=self.config.time_std, shift=shift)[0]
        return sample, noise, float(t), replaced

    def _readable(
        self, planned: PlannedBatch, slot: int, uniforms: Uniforms, fetched: Mapping[Place, bytes]
    ) -> tuple[Sample, bool]:
        """Return the sample of a slot, or with data.on_error skip a drawn other one of its bucket if it cannot be read."""
        source, row = self._source(planned.task), planned.rows[slot]
        for attempt in range(1, MAX_REPLACEMENTS + 1):
            try:
                return source.load(row, planned.shape, uniforms, fetched), attempt > 1
            except UnreadableSample as error:
                if self.config.data.on_error == "stop":
                    raise
                if attempt == MAX_REPLACEMENTS:
                    raise UnreadableSample(
                        f"{attempt} samples in a row cannot be used, which looks like the store or the whole shard; the last is "
                        f"{source.reader.ids[row]}: {error.__cause__}"
                    ) from error
                logger.warning("epoch %d, batch %d, slot %d: replaced: %s", planned.epoch, planned.number, slot, error)
            place = attempt * len(planned.rows) + slot  # beyond the slots of the batch: draws of its own
            row = int(draws(self.plan.seed, planned.epoch, planned.number, place).choice(planned.bucket.rows))
        raise AssertionError("the last attempt returns or raises")

    def _edit_samples(self, pairs: PairReader | None, latents: Latents) -> EditSamples:
        config = self.config
        siglip = SigLIP(config.siglip, device=config.device) if config.siglip else None
        if siglip is not None and siglip.width != config.model.siglip_feat_dim:
            raise ConfigError(f"model.siglip_feat_dim is {config.model.siglip_feat_dim}; {config.siglip} gives {siglip.width}")
        return EditSamples(
            PairReader(config.data.pairs) if pairs is None else pairs,
            latents,
            config.data,
            unit_px=self.autoencoder.downsample * self.patch,
            siglip=siglip,
            siglip_cache=self._cache(siglip.id) if siglip else None,
        )

    def _cache(self, fingerprint: str) -> FeatureCache:
        data = self.config.data
        return FeatureCache(fingerprint, memory_bytes=data.cache_bytes, folder=self._folder, folder_bytes=data.latent_cache_bytes)
