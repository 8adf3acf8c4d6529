"""Where every token of a ragged batch lies, computed once per batch shape.

A batch is packed: all tokens of all samples in one (T, D) matrix, with no row wasted on making samples equally long. Sequences of
equal length lie side by side, so that attention runs once per distinct length as a plain batched product without a mask, and a
uniform batch is a single such product. Three packings exist: image tokens, text tokens, and both joined per sample.

Positions (t, h, w) of text-to-image, as in the released code: text token j is (1 + j, 0, 0), its padding included; the image
token in row r and column s is (Lc + 1, r, s) where Lc is the padded text length; image padding is (0, 0, 0). The joint order is
[image ; text].
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from model.rope import rope_table

# B samples, T tokens of all samples, P channel pairs of a head


@dataclass(frozen=True)
class Packing:
    """Sequences laid end to end, sorted by length."""

    groups: tuple[tuple[int, int], ...]  # (number of sequences, their length) in packed order
    rope_TP: Tensor  # complex64
    rows_T: Tensor  # which conditioning row each token follows
    mixed: bool = False  # tokens of one sequence follow different rows
    uniform: bool = field(init=False)
    """True when all sequences have one length and each follows one row; they then lie in the order of the batch."""

    def __post_init__(self) -> None:
        """Settle `uniform` here: read off `groups` in a compiled block, it would tie the block to their number."""
        object.__setattr__(self, "uniform", len(self.groups) == 1 and not self.mixed)

    @property
    def longest(self) -> int:
        """Length of the longest sequence."""
        return max(length for _, length in self.groups)

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """Where each sequence begins, and where the last one ends: int32 (number of sequences + 1), for flash-attn."""
        lengths = [0, *(length for count, length in self.groups for _ in range(count))]
        return torch.tensor(lengths, device=self.rows_T.device).cumsum(0).to(torch.int32)

    def to(self, device: torch.device) -> "Packing":
        """Return the same packing on another device."""
        return Packing(self.groups, self.rope_TP.to(device), self.rows_T.to(device), self.mixed)


@dataclass(frozen=True)
class Layout:
    """The image and joint packings of a text-to-image batch and the row gathers between them."""

    image: Packing
    joint: Packing
    pad_image_T: Tensor | None  # rows of [real image tokens ; pad token] for the image packing; None: already so
    join_T: Tensor | None  # rows of [image packing ; text packing] for the joint packing; None: one concatenation per sample
    real_T: Tensor  # rows of the joint packing that are real image tokens, sample by sample
    real: Packing  # the same tokens as a packing without padding, for the final modulation


def padded(length: int, pad_to: int) -> int:
    """Return `length` rounded up to a multiple of `pad_to`."""
    return -(-length // pad_to) * pad_to


def with_padding(tokens_TD: Tensor, pad_1D: Tensor, rows_T: Tensor | None) -> Tensor:
    """Return the rows of [tokens ; pad token] that fill a packing; rows None: the tokens as they are."""
    return tokens_TD if rows_T is None else torch.cat([tokens_TD, pad_1D.to(tokens_TD.dtype)]).index_select(0, rows_T)


def check_latent(shape: Sequence[int], *, channels: int, patch: int) -> None:
    """Raise ValueError for a latent (C, h, w) that the model does not take."""
    if shape[0] != channels or shape[1] % patch or shape[2] % patch:
        raise ValueError(f"a latent is {tuple(shape)}; the model takes {channels} channels and sides in multiples of {patch}")


@lru_cache(maxsize=64)
def text_packing(
    lengths: tuple[int, ...], *, pad_to: int, axes_dims: tuple[int, ...], theta: float, device: torch.device
) -> tuple[Packing, Tensor | None]:
    """Return the packing of texts and the rows of [real text tokens ; pad token] that fill it (None: already so)."""
    full = [padded(length, pad_to) for length in lengths]
    packing = packed([_text_rope(n, axes_dims, theta) for n in full])
    return packing.to(device), _rows_to(_padding_rows(list(lengths), full), device)


@lru_cache(maxsize=64)
def text_to_image_layout(
    sizes: tuple[tuple[int, int], ...],
    text_lengths: tuple[int, ...],
    *,
    pad_to: int,
    axes_dims: tuple[int, ...],
    theta: float,
    device: torch.device,
) -> Layout:
    """Return the layout of a batch of images of `sizes` (rows, columns of tokens) with texts of `text_lengths` tokens.

    There may be a multiple of texts: image i meets the texts i, i + number of images, ... in sequences of their own, which all
    follow the conditioning row of the image.
    """
    copies = len(text_lengths) // len(sizes)
    real = [rows * columns for rows, columns in sizes]
    full_image = [padded(n, pad_to) for n in real]
    full_text = [padded(n, pad_to) for n in text_lengths]
    image = [
        _image_rope(size, full, 1 + text, axes_dims, theta)
        for size, full, text in zip(sizes * copies, full_image * copies, full_text, strict=True)
    ]
    joint = [torch.cat([x, _text_rope(n, axes_dims, theta)]) for x, n in zip(image, full_text, strict=True)]
    join, starts = _joint_rows(full_image, full_text)
    followed = [torch.full((len(x),), i % len(sizes)) for i, x in enumerate(joint)]
    plain = len(set(full_image)) == 1 and len(set(full_text)) == 1 and copies == 1
    return Layout(
        image=packed(image[: len(sizes)]).to(device),
        joint=packed(joint, None if copies == 1 else followed).to(device),
        pad_image_T=_rows_to(_padding_rows(real, full_image), device),
        join_T=None if plain else _rows_to(join, device),
        real_T=torch.cat([torch.arange(start, start + n) for start, n in zip(starts, real * copies, strict=True)]).to(device),
        real=_unsorted(real, copies).to(device),
    )


def order_by_length(lengths: list[int]) -> list[int]:
    """Return the positions of `lengths` from short to long; equal lengths keep their order."""
    return sorted(range(len(lengths)), key=lambda i: lengths[i])


def packed(ropes: list[Tensor], rows: list[Tensor] | None = None) -> Packing:
    """Return the packing of sequences given by their RoPE tables.

    rows: the conditioning row of every token; None: tokens follow the row of their sequence.
    """
    lengths = [len(rope) for rope in ropes]
    order = order_by_length(lengths)
    counts: dict[int, int] = {}
    for i in order:
        counts[lengths[i]] = counts.get(lengths[i], 0) + 1
    return Packing(
        groups=tuple((count, length) for length, count in counts.items()),
        rope_TP=torch.cat([ropes[i] for i in order]),
        rows_T=torch.tensor(order).repeat_interleave(torch.tensor([lengths[i] for i in order]))
        if rows is None
        else torch.cat([rows[i] for i in order]),
        mixed=rows is not None,
    )


def _unsorted(lengths: list[int], copies: int) -> Packing:
    count = len(lengths) * copies
    groups = ((count, lengths[0]),) if len(set(lengths)) == 1 else tuple((1, n) for n in lengths * copies)
    rows = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)).repeat(copies)
    return Packing(groups=groups, rope_TP=torch.empty(0), rows_T=rows, mixed=copies > 1)


@lru_cache(maxsize=1024)
def _text_rope(length: int, axes_dims: tuple[int, ...], theta: float) -> Tensor:
    ids = torch.zeros(length, 3, dtype=torch.long)
    ids[:, 0] = torch.arange(1, length + 1)
    return rope_table(ids, axes_dims=axes_dims, theta=theta)


@lru_cache(maxsize=1024)
def _image_rope(size: tuple[int, int], full: int, time: int, axes_dims: tuple[int, ...], theta: float) -> Tensor:
    rows, columns = size
    ids = torch.zeros(full, 3, dtype=torch.long)
    ids[: rows * columns] = torch.cartesian_prod(torch.tensor([time]), torch.arange(rows), torch.arange(columns))
    return rope_table(ids, axes_dims=axes_dims, theta=theta)


def _padding_rows(real: list[int], full: list[int]) -> Tensor | None:
    order = order_by_length(full)
    if real == full and order == sorted(order):
        return None
    starts = _starts(real)
    pad = sum(real)
    return torch.cat(
        [torch.cat([torch.arange(starts[i], starts[i] + real[i]), torch.full((full[i] - real[i],), pad)]) for i in order]
    )


def _joint_rows(full_image: list[int], full_text: list[int]) -> tuple[Tensor, list[int]]:
    copies = len(full_text) // len(full_image)
    image_starts, full_image = starts_of(full_image) * copies, full_image * copies
    text_starts = [start + sum(full_image) // copies for start in starts_of(full_text)]
    lengths = [a + b for a, b in zip(full_image, full_text, strict=True)]
    rows = [
        torch.cat(
            [
                torch.arange(image_starts[i], image_starts[i] + full_image[i]),
                torch.arange(text_starts[i], text_starts[i] + full_text[i]),
            ]
        )
        for i in order_by_length(lengths)
    ]
    return torch.cat(rows), starts_of(lengths)


def _starts(lengths: list[int]) -> list[int]:
    return [sum(lengths[:i]) for i in range(len(lengths))]


def starts_of(lengths: list[int]) -> list[int]:
    """Where each sequence begins once they are sorted by length."""
    order = order_by_length(lengths)
    starts, at = [0] * len(lengths), 0
    for i in order:
        starts[i], at = at, at + lengths[i]
    return starts


def _rows_to(rows: Tensor | None, device: torch.device) -> Tensor | None:
    return None if rows is None else rows.to(device)
