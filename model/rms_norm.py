"""RMSNorm times a factor, with a gradient written by hand: few passes over the tokens, and little kept for them.

    y = x r f,  r = (mean(x^2) + eps)^(-1/2)                                 x (..., D), f broadcasts against x, mean over D
    dx = r f g - x r^3 mean(g f x)                                           g = dy
    df = sum of g x r over what f is repeated along

Three uses in a block: before a branch (f: gain and scale of time), after it, added to the residual (f: gain and gate), and on
queries and keys, turned by RoPE afterwards (f: gain). Autograd would keep x, x r and the squares, and go over each of them again;
here x and r (one number per row) are kept. Float32 on a CPU alone: elsewhere a norm is one kernel, and torch.compile fuses.

Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.rope import rotate_

Ctx = Any  # torch names no type for the context of a Function


def inverse_rms(x: Tensor, eps: float | None) -> Tensor:
    """Return r, (..., 1), by a norm that needs no squares in memory; eps None: the smallest step of the dtype, as torch does."""
    mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
    inverse: Tensor = mean_square.add_(torch.finfo(x.dtype).eps if eps is None else eps).rsqrt_()
    return inverse


class NormTimes(torch.autograd.Function):
    """RMSNorm(x) f."""

    @staticmethod
    def forward(ctx: Ctx, x: Tensor, factor: Tensor, eps: float | None) -> Tensor:
        """Return y, like x."""
        inverse = inverse_rms(x, eps)
        ctx.save_for_backward(x, factor, inverse)
        return (x * inverse).mul_(factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Ctx, g: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return dx and df."""
        return *gradients(g, *ctx.saved_tensors), None


class PlusNormTimes(torch.autograd.Function):
    """residual + RMSNorm(x) f."""

    @staticmethod
    def forward(ctx: Ctx, residual: Tensor, x: Tensor, factor: Tensor, eps: float | None) -> Tensor:
        """Return y, like x."""
        inverse = inverse_rms(x, eps)
        ctx.save_for_backward(x, factor, inverse)
        return (x * inverse).mul_(factor).add_(residual)

    @staticmethod
    @once_differentiable
    def backward(ctx: Ctx, g: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return d residual, dx and df."""
        return g, *gradients(g, *ctx.saved_tensors), None


class NormTurned(torch.autograd.Function):
    """RMSNorm(x) f, turned by RoPE: a rotation, so its gradient is the rotation back."""

    @staticmethod
    def forward(ctx: Ctx, x_THK: Tensor, gain_K: Tensor, rope_TP: Tensor, eps: float | None) -> Tensor:
        """Return y, (T, H, K)."""
        inverse = inverse_rms(x_THK, eps)
        ctx.save_for_backward(x_THK, gain_K, inverse, rope_TP)
        return rotate_((x_THK * inverse).mul_(gain_K), rope_TP)

    @staticmethod
    @once_differentiable
    def backward(ctx: Ctx, g_THK: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Return dx and df."""
        x_THK, gain_K, inverse, rope_TP = ctx.saved_tensors
        back = rotate_(g_THK.clone(memory_format=torch.contiguous_format), rope_TP.conj())
        return *gradients(back, x_THK, gain_K, inverse), None, None


def gradients(g: Tensor, x: Tensor, factor: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Return (dx, df) of y = x r f."""
    width, gx = x.shape[-1], g * x
    if factor.numel() == width:  # one factor for all rows: sums along either axis are products with a vector
        rows = gx.reshape(-1, width)
        along = torch.mv(rows, factor.view(-1)).view(inverse.shape)
        of_factor = torch.mv(rows.t(), inverse.view(-1)).view(factor.shape)
    else:
        along = (gx * factor).sum(-1, keepdim=True)
        of_factor = gx.mul_(inverse).sum_to_size(factor.shape)
    coefficient = along.mul_(inverse).mul_(inverse).div_(-width)
    return (g * factor).addcmul_(x, coefficient).mul_(inverse), of_factor
