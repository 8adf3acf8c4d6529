"""The global plan: which samples make up which batch, as a pure function of (index, settings, seed, epoch).

The plan does not know how many processes read it: rank r of W takes slice r of every global batch, so another number of processes
sees the same batches. Its state is (digest, epoch, number of the next batch in the epoch); resuming is a lookup, nothing is
replayed. Every random draw of training (caption, dropout, time, noise) comes from (seed, epoch, batch, slot), not from a stream.

A bucket of images of one shape is an endless row of passes: pass p is a permutation in which sample i occurs
floor((p + 1) w_i + u_i) - floor(p w_i + u_i) times, w_i its weight over the mean and u_i a fixed draw in [0, 1). Equal weights
give plain permutations; other weights are met exactly in the long run. Epoch e owns the batches that end in pass e, so a leftover
of one epoch opens the next and nothing is dropped. What is never drawn is reported by reason before the first step.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curation.errors import ConfigError
from model.held_out import is_held_out


class Shape(NamedTuple):
    """Size of training images."""

    width_px: int
    height_px: int


@dataclass(frozen=True)
class PlannedBatch:
    """One global batch: rows of the shard index, one per slot, all trained at one shape."""

    epoch: int
    number: int
    shape: Shape
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Bucket:
    """The samples of one training shape."""

    shape: Shape
    rows: np.ndarray  # int64, rows of the index
    weights: np.ndarray  # float64, mean 1 over all buckets
    phases: np.ndarray  # float64 in [0, 1)

    def occurrences(self, passes: int) -> np.ndarray:
        """Return how often each sample occurs in the first `passes` passes."""
        count: np.ndarray = np.floor(passes * self.weights + self.phases).astype(np.int64)
        return count


def training_shape(bucket: str, *, resolution_px: int, unit_px: int) -> Shape:
    """Return the size nearest to resolution_px^2 pixels at the aspect of `bucket` ('WIDTHxHEIGHT'), in multiples of `unit_px`."""
    width, height = (int(side) for side in bucket.split("x"))
    root = (width / height) ** 0.5
    sides = (max(1, round(resolution_px * factor / unit_px)) * unit_px for factor in (root, 1 / root))
    return Shape(*sides)


def caption_weight(level: str, language: str, level_weights: Mapping[str, float], language_weights: Mapping[str, float]) -> float:
    """Return the relative frequency of a caption; a source caption in a language that is not named counts 1 for language."""
    return level_weights.get(level, 0.0) * language_weights.get(language, 1.0 if level == "source" else 0.0)


def draws(seed: int, epoch: int, number: int, slot: int) -> np.random.Generator:
    """Return the generator of one slot of one batch; the same on every machine, rank and resume."""
    key = hashlib.blake2b(f"{seed}/{epoch}/{number}/{slot}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype="<u8")))


class Plan:
    """Batches of training, by epoch and number."""

    def __init__(
        self,
        index: pa.Table,
        *,
        batch_size: int,
        resolution_px: int,
        unit_px: int,
        seed: int,
        groups: Sequence[str] = (),
        level_weights: Mapping[str, float],
        language_weights: Mapping[str, float],
        use_weights: bool = True,
        held_out_share: float = 0.0,
        held_out_seed: int = 0,
    ) -> None:
        """Plan over `index` (SHARDS rows).

        unit_px: sides of training images are multiples of it: the autoencoder's downsample times the patch.
        held_out_share, held_out_seed: samples that are kept for validation, see model/held_out.py; `held_out` lists them.
        Raises ConfigError when no sample is left or a group is not in the index.
        """
        if resolution_px % unit_px:
            raise ConfigError(f"resolution_px is {resolution_px}; it must be a multiple of {unit_px}")
        self.batch_size, self.seed = batch_size, seed
        settings = [batch_size, resolution_px, unit_px, seed, sorted(groups), dict(sorted(level_weights.items())),
                    dict(sorted(language_weights.items())), use_weights]  # fmt: skip
        settings += [held_out_share, held_out_seed] if held_out_share else []
        self.digest = hashlib.sha256((index_digest(index) + json.dumps(settings)).encode()).hexdigest()
        usable, self.excluded = _usable(index, groups, level_weights, language_weights, use_weights)
        usable, kept_back = _held_out(index, usable, held_out_share, held_out_seed)
        self.excluded |= {"held out for validation": len(kept_back)} if len(kept_back) else {}
        if not len(usable):
            raise ConfigError(f"no sample is left to train on; excluded: {self.excluded or 'none, the index is empty'}")
        weights = _relative_weights(index, usable) if use_weights else np.ones(len(usable))
        phases = np.random.Generator(np.random.Philox(key=seed)).random(len(usable))
        names = np.array(index.column("bucket").to_pylist(), dtype=object)[usable]
        self.buckets = _buckets(usable, names, weights, phases, resolution_px, unit_px)
        self.held_out = _kept_back(index, kept_back, resolution_px, unit_px)
        self._enlarged = _enlarged(index, self.buckets)
        self._order = lru_cache(maxsize=2)(self._epoch_order)
        self._stream = lru_cache(maxsize=2 * len(self.buckets) + 2)(self._pass)

    def epoch_length(self, epoch: int) -> int:
        """Return the number of batches of `epoch`; it may be 0 when the samples of one pass do not fill a batch."""
        return len(self._order(epoch))

    def batch(self, epoch: int, number: int) -> PlannedBatch:
        """Return batch `number` of `epoch`."""
        which, index = self._order(epoch)[number]
        start = index * self.batch_size
        rows = self._items(which, epoch, start, start + self.batch_size)
        return PlannedBatch(epoch, number, self.buckets[which].shape, tuple(int(row) for row in rows))

    def after(self, epoch: int, number: int) -> tuple[int, int]:
        """Return (epoch, number) of the first batch at or after `number` of `epoch`, crossing into later epochs."""
        while number >= self.epoch_length(epoch):
            epoch, number = epoch + 1, 0
        return epoch, number

    def report(self) -> dict[str, object]:
        """Return what will be trained on, by bucket, and what will not, by reason."""
        buckets = [
            {
                "width_px": bucket.shape.width_px,
                "height_px": bucket.shape.height_px,
                "samples": len(bucket.rows),
                "weight_share": float(bucket.weights.sum() / sum(b.weights.sum() for b in self.buckets)),
                "batches_per_epoch": float(bucket.weights.sum() / self.batch_size),
                "enlarged": enlarged,
            }
            for bucket, enlarged in zip(self.buckets, self._enlarged, strict=True)
        ]
        return {"digest": self.digest, "batch_size": self.batch_size, "buckets": buckets, "excluded": self.excluded}

    def _epoch_order(self, epoch: int) -> list[tuple[int, int]]:
        owned = [
            (which, index)
            for which, bucket in enumerate(self.buckets)
            for index in range(self._length(bucket, epoch) // self.batch_size, self._length(bucket, epoch + 1) // self.batch_size)
        ]
        return [owned[i] for i in draws(self.seed, epoch, -1, -1).permutation(len(owned))]

    def _length(self, bucket: Bucket, passes: int) -> int:
        """Length of the endless row up to the end of pass `passes` - 1."""
        return int((bucket.occurrences(passes) - bucket.occurrences(0)).sum())

    def _items(self, which: int, epoch: int, start: int, stop: int) -> np.ndarray:
        """Items `start` to `stop` of a bucket's endless row, which end in pass `epoch` or before."""
        parts: list[np.ndarray] = []
        number = epoch
        while stop > start:
            begin = self._length(self.buckets[which], number)
            if stop > begin:
                items = self._stream(which, number)
                parts.insert(0, items[max(start, begin) - begin : stop - begin])
                stop = max(start, begin)
            number -= 1
        return np.concatenate(parts)

    def _pass(self, which: int, number: int) -> np.ndarray:
        bucket = self.buckets[which]
        repeats = bucket.occurrences(number + 1) - bucket.occurrences(number)
        return draws(self.seed, number, -2, which).permutation(np.repeat(bucket.rows, repeats))


