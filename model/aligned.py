"""A linear layer whose results, gradients included, have rows that begin at whole cache lines.

A product in float32 on a CPU writes its result block by block. Where the row length is no multiple of a cache line, 1365 numbers
for instance, blocks straddle lines and the product takes 1.3 to 1.5 times as long as for 1376, whatever its operands look like
(docs/decisions.md 40). So the result is written into a wider matrix and seen through a narrower view: no weight is copied or
padded, and parameters keep their shapes. The released hidden width, 10240, needs none of it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.layout import padded
from model.modulation import on_float32_cpu

# T tokens, I inputs, O outputs

ALIGNED = 16
"""float32 numbers in a cache line."""


class Linear(nn.Linear):
    """A linear layer without bias; widths that are not whole cache lines are met with aligned rows."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x_TI: Tensor) -> Tensor:
        """Return x W^T, (T, O)."""
        odd = self.in_features % ALIGNED or self.out_features % ALIGNED
        if not odd or not on_float32_cpu(x_TI) or x_TI.dtype != self.weight.dtype:
            return super().forward(x_TI)
        if not torch.is_grad_enabled():
            return product(x_TI, self.weight.t())
        out: Tensor = AlignedLinear.apply(x_TI, self.weight)
        return out


class AlignedLinear(torch.autograd.Function):
    """y = x W^T with dx = dy W and dW = dy^T x."""

    @staticmethod
    def forward(ctx: Any, x_TI: Tensor, weight_OI: Tensor) -> Tensor:
        """Return y, (T, O)."""
        ctx.save_for_backward(x_TI, weight_OI)
        return product(x_TI, weight_OI.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_TO: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return dx and dW, each where it is wanted."""
        x_TI, weight_OI = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad
        return product(g_TO, weight_OI) if of_x else None, product(g_TO.t(), x_TI) if of_weight else None


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return the matrix product a b, its rows at the beginning of cache lines."""
    width = b.shape[1]
    out = a.new_empty(len(a), padded(width, ALIGNED))[:, :width]
    return torch.mm(a, b, out=out)
