"""SiLU(gate) * value with a gradient written by hand: it keeps its two operands and computes SiLU again.

    y = gate sigmoid(gate) value
    d value = g SiLU(gate)
    d gate = g value sigmoid(gate) (1 + gate (1 - sigmoid(gate)))            g = dy

Autograd would keep SiLU(gate) too, a third matrix of the hidden width, for the sake of a pass that costs less than its memory.

Shazeer 2020, https://arxiv.org/abs/2002.05202
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.modulation import on_float32_cpu, without_gradients

# T tokens, F hidden width


def swiglu(gate_TF: Tensor, value_TF: Tensor) -> Tensor:
    """Return SiLU(gate) * value, (T, F); without gradients in the memory of the gate."""
    if without_gradients():
        return F.silu(gate_TF, inplace=True).mul_(value_TF)
    if not on_float32_cpu(gate_TF):
        return F.silu(gate_TF) * value_TF
    out: Tensor = SwiGLU.apply(gate_TF, value_TF)
    return out


class SwiGLU(torch.autograd.Function):
    """SiLU(gate) value."""

    @staticmethod
    def forward(ctx: Any, gate_TF: Tensor, value_TF: Tensor) -> Tensor:
        """Return y, (T, F)."""
        ctx.save_for_backward(gate_TF, value_TF)
        return F.silu(gate_TF).mul_(value_TF)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_TF: Tensor) -> tuple[Tensor, Tensor]:
        """Return d gate and d value."""
        gate_TF, value_TF = ctx.saved_tensors
        through = g_TF * value_TF
        of_gate = torch.ops.aten.silu_backward.grad_input(through, gate_TF, grad_input=through)
        return of_gate, F.silu(gate_TF).mul_(g_TF)
