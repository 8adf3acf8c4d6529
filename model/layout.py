"""Where every token of a ragged batch lies, computed once per batch shape.

A batch is packed: all tokens of all samples in one (T, D) matrix, with no row wasted on making samples equally long. Sequences of
equal length lie side by side, so that attention runs once per distinct length as a plain batched product without a mask, and a
uniform batch is a single such product. Three packings exist: image tokens, text tokens, and both joined per sample.

Positions (t, h, w) of text-to-image, as in the released code: text token j is (1 + j, 0, 0), its padding included; the image
token in row r and column s is (Lc + 1, r, s) where Lc is the padded text length; image padding is (0, 0, 0). The joint order is
[image ; text].
"""

from dataclasses import dataclass
from functools import lru_cache

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

    @property
    def uniform(self) -> bool:
        """True when all sequences have one length; they then lie in the order of the batch."""
        return len(self.groups) == 1


@dataclass(frozen=True)
class Layout:
    """The three packings of a text-to-image batch and the row gathers between them."""

    image: Packing
    text: Packing
    joint: Packing
    pad_image_T: Tensor | None  # rows of [real image tokens ; pad token] for the image packing; None: already so
    join_T: Tensor | None  # rows of [image packing ; text packing] for the joint packing; None: one concatenation per sample
    real_T: Tensor  # rows of the joint packing that are real image tokens, sample by sample
    real: Packing  # the same tokens as a packing without padding, for the final modulation


def padded(length: int, pad_to: int) -> int:
    """Return `length` rounded up to a multiple of `pad_to`."""
    return -(-length // pad_to) * pad_to


def text_packing(
    lengths: tuple[int, ...], *, pad_to: int, axes_dims: tuple[int, ...], theta: float
) -> tuple[Packing, Tensor | None]:
    """Return the packing of texts and the rows of [real text tokens ; pad token] that fill it (None: already so)."""
    full = [padded(length, pad_to) for length in lengths]
    ids = [
        torch.stack([torch.arange(1, n + 1), torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.long)], 1) for n in full
    ]
    packing = _pack(ids, list(range(len(full))), axes_dims=axes_dims, theta=theta)
    return packing, _padding_rows(list(lengths), full)


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
    """Return the layout of a batch of images of `sizes` (rows, columns of tokens) with texts of `text_lengths` tokens."""
    real = [rows * columns for rows, columns in sizes]
    full_image = [padded(n, pad_to) for n in real]
    full_text = [padded(n, pad_to) for n in text_lengths]
    text, _ = text_packing(text_lengths, pad_to=pad_to, axes_dims=axes_dims, theta=theta)
    image_ids = [
        _image_ids(size, full, time) for size, full, time in zip(sizes, full_image, (n + 1 for n in full_text), strict=True)
    ]
    text_ids = [text_id[:, None] * torch.tensor([1, 0, 0]) for text_id in (torch.arange(1, n + 1) for n in full_text)]
    rows = list(range(len(sizes)))
    image = _pack(image_ids, rows, axes_dims=axes_dims, theta=theta)
    joint = _pack([torch.cat(pair) for pair in zip(image_ids, text_ids, strict=True)], rows, axes_dims=axes_dims, theta=theta)
    join, starts = _joint_rows(full_image, full_text)
    real_rows = torch.cat([torch.arange(start, start + n) for start, n in zip(starts, real, strict=True)])
    plain = len(set(full_image)) == 1 and len(set(full_text)) == 1
    layout = Layout(
        image=image, text=text, joint=joint, pad_image_T=_padding_rows(real, full_image), join_T=None if plain else join,
        real_T=real_rows, real=_unsorted(real),
    )  # fmt: skip
    return _to(layout, device)


def order_by_length(lengths: list[int]) -> list[int]:
    """Return the positions of `lengths` from short to long; equal lengths keep their order."""
    return sorted(range(len(lengths)), key=lambda i: lengths[i])


def _pack(ids: list[Tensor], rows: list[int], *, axes_dims: tuple[int, ...], theta: float) -> Packing:
    lengths = [len(i) for i in ids]
    order = order_by_length(lengths)
    counts: dict[int, int] = {}
    for i in order:
        counts[lengths[i]] = counts.get(lengths[i], 0) + 1
    rope = rope_table(torch.cat([ids[i] for i in order]), axes_dims=axes_dims, theta=theta)
    which = torch.tensor([rows[i] for i in order]).repeat_interleave(torch.tensor([lengths[i] for i in order]))
    return Packing(groups=tuple((count, length) for length, count in counts.items()), rope_TP=rope, rows_T=which)


def _unsorted(lengths: list[int]) -> Packing:
    groups = ((len(lengths), lengths[0]),) if len(set(lengths)) == 1 else tuple((1, n) for n in lengths)
    rows = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    return Packing(groups=groups, rope_TP=torch.empty(0), rows_T=rows)


def _image_ids(size: tuple[int, int], full: int, time: int) -> Tensor:
    rows, columns = size
    ids = torch.zeros(full, 3, dtype=torch.long)
    ids[: rows * columns] = torch.cartesian_prod(torch.tensor([time]), torch.arange(rows), torch.arange(columns))
    return ids


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
    image_starts = _packed_starts(full_image)
    text_starts = [start + sum(full_image) for start in _packed_starts(full_text)]
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
    return torch.cat(rows), _packed_starts(lengths)


def _starts(lengths: list[int]) -> list[int]:
    return [sum(lengths[:i]) for i in range(len(lengths))]


def _packed_starts(lengths: list[int]) -> list[int]:
    """Where each sequence begins once they are sorted by length."""
    order = order_by_length(lengths)
    starts, at = [0] * len(lengths), 0
    for i in order:
        starts[i], at = at, at + lengths[i]
    return starts


def _to(layout: Layout, device: torch.device) -> Layout:
    def packing(p: Packing) -> Packing:
        return Packing(groups=p.groups, rope_TP=p.rope_TP.to(device), rows_T=p.rows_T.to(device))

    def rows(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.to(device)

    return Layout(
        image=packing(layout.image), text=packing(layout.text), joint=packing(layout.joint), pad_image_T=rows(layout.pad_image_T),
        join_T=rows(layout.join_T), real_T=layout.real_T.to(device), real=packing(layout.real),
    )  # fmt: skip
