"""Rotary positions over three axes (t, h, w), as in S3-DiT.

In: integer position ids of tokens. Out: one unit complex number per token and channel pair, and the rotation of queries and keys
by them. Angles are computed in float64 and stored in float32, as the released code does; nothing is tabulated, so no position is
too large. In eager mode the complex product is ten times faster than stacking real parts on a CPU; torch.compile cannot fuse
complex numbers, so there the real form is used.

Su et al. 2021, RoFormer, arXiv 2104.09864; axes and theta = 256 from Z-Image, arXiv 2511.22699.
"""

import torch
from torch import Tensor

# T tokens, H heads, K head dim, P = K / 2 channel pairs


def rope_table(ids: Tensor, *, axes_dims: tuple[int, ...], theta: float) -> Tensor:
    """Return exp(i * id * theta^(-2k/d)) for every axis side by side: complex64 (T, sum(axes_dims) / 2).

    ids: integers (T, number of axes).
    """
    angles = []
    for axis, dim in enumerate(axes_dims):
        frequencies = theta ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=ids.device) / dim)
        angles.append(torch.outer(ids[:, axis].double(), frequencies).float())
    angle_TP = torch.cat(angles, dim=1)
    return torch.polar(torch.ones_like(angle_TP), angle_TP)


def rotate(x_THK: Tensor, rope_TP: Tensor) -> Tensor:
    """Return `x_THK` with its adjacent pairs (x0, x1), (x2, x3), ... turned by `rope_TP`; float32 inside, same dtype back."""
    pairs = x_THK.float().reshape(*x_THK.shape[:-1], -1, 2)
    if torch.compiler.is_compiling():
        cos, sin = rope_TP.real.unsqueeze(1), rope_TP.imag.unsqueeze(1)
        real, imag = pairs.unbind(-1)
        turned = torch.stack((real * cos - imag * sin, real * sin + imag * cos), dim=-1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * rope_TP.unsqueeze(1))
    return turned.flatten(-2).type_as(x_THK)


def rotate_(x_THK: Tensor, rope_TP: Tensor) -> Tensor:
    """Return the same, written over `x_THK`, which must be float32 and without gradients."""
    torch.view_as_complex(x_THK.view(*x_THK.shape[:-1], -1, 2)).mul_(rope_TP.unsqueeze(1))
    return x_THK