def index_digest(index: pa.Table) -> str:
    """Return the SHA-256 of what the plan and the reader use of a shard index; independent of chunks and file format."""
    digest = hashlib.sha256()
    for name in ("id", "shard", "image_offset", "image_length", "json_offset", "json_length", "bucket", "group", "weight"):
        digest.update(json.dumps([name, index.column(name).to_pylist()]).encode())
    return digest.hexdigest()


def _usable(
    index: pa.Table,
    groups: Sequence[str],
    level_weights: Mapping[str, float],
    language_weights: Mapping[str, float],
    use_weights: bool,
) -> tuple[np.ndarray, dict[str, int]]:
    """Rows that can be drawn, and how many cannot, by reason."""
    present = index.column("group").to_pylist()
    unknown = sorted(set(groups) - set(present))
    if unknown:
        raise ConfigError(f"no sample has group {unknown[0]!r}; the shards have {sorted(set(present))}")
    weights, lengths = index.column("weight").to_pylist(), index.column("caption_lengths").to_pylist()
    rows, excluded = [], dict[str, int]()
    for row, (group, weight, captions) in enumerate(zip(present, weights, lengths, strict=True)):
        reason = None
        if groups and group not in groups:
            reason = "other group"
        elif use_weights and not weight > 0:
            reason = "weight is 0"
        elif captions is not None and not any(
            caption_weight(c["level"], c["language"], level_weights, language_weights) > 0 for c in captions
        ):
            reason = "no caption of the chosen levels and languages"
        if reason is None:
            rows.append(row)
        else:
            excluded[reason] = excluded.get(reason, 0) + 1
    return np.array(rows, dtype=np.int64), excluded


def _held_out(index: pa.Table, rows: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into those to train on and those held out."""
    if not share:
        return rows, rows[:0]
    ids = index.column("id").to_pylist()
    chosen = np.array([is_held_out(ids[row], share, seed) for row in rows], dtype=bool)
    return rows[~chosen], rows[chosen]


def _kept_back(index: pa.Table, rows: np.ndarray, resolution_px: int, unit_px: int) -> list[Bucket]:
    names = np.array(index.column("bucket").to_pylist(), dtype=object)[rows]
    return _buckets(rows, names, np.ones(len(rows)), np.zeros(len(rows)), resolution_px, unit_px)


def _relative_weights(index: pa.Table, rows: np.ndarray) -> np.ndarray:
    weights = np.array(index.column("weight").to_pylist(), dtype=np.float64)[rows]
    return np.ones(len(rows)) if np.all(weights == weights[0]) else weights / weights.mean()


def _buckets(
    rows: np.ndarray, names: np.ndarray, weights: np.ndarray, phases: np.ndarray, resolution_px: int, unit_px: int
) -> list[Bucket]:
    shapes = {name: training_shape(name, resolution_px=resolution_px, unit_px=unit_px) for name in set(names)}
    of_row = [shapes[name] for name in names]
    buckets = []
    for shape in sorted(set(of_row)):
        chosen = np.array([other == shape for other in of_row])
        buckets.append(Bucket(shape, rows[chosen], weights[chosen], phases[chosen]))
    return buckets


def _enlarged(index: pa.Table, buckets: list[Bucket]) -> list[int]:
    widths, heights = (np.array(index.column(name).to_pylist()) for name in ("width", "height"))
    return [int(((widths[b.rows] < b.shape.width_px) | (heights[b.rows] < b.shape.height_px)).sum()) for b in buckets]
