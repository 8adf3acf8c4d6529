"""The global plan: which samples make up which batch, as a pure function of (index, settings, seed, epoch).

The plan does not know how many processes read it: rank r of W takes its slice of every global batch, so another number of
processes sees the same batches. Its state is (digest, epoch, number of the next batch in the epoch); resuming is a lookup,
nothing is replayed. Every random draw of training (caption, dropout, time, noise) comes from (seed, epoch, batch, slot), not from
a stream. What is never drawn is reported by reason before the first step.

Text-to-image and editing: an epoch is one of the images, and edit batches stand between its batches at drawn places, so many
that their samples are `edit_share` of all (Z-Image: text-to-image to image-to-image about 4:1, arXiv 2511.22699, section 4.7). A
batch is of one task. Edit batches come from an endless row of their own, found by how many samples went before.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa

from curation.errors import ConfigError
from model.buckets import BatchSize, Bucket, Choice, caption_kinds, make_buckets, usable_rows
from model.buckets import Shape as Shape
from model.buckets import training_shape as training_shape
from model.draws import draws as draws
from model.passes import Passes

Task = Literal["image", "edit"]
"""What a batch trains: text to image, or reference and instruction to image."""


@dataclass(frozen=True)
class PlannedBatch:
    """One global batch: rows of the task's index, one per slot, all trained at one shape."""

    epoch: int
    number: int
    shape: Shape
    rows: tuple[int, ...]
    bucket: Bucket = field(compare=False, repr=False)
    """Where the rows come from, and a replacement for one that cannot be read."""
    task: Task = "image"


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
        token_budget: int = 0,
        batch_multiple: int = 1,
        pad_to: int = 1,
        edits: pa.Table | None = None,
        edit_share: float = 0.2,
        reference_tokens: int = 0,
    ) -> None:
        """Plan over `index` (SHARDS rows), and over `edits` (`pair_reader.as_samples`), if there are any.

        unit_px: sides of training images are multiples of it: the autoencoder's downsample times the patch.
        held_out_share, held_out_seed: samples that are kept for validation, see model/held_out.py; `held_out` lists them, and
            `held_out_edits` the edits that are made of such images.
        token_budget, batch_multiple, pad_to: see `BatchSize`; batch_size is used when the budget is 0.
        edit_share: share of samples that are edits, in (0, 1). reference_tokens: SigLIP tokens of an edit.
        Raises ConfigError when no sample is left or a group is not in the index.
        """
        if resolution_px % unit_px:
            raise ConfigError(f"resolution_px is {resolution_px}; it must be a multiple of {unit_px}")
        self.seed, self.edit_share = seed, edit_share if edits is not None else 0.0
        choice = Choice(
            groups=groups, level_weights=level_weights, language_weights=language_weights, use_weights=use_weights,
            held_out_share=held_out_share, held_out_seed=held_out_seed,
        )  # fmt: skip
        size = BatchSize(fixed=batch_size, token_budget=token_budget, multiple=batch_multiple, unit_px=unit_px, pad_to=pad_to)
        self._images = _Samples(index, choice, size, resolution_px, seed, key=-1)
        self._edits = None
        if edits is not None:
            if not 0 < edit_share < 1:
                raise ConfigError(f"data.pair_share is {edit_share}; it must be between 0 and 1")
            told = Choice(
                level_weights={"instruction": 1.0}, language_weights=language_weights, use_weights=use_weights,
                held_out_share=held_out_share, held_out_seed=held_out_seed,
            )  # fmt: skip
            paired = BatchSize(
                fixed=batch_size, token_budget=token_budget, multiple=batch_multiple, unit_px=unit_px, pad_to=pad_to,
                images_per_sample=2, extra_tokens=reference_tokens,
            )  # fmt: skip
            self._edits = _Samples(edits, told, paired, resolution_px, seed, key=-3)
        settings = [batch_size, resolution_px, unit_px, seed, sorted(groups), dict(sorted(level_weights.items())),
                    dict(sorted(language_weights.items())), use_weights, held_out_share, held_out_seed, token_budget,
                    batch_multiple, pad_to, self.edit_share, reference_tokens]  # fmt: skip
        indices = [index_digest(table) for table in (index, edits) if table is not None]
        self.digest = hashlib.sha256(("".join(indices) + json.dumps(settings)).encode()).hexdigest()
        self.buckets, self.held_out, self.excluded = self._images.buckets, self._images.held_out, self._images.excluded
        self.held_out_edits = [] if self._edits is None else self._edits.held_out
        self._tasks = lru_cache(maxsize=4)(self._mixed)

    def epoch_length(self, epoch: int) -> int:
        """Return the number of batches of `epoch`; it may be 0 when the samples of one pass do not fill a batch."""
        return len(self._tasks(epoch)[0]) if self._edits else self._images.passes.epoch_length(epoch)

    def batch(self, epoch: int, number: int) -> PlannedBatch:
        """Return batch `number` of `epoch`."""
        task: Task = "image"
        place = number
        if self._edits is not None:
            edit, places, first = self._tasks(epoch)
            task, place = ("edit", first + int(places[number])) if edit[number] else ("image", int(places[number]))
        if task == "edit" and self._edits is not None:
            bucket, rows = self._edits.passes.at(place)
        else:
            bucket, rows = self._images.passes.batch(epoch, place)
        return PlannedBatch(epoch, number, bucket.shape, tuple(int(row) for row in rows), bucket, task)

    def after(self, epoch: int, number: int) -> tuple[int, int]:
        """Return (epoch, number) of the first batch at or after `number` of `epoch`, crossing into later epochs."""
        while number >= self.epoch_length(epoch):
            epoch, number = epoch + 1, 0
        return epoch, number

    def report(self) -> dict[str, object]:
        """Return what will be trained on, by bucket, and what will not, by reason."""
        edits = {} if self._edits is None else {"edit_share": self.edit_share, "edits": self._edits.report()}
        return {"digest": self.digest, **self._images.report(), **edits}

    def _mixed(self, epoch: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return, for each batch of an epoch, whether it edits and its place in its task's row; and the first edit's position."""
        assert self._edits is not None
        images = self._images.passes.epoch_length(epoch)
        first, stop = (self._edit_batches_before(one) for one in (epoch, epoch + 1))
        edit = draws(self.seed, epoch, -5, -1).permutation(np.arange(images + stop - first) >= images)
        return edit, np.where(edit, np.cumsum(edit), np.cumsum(~edit)) - 1, first

    def _edit_batches_before(self, epoch: int) -> int:
        """Return the number of edit batches of all epochs before, so that they hold their share of the samples or just less."""
        assert self._edits is not None
        wanted = self._images.passes.samples_before(epoch) * self.edit_share / (1 - self.edit_share)
        return self._edits.passes.batches_within(int(wanted + 1e-9))


class _Samples:
    """The samples of one task: those that are drawn, as passes; those that are not, by reason."""

    def __init__(self, index: pa.Table, choice: Choice, size: BatchSize, resolution_px: int, seed: int, *, key: int) -> None:
        rows, held, self.excluded = usable_rows(index, choice)
        if not len(rows):
            excluded = ", ".join(f"{count} for {reason}" for reason, count in self.excluded.items()) or "none, the index is empty"
            kind = "sample" if key == -1 else "edit pair of data.pairs"
            raise ConfigError(f"no {kind} is left to train on; excluded: {excluded}; captions there: {caption_kinds(index)}")
        self.size = size
        self.buckets = make_buckets(index, rows, choice=choice, size=size, resolution_px=resolution_px, seed=seed)
        self.held_out = make_buckets(index, held, choice=choice, size=size, resolution_px=resolution_px, seed=seed)
        self.passes = Passes(self.buckets, seed=seed, key=key)

    def report(self) -> dict[str, object]:
        """Return batch size or token budget, the buckets, and what is excluded."""
        weight = float(sum(bucket.weights.sum() for bucket in self.buckets))
        size = {"token_budget": self.size.token_budget} if self.size.token_budget else {"batch_size": self.size.fixed}
        return {**size, "buckets": [bucket.report(weight) for bucket in self.buckets], "excluded": self.excluded}


def index_digest(index: pa.Table) -> str:
    """Return the SHA-256 of what the plan and the reader use of a shard index; independent of chunks and file format."""
    digest = hashlib.sha256()
    for name in ("id", "shard", "bucket", "group"):
        digest.update(f"{name}:{len(index)}:".encode() + "\0".join(index.column(name).to_pylist()).encode())
    for name in ("image_offset", "image_length", "json_offset", "json_length"):
        digest.update(f"{name}:".encode() + index.column(name).to_numpy().astype("<i8").tobytes())
    if "images" in index.column_names:
        digest.update(b"images:" + json.dumps(index.column("images").to_pylist()).encode())
    digest.update(b"weight:" + index.column("weight").to_numpy().astype("<f4").tobytes())
    return digest.hexdigest()
