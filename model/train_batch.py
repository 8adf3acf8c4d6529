"""What one update trains on: the slice of a global batch that one process holds, cut into micro-batches where it accumulates.

A global batch of B samples is cut by place: rank r of W holds slots r B // W to (r + 1) B // W, and a micro-batch is cut from a
slice in the same way. Slices may differ by one sample; the mean over the global batch is then the sum of the samples' losses over
`global_size`, never a mean of means.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from curation.errors import ConfigError


@dataclass(frozen=True)
class TrainBatch:
    """Everything one step needs; slot by slot, t = 0 noise, t = 1 data."""

    latents: Tensor  # float32 (B, C, h, w)
    noise: Tensor  # float32 (B, C, h, w)
    t: Tensor  # float32 (B,)
    text: list[Tensor]  # (L_i, width) each
    captions: list[str]
    ids: list[str]
    epoch: int
    number: int
    global_size: int
    """Samples of the global batch, of all ranks and micro-batches together."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.ids)

    def split(self, count: int) -> list["TrainBatch"]:
        """Return `count` micro-batches, in order, of sizes that differ by at most one; raises ConfigError if one were empty."""
        return [self._part(slots) for slots in (slots_of(len(self), rank=k, world_size=count) for k in range(count))]

    def _part(self, slots: range) -> "TrainBatch":
        cut = slice(slots.start, slots.stop)
        return replace(
            self,
            latents=self.latents[cut],
            noise=self.noise[cut],
            t=self.t[cut],
            text=self.text[cut],
            captions=self.captions[cut],
            ids=self.ids[cut],
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
            f"a batch of {size} cannot be cut into {world_size} parts: raise batch_size to at least ranks x accumulation"
        )
    return range(rank * size // world_size, (rank + 1) * size // world_size)
