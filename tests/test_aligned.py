import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from model.aligned import ALIGNED, AlignedLinear, Linear, product


def test_rows_of_a_product_begin_at_cache_lines():
    a, b = torch.randn(5, 7), torch.randn(7, 21)
    found = product(a, b)
    assert torch.allclose(found, a @ b, atol=1e-5)
    assert found.shape == (5, 21)
    assert found.stride() == (2 * ALIGNED, 1)


def test_gradients_of_an_aligned_layer_are_finite_differences():
    x, weight = (torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in ((4, 3), (5, 3)))
    assert gradcheck(AlignedLinear.apply, (x, weight))


@pytest.mark.parametrize("widths", [(16, 21), (21, 16), (16, 32)])
def test_an_aligned_layer_is_a_linear_layer(widths: tuple[int, int]):
    ours, plain = Linear(*widths), nn.Linear(*widths, bias=False)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(4, widths[0], generator=torch.Generator().manual_seed(0))
    for layer in (ours, plain):
        layer(x).square().sum().backward()
    assert torch.allclose(ours(x), plain(x), atol=1e-5)
    assert torch.allclose(ours.weight.grad, plain.weight.grad, atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(ours(x), plain(x), atol=1e-5)


def test_a_frozen_layer_gets_no_gradient_and_passes_one_on():
    layer = Linear(16, 21).requires_grad_(False)
    x = torch.randn(4, 16).requires_grad_()
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert torch.allclose(x.grad, layer.weight.sum(0).expand(4, 16), atol=1e-5)


def test_autocast_multiplies_in_bfloat16():
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(16, 21)(torch.randn(4, 16)).dtype == torch.bfloat16
