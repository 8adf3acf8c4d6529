"""What one update trains on: the slice of a global batch that one process holds, cut into micro-batches where it accumulates.

A global batch of B samples is cut by place: rank r of W holds slots r B // W to (r + 1) B // W, and a micro-batch is cut from a
slice in the same way. Slices may differ by one sample; the mean over the global batch is then the sum of the samples' losses over
`global_size`, never a mean of means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from curation.errors import ConfigError
from model.plan import Task


@dataclass(frozen=True)
class Reference:
    """The picture an edit starts from, as the omni model takes it."""

    latent: Tensor  # float32 (C, h, w)
    siglip: Tensor | None  # float32 (rows, columns, width); None without a tower
    segments: tuple[int, ...]
    """Lengths of the text segments around reference and target; they add up to the length of the sample's text."""


@dataclass(frozen=True)
class TrainBatch:
    """Everything one step needs; slot by slot, t = 0 noise, t = 1 data."""

    latents: Tensor  # float32 (B, C, h, w)
    noise: Tensor  # float32 (B, C, h, w)
    t: Tensor  # float32 (B,)
    text: list[Tensor]  # (L_i, width) each; an edit's segments stand one after the other
    captions: list[str]
    ids: list[str]
    epoch: int
    number: int
    global_size: int
    """Samples of the global batch, of all ranks and micro-batches together."""
    levels: tuple[str, ...] = ()
    """Level of each caption, "instruction" or "caption" of an edit; empty where the caption was dropped."""
    languages: tuple[str, ...] = ()
    """Language of each caption; empty where it is not known or the caption was dropped."""
    references: tuple[Reference, ...] | None = None
    """What each sample is edited from; None: the batch is text to image."""
    replaced: int = 0
    """Samples of this slice that stand in for others that could not be read."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.ids)

    @property
    def task(self) -> Task:
        """What the batch trains."""
        return "image" if self.references is None else "edit"

    def split(self, count: int) -> list["TrainBatch"]:
        """Return `count` micro-batches, in order, of sizes that differ by at most one; raises ConfigError if one were empty.

        `replaced` stays with the first.
        """
        slots = [slots_of(len(self), rank=k, world_size=count) for k in range(count)]
        return [self._part(slice(part.start, part.stop)) for part in slots]

    def _part(self, cut: slice) -> "TrainBatch":
        return replace(
            self,
            latents=self.latents[cut],
            noise=self.noise[cut],
            t=self.t[cut],
            text=self.text[cut],
            captions=self.captions[cut],
            ids=self.ids[cut],
            levels=self.levels[cut],
            languages=self.languages[cut],
            references=None if self.references is None else self.references[cut],
            replaced=0 if cut.start else self.replaced,
        )


def measured_batch(
    latents: Sequence[Tensor],
    noise: Sequence[Tensor],
    t: float,
    *,
    text: list[Tensor],
    captions: list[str],
    ids: list[str],
    references: Sequence[Reference] | None = None,
) -> TrainBatch:
    """Return images (C, h, w) of one size at one time as a batch outside of any plan: to be measured, not to be trained on.

    references: one for each image, when they are edits.
    """
    return TrainBatch(
        latents=torch.stack(tuple(latents)),
        noise=torch.stack(tuple(noise)),
        t=torch.full((len(ids),), t),
        text=text,
        captions=captions,
        ids=ids,
        epoch=0,
        number=0,
        global_size=len(ids),
        references=None if references is None else tuple(references),
    )


def slots_of(size: int, *, rank: int, world_size: int) -> range:
    """Return the slots of a batch of `size` samples that part `rank` of `world_size` holds.

    The parts follow each other, cover the batch and differ by at most one slot. Raises ConfigError if a part would be empty:
    a rank without samples would hang or silently skip the update.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"part {rank} of {world_size} parts does not exist")
    if size < world_size:
        raise ConfigError(
            f"a batch of {size} cannot be cut into {world_size} parts: raise batch_size (with data.token_budget: "
            "data.batch_multiple) to at least ranks x accumulation"
        )
    return range(rank * size // world_size, (rank + 1) * size // world_size)
