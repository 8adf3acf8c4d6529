"""What stands in one slot of a batch: an image with a caption, or an edit with its reference and instruction.

EACH IMAGE IS ENCODED ALONE: the bits of a latent then never depend on which batch computed it, so a resumed run equals a straight
one. Images are scaled until they cover the training shape and cropped in the middle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.autoencoder import Autoencoder, encoded
from model.buckets import Shape
from model.config import DataConfig
from model.edit import edit_texts
from model.feature_cache import FeatureCache
from model.pair_reader import PairReader
from model.shard_reader import Caption, Place, ShardReader, drawn_caption
from model.siglip import SigLIP
from model.text import TextCache
from model.train_batch import Reference

DROPPED = Caption("", "", "")
"""The empty caption, for classifier-free guidance."""


@dataclass(frozen=True)
class Uniforms:
    """The draws in [0, 1) that choose the text of a slot."""

    dropped: float
    which: float
    told: float


@dataclass(frozen=True)
class Sample:
    """One image with its text; an edit also has its reference."""

    id: str
    latent: Tensor  # float32 (C, h, w)
    caption: Caption
    reference: Tensor | None = None  # float32 (C, h, w)
    siglip: Tensor | None = None  # float32 (rows, columns, width)


class Latents:
    """Latents of images by key, each computed once while the cache holds it."""

    def __init__(self, autoencoder: Autoencoder, cache: FeatureCache) -> None:
        self.autoencoder, self.cache = autoencoder, cache

    def of(self, key: str, pixels: Callable[[], np.ndarray]) -> Tensor:
        """Return the latent of an image; `pixels` gives it as uint8 (H, W, 3) if it is not known."""
        return _cached(self.cache, key, lambda: encoded(self.autoencoder, pixels()))


class ImageSamples:
    """Text to image: samples of SHARDS rows."""

    def __init__(self, reader: ShardReader, latents: Latents, data: DataConfig) -> None:
        self.reader, self.members, self.latents, self.data = reader, reader.members, latents, data

    def wanted(self, row: int, shape: Shape) -> list[Place]:
        """Return the byte ranges that `load` will ask for."""
        known = self.latents.cache.has(self._key(row, shape))
        return [(row, "json"), *([] if known else [(row, "image")])]

    def load(self, row: int, shape: Shape, uniforms: Uniforms, fetched: Mapping[Place, bytes]) -> Sample:
        """Return a sample; what is not in `fetched` is read. Raises UnreadableSample."""
        latent = self.latents.of(self._key(row, shape), lambda: self.reader.pixels(row, shape, fetched.get((row, "image"))))
        captions = self.reader.captions(row, fetched.get((row, "json")))
        levels, languages = self.data.level_weights, self.data.language_weights
        caption = drawn_caption(captions, uniforms.which, level_weights=levels, language_weights=languages)
        return Sample(self.reader.ids[row], latent, DROPPED if uniforms.dropped < self.data.caption_dropout else caption)

    def _key(self, row: int, shape: Shape) -> str:
        return f"{self.reader.ids[row]}/{shape.width_px}x{shape.height_px}"


class EditSamples:
    """Image to image: samples of PAIR_SHARDS rows."""

    def __init__(
        self,
        reader: PairReader,
        latents: Latents,
        data: DataConfig,
        *,
        unit_px: int,
        siglip: SigLIP | None,
        siglip_cache: FeatureCache | None,
    ) -> None:
        """unit_px: sides of references are multiples of it. siglip_cache: there if siglip is."""
        self.reader, self.members, self.latents, self.data = reader, reader.members, latents, data
        self.unit_px, self.siglip, self.siglip_cache = unit_px, siglip, siglip_cache

    def wanted(self, row: int, shape: Shape) -> list[Place]:
        """Return the byte ranges that `load` will ask for."""
        places: list[Place] = [(row, "json")]
        if not self.latents.cache.has(self._key(row, "target", shape)):
            places.append((row, "target"))
        reference = self._key(row, "source", self._reference_shape(row, shape))
        if not self.latents.cache.has(reference) or (self.siglip_cache and not self.siglip_cache.has(reference)):
            places.append((row, "source"))
        return places

    def load(self, row: int, shape: Shape, uniforms: Uniforms, fetched: Mapping[Place, bytes]) -> Sample:
        """Return an edit; what is not in `fetched` is read. Raises UnreadableSample."""
        before = self._reference_shape(row, shape)
        source, key = fetched.get((row, "source")), self._key(row, "source", before)
        target = self.latents.of(
            self._key(row, "target", shape), lambda: self.reader.target(row, shape, fetched.get((row, "target")))
        )
        reference = self.latents.of(key, lambda: self.reader.reference(row, before, source)[0])
        siglip = self.siglip
        seen = None
        if siglip is not None and self.siglip_cache is not None:
            seen = _cached(self.siglip_cache, key, lambda: siglip.encode(self.reader.reference(row, before, source)[1]).cpu())
        caption = self._told(*self.reader.texts(row, fetched.get((row, "json"))), uniforms)
        return Sample(self.reader.ids[row], target, caption, reference, seen)

    def _told(self, instructions: Sequence[Caption], captions: Sequence[Caption], uniforms: Uniforms) -> Caption:
        """Return the instruction or the target's caption; the other one where the first is not there."""
        if uniforms.dropped < self.data.caption_dropout:
            return DROPPED
        order = [instructions, captions] if uniforms.told < self.data.instruction_share else [captions, instructions]
        levels = {"instruction": 1.0, "caption": 1.0}
        drawn = [
            drawn_caption(texts, uniforms.which, level_weights=levels, language_weights=self.data.language_weights)
            for texts in order
        ]
        return next((caption for caption in drawn if caption.text), DROPPED)

    def _reference_shape(self, row: int, shape: Shape) -> Shape:
        return self.reader.reference_shape(row, shape, resolution_px=self.data.resolution_px, unit_px=self.unit_px)

    def _key(self, row: int, side: str, shape: Shape) -> str:
        size = self.members.size_bytes(row, side)
        return f"{self.reader.ids[row]}/{side}/{size}/{shape.width_px}x{shape.height_px}"


def encoded_texts(text: TextCache, samples: Sequence[Sample]) -> tuple[list[Tensor], tuple[Reference, ...]]:
    """Return the text features of samples of one task, and the references of edits."""
    if samples[0].reference is None:
        return text.encode([sample.caption.text for sample in samples]), ()
    texts, references = [], []
    for sample in samples:
        assert sample.reference is not None
        parts = text.encode_raw(edit_texts(text.encoder, sample.caption.text))
        texts.append(torch.cat(parts))
        references.append(Reference(sample.reference, sample.siglip, tuple(len(part) for part in parts)))
    return texts, tuple(references)


def _cached(cache: FeatureCache, key: str, compute: Callable[[], Tensor]) -> Tensor:
    known = cache.get(key)
    if known is None:
        known = compute()
        cache.put(key, known)
    return known
