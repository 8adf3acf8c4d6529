"""The bf16 path against float32, beside that of diffusers. Its speed needs bf16 units, which this suite does not ask for."""

import pytest
import torch
from test_dit import diffusers_model, random_case, spread
from torch import Tensor

from model.dit import DiT
from model.fused import fuse


def away(found: list[Tensor], exact: list[Tensor]) -> float:
    a, b = (torch.cat([x.float().flatten() for x in velocities]) for velocities in (found, exact))
    return float((a - b).norm() / b.norm())


@torch.no_grad()
def test_bf16_is_as_near_to_float32_as_the_released_code_in_bf16():
    ours, fused, theirs = [], [], []
    for seed in range(8):
        config, latents, t, text = random_case(seed)
        exact = spread(DiT(config))(latents, t, text)
        low = spread(DiT(config)).lower()
        ours.append(away(low(latents, t, text), exact))
        fused.append(away(fuse(low)(latents, t, text), exact))
        released = spread(diffusers_model(config)).to(torch.bfloat16)
        low_latents, low_text = [x[:, None].bfloat16() for x in latents], [x.bfloat16() for x in text]
        theirs.append(away(released(low_latents, t, low_text, return_dict=False)[0], exact))
    assert max(ours + fused) < 0.03  # bf16 has 8 bits: half a step is 0.002, over some ten roundings in a row
    assert sum(ours) <= 1.02 * sum(theirs)
    assert sum(fused) <= 1.02 * sum(theirs)


def test_the_embedding_of_t_stays_in_float32():
    config, latents, t, text = random_case(0)
    model = spread(DiT(config)).lower()
    assert {x.dtype for name, x in model.named_parameters() if name.startswith("t_embedder")} == {torch.float32}
    assert {x.dtype for name, x in model.named_parameters() if not name.startswith("t_embedder")} == {torch.bfloat16}
    velocity = model(latents, t, text)[0]
    assert velocity.dtype == torch.bfloat16
    velocity.float().square().mean().backward()
    assert all(x.grad is None or torch.isfinite(x.grad).all() for x in model.parameters())


@pytest.mark.parametrize("enabled", [False, True])
def test_autocast_trains_float32_weights_through_the_same_code(enabled: bool):
    config, latents, t, text = random_case(3)
    model = spread(DiT(config))
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        velocities = model(latents, t, text)
    sum(x.float().square().mean() for x in velocities).backward()
    exact = spread(DiT(config))(latents, t, text)
    assert away([x.detach() for x in velocities], [x.detach() for x in exact]) <= (0.03 if enabled else 0.0)
    assert {x.grad.dtype for x in model.parameters() if x.grad is not None} == {torch.float32}
