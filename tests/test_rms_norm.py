"""Norms whose gradients are written by hand, against finite differences and against autograd."""

import pytest
import torch
from torch.autograd import gradcheck

from model.layout import Packing
from model.modulation import gated_sum, modulate, scaled_norm, unit
from model.rms_norm import NormTimes, NormTurned, PlusNormTimes
from model.rope import rope_table

SHAPES = {"one row": ((6, 4), (1, 4)), "a row per sequence": ((2, 3, 4), (2, 1, 4)), "a row per token": ((6, 4), (6, 4))}
ROWS = {"one": [0] * 6, "uniform": [0, 0, 0, 1, 1, 1], "ragged": [1, 1, 0, 0, 0, 0]}
GROUPS = {"one": ((1, 6),), "uniform": ((2, 3),), "ragged": ((1, 2), (1, 4))}


def draw(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_a_norm_times_a_factor_are_finite_differences(shape: str):
    of_x, of_factor = SHAPES[shape]
    x, factor, residual = draw(of_x, of_factor, of_x)
    assert gradcheck(NormTimes.apply, (x, factor, 1e-5))
    assert gradcheck(PlusNormTimes.apply, (residual, x, factor, 1e-5))
    assert gradcheck(NormTimes.apply, (x, factor, None))


def test_gradients_of_turned_queries_are_finite_differences():
    x, gain = draw((5, 2, 8), (8,))
    rope = rope_table(torch.arange(15).view(5, 3), axes_dims=(2, 2, 4), theta=256.0).to(torch.complex128)
    assert gradcheck(NormTurned.apply, (x, gain, rope, 1e-5))
    wide = torch.cat([x, x], dim=1)  # as one of several results of a fused product
    assert gradcheck(lambda whole: NormTurned.apply(whole[:, 2:], gain, rope, 1e-5), (wide,))


@pytest.mark.parametrize("batch", ROWS)
def test_blocks_norms_have_the_values_and_gradients_of_plain_operations(batch: str):
    packing = Packing(groups=GROUPS[batch], rope_TP=torch.empty(0), rows_T=torch.tensor(ROWS[batch]))
    x, branch, factor = draw((6, 4), (6, 4), (max(ROWS[batch]) + 1, 4), dtype=torch.float32)
    ours = gated_sum(scaled_norm(x, factor, packing, eps=1e-5), branch, factor, packing, eps=1e-5)
    plain = modulate(unit(x, 1e-5), factor, packing) + modulate(unit(branch, 1e-5), factor, packing)
    assert torch.allclose(ours, plain, atol=1e-6)
    inputs = (x, branch, factor)
    for a, b in zip(torch.autograd.grad(ours.sin().sum(), inputs), torch.autograd.grad(plain.sin().sum(), inputs), strict=True):
        assert torch.allclose(a, b, atol=1e-5)  # float32 sums in another order
