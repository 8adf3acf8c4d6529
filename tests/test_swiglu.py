import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from model.swiglu import SwiGLU, swiglu


def test_gradients_of_swiglu_are_finite_differences():
    gate, value = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert gradcheck(SwiGLU.apply, (gate, value))


def test_swiglu_is_silu_of_the_gate_times_the_value_with_and_without_gradients():
    gate, value = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    wanted = F.silu(gate) * value
    assert torch.allclose(swiglu(gate.clone().requires_grad_(), value), wanted, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(swiglu(gate.clone(), value), wanted, atol=1e-6)
