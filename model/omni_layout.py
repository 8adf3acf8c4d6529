"""Where every token of an omni batch lies: several images, text segments and SigLIP grids per sample, computed once per shape.

As in the text-to-image layout (layout.py) a batch is packed and sequences of equal length lie side by side. A sample has three
sequences of its own: its text segments, its images (references, then the target) and its SigLIP grids; joined they are
[texts ; images ; siglips]. Each item is padded to a multiple of `pad_to` by itself; an item that is None is one such multiple of
padding. A token is modulated by the sample's time if its item is noisy, and by t = 1 if it is clean.

Positions (t, h, w): text segment j counts on along t from a cursor; image j stands at the cursor behind it, its SigLIP grid one
later with h and w stretched over the image's latent grid; the cursor then skips both. Padding of images and grids is (0, 0, 0).
The released code moves the segments after the first along (`shifted_text`, a quirk its weights may have been trained with).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from model.layout import Packing, order_by_length, packed, padded, starts_of
from model.rope import rope_table

Grid = tuple[int, int]

# B samples, T tokens of all samples


@dataclass(frozen=True)
class OmniShape:
    """Everything the layout of one sample depends on; lengths and grids in tokens."""

    texts: tuple[int, ...]
    images: tuple[Grid | None, ...]  # rows and columns; the target is the last and never None
    siglips: tuple[Grid | None, ...] | None  # one per image; None: the sample has no SigLIP sequence
    noisy: tuple[bool, ...]  # one per image


@dataclass(frozen=True)
class Filling:
    """A packing of padded items, and the rows of [real tokens of all samples ; pad token] that fill it."""

    packing: Packing
    rows_T: Tensor


@dataclass(frozen=True)
class OmniLayout:
    """The packings of an omni batch and the rows between them; conditioning rows are [times of the samples ; t = 1]."""

    text: Filling
    image: Filling
    siglip: Filling | None
    joint: Packing
    join_T: Tensor  # rows of [text packing ; image packing ; siglip packing] for the joint packing
    target_T: Tensor  # rows of the joint packing that are the targets' real tokens, sample by sample
    target: Packing  # the same tokens as a packing, for the final modulation


@dataclass(frozen=True)
class _Sequence:
    """One sequence of one sample: position ids of its tokens, which of them are real, and which are noisy."""

    ids_T3: Tensor
    real_T: Tensor
    noisy_T: Tensor


@lru_cache(maxsize=64)
def omni_layout(
    shapes: tuple[OmniShape, ...],
    *,
    patch: int,
    pad_to: int,
    axes_dims: tuple[int, ...],
    theta: float,
    shifted_text: bool,
    device: torch.device,
) -> OmniLayout:
    """Return the layout of a batch; samples with and without SigLIP do not mix.

    patch: latent cells along the side of an image token, over which SigLIP positions are stretched.
    """
    parts = [_sequences(shape, patch=patch, pad_to=pad_to, shifted_text=shifted_text) for shape in shapes]
    kinds = list(zip(*parts, strict=True))  # texts, images, siglips if any: one sequence per sample in each
    fillings = [_filling(kind, axes_dims, theta) for kind in kinds]
    joined = [_concatenated(sample) for sample in parts]
    lengths = [[len(sequence.ids_T3) for sequence in kind] for kind in kinds]
    totals = [len(sequence.ids_T3) for sequence in joined]
    starts = starts_of(totals)
    target_rows, target_conditions = [], []
    for b, shape in enumerate(shapes):
        first = starts[b] + lengths[0][b] + sum(_full(grid, pad_to) for grid in shape.images[:-1])
        count = _area(shape.images[-1])
        target_rows.append(torch.arange(first, first + count))
        target_conditions.append(torch.full((count,), b if shape.noisy[-1] else len(shapes) + b))
    target = Packing(groups=(), rope_TP=torch.empty(0), rows_T=torch.cat(target_conditions).to(device), mixed=True)
    to = [_moved(filling, device) for filling in fillings]
    return OmniLayout(
        text=to[0],
        image=to[1],
        siglip=to[2] if len(to) > 2 else None,
        joint=_packing(joined, axes_dims, theta).to(device),
        join_T=_join_rows(lengths, totals).to(device),
        target_T=torch.cat(target_rows).to(device),
        target=target,
    )


def _sequences(shape: OmniShape, *, patch: int, pad_to: int, shifted_text: bool) -> list[_Sequence]:
    texts, ends = _texts(shape, pad_to, shifted_text)
    images = [_item(_grid_ids(grid, ends[j]), pad_to, shape.noisy[j]) for j, grid in enumerate(shape.images)]
    sequences = [texts, _concatenated(images)]
    if shape.siglips is not None:
        grids = [
            _item(_stretched(grid, shape.images[j], ends[j] + 1, patch), pad_to, shape.noisy[j])
            for j, grid in enumerate(shape.siglips)
        ]
        sequences.append(_concatenated(grids))
    return sequences


def _texts(shape: OmniShape, pad_to: int, shifted: bool) -> tuple[_Sequence, list[int]]:
    """Return the sequence of text segments, and where along t each of them ends."""
    ids, real, noisy, ends = [], [], [], []
    cursor, total = 1, 0
    for j, length in enumerate(shape.texts):
        full = padded(length, pad_to)
        along = torch.arange(cursor, cursor + full)
        # The released code appends the padding's ids once more, and cuts the whole at its end.
        ids.append(torch.cat([along, torch.zeros(full - length, dtype=torch.long)]) if shifted else along)
        real.append(torch.arange(full) < length)
        noisy.append(torch.full((full,), shape.noisy[j] if j < len(shape.noisy) else True))
        ends.append(cursor + length)
        cursor, total = cursor + length + 2, total + full
    ids_T3 = torch.zeros(total, 3, dtype=torch.long)
    ids_T3[:, 0] = torch.cat(ids)[:total]
    return _Sequence(ids_T3, torch.cat(real), torch.cat(noisy)), ends


def _item(ids_T3: Tensor | None, pad_to: int, noisy: bool) -> _Sequence:
    """Return one image or grid with its padding; None: padding only."""
    count = 0 if ids_T3 is None else len(ids_T3)
    full = pad_to if ids_T3 is None else padded(count, pad_to)
    ids = torch.zeros(full, 3, dtype=torch.long)
    if ids_T3 is not None:
        ids[:count] = ids_T3
    return _Sequence(ids, torch.arange(full) < count, torch.full((full,), noisy))


def _grid_ids(grid: Grid | None, time: int) -> Tensor | None:
    if grid is None:
        return None
    return torch.cartesian_prod(torch.tensor([time]), torch.arange(grid[0]), torch.arange(grid[1])).view(-1, 3)


def _stretched(grid: Grid | None, image: Grid | None, time: int, patch: int) -> Tensor | None:
    """Return positions of a SigLIP grid with rows and columns stretched over the latent grid of its image, truncated."""
    ids = _grid_ids(grid, time)
    if grid is None or ids is None or image is None:
        return ids
    for axis, (cells, tokens) in enumerate(zip(grid, image, strict=True), start=1):
        ids[:, axis] = (ids[:, axis].float() / max(cells - 1, 1) * (tokens * patch - 1)).long()
    return ids


def _concatenated(sequences: list[_Sequence]) -> _Sequence:
    return _Sequence(
        torch.cat([sequence.ids_T3 for sequence in sequences]),
        torch.cat([sequence.real_T for sequence in sequences]),
        torch.cat([sequence.noisy_T for sequence in sequences]),
    )


def _packing(sequences: list[_Sequence] | tuple[_Sequence, ...], axes_dims: tuple[int, ...], theta: float) -> Packing:
    ropes = [rope_table(sequence.ids_T3, axes_dims=axes_dims, theta=theta) for sequence in sequences]
    conditions = [torch.where(sequence.noisy_T, b, len(sequences) + b) for b, sequence in enumerate(sequences)]
    return packed(ropes, conditions)


def _filling(sequences: tuple[_Sequence, ...], axes_dims: tuple[int, ...], theta: float) -> Filling:
    counts = [int(sequence.real_T.sum()) for sequence in sequences]
    pad = sum(counts)
    rows = []
    for b in order_by_length([len(sequence.ids_T3) for sequence in sequences]):
        real = sequences[b].real_T
        rows.append(torch.where(real, sum(counts[:b]) + real.cumsum(0) - 1, pad))
    return Filling(_packing(sequences, axes_dims, theta), torch.cat(rows))


def _join_rows(lengths: list[list[int]], totals: list[int]) -> Tensor:
    """Return the rows of the concatenated packings (one list of lengths each) that make up the joint packing."""
    starts, offset = [], 0
    for kind in lengths:
        starts.append([offset + start for start in starts_of(kind)])
        offset += sum(kind)
    return torch.cat(
        [
            torch.arange(start[b], start[b] + kind[b])
            for b in order_by_length(totals)
            for start, kind in zip(starts, lengths, strict=True)
        ]
    )


def _area(grid: Grid | None) -> int:
    return 0 if grid is None else grid[0] * grid[1]


def _full(grid: Grid | None, pad_to: int) -> int:
    return pad_to if grid is None else padded(_area(grid), pad_to)


def _moved(filling: Filling, device: torch.device) -> Filling:
    return Filling(filling.packing.to(device), filling.rows_T.to(device))
