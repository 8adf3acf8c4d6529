"""RMSNorm and modulation in as few passes over the tokens as the surroundings allow.

A sandwich block scales tokens by a norm's gain and by a factor of time, one after the other; here both are one factor per
conditioning row, multiplied once. Without gradients a product is written over an operand that nobody else holds: on a CPU a fresh
matrix of tokens costs ten times the product itself, in pages that the system must clear (benchmarks/results/dit.md). With
gradients in float32 on a CPU the backward pass is written by hand (rms_norm.py); anywhere else autograd does it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.layout import Packing
from model.rms_norm import NormTimes, PlusNormTimes, inverse_rms

# T tokens of all samples, D width, R rows of time conditioning


def without_gradients() -> bool:
    """Tell whether a result may be written over its operand: neither gradients nor torch.compile are at work."""
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def on_float32_cpu(x: Tensor) -> bool:
    """Tell whether `x` is plain float32 on a CPU, where passes over tokens are worth counting; elsewhere a norm is one kernel."""
    plain = x.dtype == torch.float32 and x.device.type == "cpu"
    return plain and not torch.compiler.is_compiling() and not torch.is_autocast_enabled("cpu")


def may_overwrite(x: Tensor) -> bool:
    """Tell whether norms and rotations of `x` are better written over it: float32 on a CPU without gradients."""
    return without_gradients() and on_float32_cpu(x)


def unit(x: Tensor, eps: float | None) -> Tensor:
    """Return `x` over the root mean square of its last axis."""
    return F.rms_norm(x, x.shape[-1:], None, eps)


def unit_(x: Tensor, eps: float | None) -> Tensor:
    """Return the same, written over `x` (float32)."""
    return x.mul_(inverse_rms(x, eps))


def scaled_norm(x_TD: Tensor, factor_RD: Tensor, packing: Packing, *, eps: float) -> Tensor:
    """Return RMSNorm(x) times the factor of each token's row."""
    if may_overwrite(x_TD):
        return modulate_(x_TD * inverse_rms(x_TD, eps), factor_RD, packing)
    if not on_float32_cpu(x_TD):
        return modulate(unit(x_TD, eps), factor_RD, packing)
    tokens, factor = _paired(x_TD, factor_RD, packing)
    out: Tensor = NormTimes.apply(tokens, factor, eps)
    return out.view(x_TD.shape)


def gated_sum(x_TD: Tensor, branch_TD: Tensor, factor_RD: Tensor, packing: Packing, *, eps: float) -> Tensor:
    """Return x + RMSNorm(branch) times the factor of each token's row; without gradients in the memory of the branch."""
    if may_overwrite(branch_TD):
        return modulate_(unit_(branch_TD, eps), factor_RD, packing).add_(x_TD)
    if not on_float32_cpu(branch_TD) or x_TD.dtype != branch_TD.dtype:
        return x_TD + modulate(unit(branch_TD, eps), factor_RD, packing)
    tokens, factor = _paired(branch_TD, factor_RD, packing)
    out: Tensor = PlusNormTimes.apply(x_TD.view(tokens.shape), tokens, factor, eps)
    return out.view(x_TD.shape)


def modulate(x_TD: Tensor, factor_RD: Tensor, packing: Packing) -> Tensor:
    """Return each token of `x_TD` times the row of `factor_RD` it follows."""
    tokens, factor = _paired(x_TD, factor_RD, packing)
    return (tokens * factor).view(x_TD.shape)


def modulate_(x_TD: Tensor, factor_RD: Tensor, packing: Packing) -> Tensor:
    """Return the same, written over `x_TD`."""
    tokens, factor = _paired(x_TD, factor_RD, packing)
    tokens.mul_(factor)
    return x_TD


def _paired(x_TD: Tensor, factor_RD: Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
    """Return tokens and factors in shapes that multiply; rows are gathered only where sequences differ in length."""
    if len(factor_RD) == 1:
        return x_TD, factor_RD
    if packing.uniform:
        return x_TD.view(len(factor_RD), -1, x_TD.shape[-1]), factor_RD.unsqueeze(1)
    return x_TD, factor_RD.index_select(0, packing.rows_T)
