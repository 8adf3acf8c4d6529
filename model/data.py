"""Batches of the plan as tensors: byte ranges of the shards -> pixels -> latents, with the caption, time and noise of each slot.

Images are scaled until they cover the training shape and cropped in the middle. EACH IMAGE AND EACH CAPTION IS ENCODED ALONE: the
bits of a latent then never depend on which batch computed it, so a resumed run equals a straight one. Latents and text features
are kept in memory up to a byte limit.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from curation.decode import decode, judged_policy
from curation.errors import SourceError
from curation.schema import SHARDS, conform
from curation.store import LocalStore
from model.autoencoder import Autoencoder, to_signed
from model.config import DataConfig, TrainConfig
from model.flow import dynamic_shift, logit_normal
from model.plan import Plan, PlannedBatch, Shape, caption_weight, draws
from model.text import TextCache
from model.train_batch import TrainBatch as TrainBatch
from model.train_batch import slots_of


def read_index(shards: Path) -> pa.Table:
    """Return the index of all shards of a folder (SHARDS rows), in the order of their names.

    Raises SourceError if the folder holds no shard-*.parquet.
    """
    paths = sorted(Path(shards).glob("shard-*.parquet"))
    if not paths:
        raise SourceError(f"{shards} holds no shard-*.parquet; give the folder that the shard stage wrote")
    return pa.concat_tables([conform(pq.read_table(path), SHARDS) for path in paths]).combine_chunks()


@dataclass(frozen=True)
class Caption:
    """One caption of a sample."""

    level: str
    language: str
    text: str


class ShardReader:
    """Pixels and captions of single samples, by row of the index; reads byte ranges, never whole shards."""

    def __init__(self, shards: Path, index: pa.Table | None = None) -> None:
        self.store = LocalStore(shards)
        self.index = read_index(shards) if index is None else index
        self.ids: list[str] = self.index.column("id").to_pylist()
        self._shards: list[str] = self.index.column("shard").to_pylist()
        names = ("image_offset", "image_length", "json_offset", "json_length", "width", "height")
        self._numbers = {name: np.array(self.index.column(name).to_pylist(), dtype=np.int64) for name in names}
        self._captions: dict[int, tuple[Caption, ...]] = {}

    def pixels(self, row: int, shape: Shape) -> np.ndarray:
        """Return the image covering `shape`, cropped in the middle: uint8 (height, width, 3).

        What ingest accepted under its own policy is accepted here, however large, small or long it is.
        """
        width, height, length = (int(self._numbers[name][row]) for name in ("width", "height", "image_length"))
        cover = max(shape.width_px / width, shape.height_px / height)
        policy = judged_policy(width_px=width, height_px=height, size_bytes=length)
        decoded = decode(self._bytes(row, "image"), policy=policy, max_side_px=max(1, ceil(2 * cover * max(width, height))))
        return cover_crop(decoded.pixels, shape)

    def captions(self, row: int) -> tuple[Caption, ...]:
        """Return the captions of a sample in the order of its JSON member."""
        if row not in self._captions:
            listed = json.loads(json.loads(self._bytes(row, "json"))["captions_json"])
            self._captions[row] = tuple(Caption(c["level"], c["language"], c["text"]) for c in listed)
        return self._captions[row]

    def _bytes(self, row: int, member: str) -> bytes:
        offset, length = (int(self._numbers[f"{member}_{part}"][row]) for part in ("offset", "length"))
        return self.store.get_range(self._shards[row], offset, length)


def cover_crop(pixels: np.ndarray, shape: Shape) -> np.ndarray:
    """Return uint8 pixels (H, W, 3) scaled with Lanczos to cover `shape` and cropped in the middle."""
    height, width = pixels.shape[:2]
    if (width, height) == shape:
        return pixels
    scale = max(shape.width_px / width, shape.height_px / height)
    crop_width, crop_height = shape.width_px / scale, shape.height_px / scale
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    return np.array(Image.fromarray(pixels).resize(shape, Image.Resampling.LANCZOS, box=box))


def draw_caption(
    captions: Sequence[Caption], uniform: float, *, level_weights: Mapping[str, float], language_weights: Mapping[str, float]
) -> str:
    """Return the caption that `uniform` in [0, 1) falls on when each has its weight; "" if none has any."""
    weights = np.array([caption_weight(c.level, c.language, level_weights, language_weights) for c in captions])
    if not len(weights) or weights.sum() <= 0:
        return ""
    return captions[int(np.searchsorted(np.cumsum(weights) / weights.sum(), uniform, side="right"))].text


class Batches:
    """Loads the batches of a plan."""

    def __init__(
        self, plan: Plan, reader: ShardReader, autoencoder: Autoencoder, text: TextCache, config: TrainConfig, *, patch: int
    ) -> None:
        self.plan, self.reader, self.autoencoder, self.text, self.config = plan, reader, autoencoder, text, config
        self.patch = patch
        self._latents: dict[tuple[int, Shape], Tensor] = {}
        self._size_bytes = 0

    def load(self, planned: PlannedBatch, *, rank: int = 0, world_size: int = 1) -> TrainBatch:
        """Return slice `rank` of a planned batch; what is in a slot does not depend on the slicing."""
        slots = slots_of(len(planned.rows), rank=rank, world_size=world_size)
        latents = torch.stack([self._latent(planned.rows[slot], planned.shape) for slot in slots])
        shift = self.config.shift
        if self.config.dynamic_shift:
            shift = dynamic_shift(latents.shape[2] * latents.shape[3] // self.patch**2)
        drawn = [self._draw(planned, slot, tuple(latents.shape[1:]), shift) for slot in slots]
        captions = [caption for caption, _, _ in drawn]
        return TrainBatch(
            latents=latents,
            noise=torch.from_numpy(np.stack([noise for _, _, noise in drawn])),
            t=torch.tensor([t for _, t, _ in drawn], dtype=torch.float32),
            text=self.text.encode(captions),
            captions=captions,
            ids=[self.reader.ids[planned.rows[slot]] for slot in slots],
            epoch=planned.epoch,
            number=planned.number,
            global_size=len(planned.rows),
        )

    def run(self, epoch: int, number: int, *, count: int, rank: int = 0, world_size: int = 1) -> Iterator[TrainBatch]:
        """Yield slice `rank` of `count` global batches from (epoch, number) on; the next is loaded while the present one is used.

        Raises ConfigError for a batch of fewer samples than ranks.
        """
        with ThreadPoolExecutor(1) as pool:
            pending: Future[TrainBatch] | None = None
            for left in range(count, 0, -1):
                if pending is None:
                    epoch, number = self.plan.after(epoch, number)
                    pending = pool.submit(self.load, self.plan.batch(epoch, number), rank=rank, world_size=world_size)
                batch = pending.result()
                if left > 1:
                    epoch, number = self.plan.after(epoch, number + 1)
                    pending = pool.submit(self.load, self.plan.batch(epoch, number), rank=rank, world_size=world_size)
                yield batch

    def _draw(self, planned: PlannedBatch, slot: int, size: tuple[int, ...], shift: float) -> tuple[str, float, np.ndarray]:
        """Caption, time and noise of one slot, all from its own generator."""
        generator = draws(self.plan.seed, planned.epoch, planned.number, slot)
        dropped, which = generator.random(2)
        normal = generator.standard_normal(1)
        noise = generator.standard_normal(size, dtype=np.float32)
        t = logit_normal(normal, mean=self.config.time_mean, std=self.config.time_std, shift=shift)[0]
        if dropped < self.config.data.caption_dropout:
            return "", float(t), noise
        return self._caption(planned.rows[slot], float(which)), float(t), noise

    def _caption(self, row: int, uniform: float) -> str:
        data: DataConfig = self.config.data
        captions = self.reader.captions(row)
        return draw_caption(captions, uniform, level_weights=data.level_weights, language_weights=data.language_weights)

    def _latent(self, row: int, shape: Shape) -> Tensor:
        known = self._latents.get((row, shape))
        if known is not None:
            return known
        pixels = torch.from_numpy(self.reader.pixels(row, shape))
        latent = self.autoencoder.encode(to_signed(pixels[None]))[0].cpu()
        size = latent.numel() * latent.element_size()
        if self._size_bytes + size <= self.config.data.cache_bytes:
            self._latents[row, shape] = latent
            self._size_bytes += size
        return latent
