"""RMSNorm and modulation in as few passes over the tokens as the surroundings allow.

A sandwich block scales tokens by a norm's gain and by a factor of time, one after the other; here both are one factor per
conditioning row, multiplied once. Without gradients a product is written over an operand that nobody else holds: on a CPU a fresh
matrix of tokens costs ten times the product itself, in pages that the system must clear (benchmarks/results/dit.md).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.layout import Packing

# T tokens of all samples, D width, R rows of time conditioning


def without_gradients() -> bool:
    """Tell whether a result may be written over its operand: neither gradients nor torch.compile are at work."""
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def may_overwrite(x: Tensor) -> bool:
    """Tell whether norms and rotations of `x` are better written over it: float32 on a CPU; a GPU has one kernel for a norm."""
    return without_gradients() and x.dtype == torch.float32 and x.device.type == "cpu"


def unit(x: Tensor, eps: float | None) -> Tensor:
    """Return `x` over the root mean square of its last axis."""
    return F.rms_norm(x, x.shape[-1:], None, eps)


def unit_(x: Tensor, eps: float | None) -> Tensor:
    """Return the same, written over `x` (float32)."""
    return x.mul_(_inverse(x, eps))


def scaled_norm(x_TD: Tensor, factor_RD: Tensor, packing: Packing, *, eps: float) -> Tensor:
    """Return RMSNorm(x) times the factor of each token's row."""
    if not may_overwrite(x_TD):
        return modulate(unit(x_TD, eps), factor_RD, packing)
    return modulate_(x_TD * _inverse(x_TD, eps), factor_RD, packing)


def gated_sum(x_TD: Tensor, branch_TD: Tensor, factor_RD: Tensor, packing: Packing, *, eps: float) -> Tensor:
    """Return x + RMSNorm(branch) times the factor of each token's row; without gradients in the memory of the branch."""
    if may_overwrite(branch_TD):
        return modulate_(unit_(branch_TD, eps), factor_RD, packing).add_(x_TD)
    return x_TD + modulate(unit(branch_TD, eps), factor_RD, packing)


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


def _inverse(x: Tensor, eps: float | None) -> Tensor:
    """Return 1 / sqrt(mean square + eps) along the last axis, by a norm that needs no squares in memory."""
    mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
    inverse: Tensor = mean_square.add_(torch.finfo(x.dtype).eps if eps is None else eps).rsqrt_()
    return inverse
