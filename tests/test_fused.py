"""Fused products against the layers they are made of."""

import pytest
import torch
from closed_form import fill
from test_dit import random_case

from model.config import DiTConfig
from model.dit import DiT
from model.fused import FusedAttention, FusedFeedForward, fuse, pays_on

ODD = DiTConfig(dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, in_channels=4, cap_feat_dim=8, siglip_feat_dim=6,
                axes_dims=(4, 6, 6), axes_lens=(512, 64, 64))  # fmt: skip
"""Its feed-forward is 85 wide."""


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("gradients", [False, True])
def test_a_fused_model_gives_the_same_velocities(seed: int, gradients: bool):
    config, latents, t, text = random_case(seed)
    split, fused = fill(DiT(config)), fuse(fill(DiT(config)))
    with torch.set_grad_enabled(gradients):
        for a, b in zip(split(latents, t, text), fused(latents, t, text), strict=True):
            assert float((a - b).detach().abs().max()) <= 2e-5  # float32 sums in another order; both are 4e-5 from float64


def test_every_key_is_written_and_read_to_the_bit():
    split = fill(DiT(ODD))
    fused = fuse(fill(DiT(ODD)))
    expected, written = split.state_dict(), fused.state_dict()
    assert set(written) == set(expected)
    assert all(torch.equal(written[key], x) for key, x in expected.items())
    other = fuse(DiT(ODD).initialize(seed=1))
    other.load_state_dict(expected)
    assert all(torch.equal(x, expected[key]) for key, x in other.state_dict().items())
    kinds = [type(module) for module in fused.modules()]
    assert kinds.count(FusedAttention) == kinds.count(FusedFeedForward) == 2 + 3


def test_a_key_that_is_missing_is_not_filled_in():
    weights = {key: x for key, x in DiT(ODD).state_dict().items() if key != "layers.1.attention.to_k.weight"}
    with pytest.raises(RuntimeError, match=r"layers\.1\.attention"):
        fuse(DiT(ODD)).load_state_dict(weights)


def test_the_rounded_width_is_whole_cache_lines_of_zeros():
    block = fuse(fill(DiT(ODD)).requires_grad_(False)).layers[0].feed_forward
    assert block.w13.weight.shape == (2 * 96, 32)
    assert block.w2.weight.shape == (32, 96)
    assert float(block.w13.weight[85:96].abs().max()) == 0.0 == float(block.w2.weight[:, 85:].abs().max())


def test_gradients_of_fused_weights_are_those_of_their_parts():
    config, latents, t, text = random_case(3)
    split, fused = fill(DiT(config)), fuse(fill(DiT(config)))
    for model in (split, fused):
        torch.stack([x.square().mean() for x in model(latents, t, text)]).sum().backward()
    for a, b in zip(split.layers, fused.layers, strict=True):
        parts = torch.cat([getattr(a.attention, name).weight.grad for name in ("to_q", "to_k", "to_v")])
        away = float((parts - b.attention.to_qkv.weight.grad).abs().max())
        assert away <= 1e-4 * float(parts.abs().max())  # float32 sums in another order


def test_a_sampler_fuses_on_a_cpu_alone():
    assert [pays_on(device) for device in ("cpu", "cuda", "cuda:1")] == [True, False, False]
