from itertools import accumulate

import pytest
import torch
from closed_form import fill
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from model.config import TINY, Z_IMAGE, DiTConfig
from model.dit import DiT
from model.fused import fuse
from model.int8 import quantise, size_bytes
from model.roofline import H100, Device, floor_seconds, forward_bytes, forward_flops, int8_count, weight_count, working_bytes

SMALL = DiTConfig(dim=96, n_layers=3, n_refiner_layers=2, n_heads=3, n_kv_heads=3, in_channels=4, cap_feat_dim=40,
                  axes_dims=(8, 12, 12))  # fmt: skip


@pytest.mark.parametrize("config", [TINY, SMALL])
@pytest.mark.parametrize(("rows", "columns", "text"), [(4, 6, 7), (16, 16, 40), (5, 9, 33)])
def test_operations_are_those_that_torch_counts(config: DiTConfig, rows: int, columns: int, text: int):
    model = DiT(config).initialize(seed=0)
    latent = torch.randn(config.in_channels, 2 * rows, 2 * columns)
    # The counter does not know the CPU's fused attention: its two products are counted one by one.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model([latent], torch.tensor([0.5]), [torch.randn(text, config.cap_feat_dim)])
    counted = forward_flops(config, image_tokens=rows * columns, text_tokens=text)
    assert counter.get_total_flops() == counted


@pytest.mark.parametrize("config", [TINY, SMALL, Z_IMAGE])
def test_parameters_are_those_of_the_model(config: DiTConfig):
    with torch.device("meta"):
        model = DiT(config)
    assert weight_count(config) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("config", [TINY, SMALL])
def test_bytes_in_int8_are_those_of_the_quantised_model(config: DiTConfig):
    small, count = int8_count(config), weight_count(config)
    outputs = sum(linear.weight.shape[0] for block in _blocks(config) for linear in block)
    # Biases and norms stay in float32, and every output has a scale: 4 bytes each.
    assert size_bytes(quantise(fill(DiT(config)))) == small + 4 * (count - small) + 4 * outputs


def _blocks(config: DiTConfig) -> list[list[torch.nn.Linear]]:
    model = DiT(config)
    blocks = [*model.noise_refiner, *model.context_refiner, *model.layers]
    return [[module for module in block.modules() if isinstance(module, torch.nn.Linear)] for block in blocks]


def test_the_6b_model_takes_57_teraflop_at_a_megapixel():
    flops = {side: forward_flops(Z_IMAGE, image_tokens=(side // 16) ** 2, text_tokens=128) for side in (256, 512, 1024, 1536)}
    assert [round(value / 1e12, 1) for value in flops.values()] == [4.4, 13.7, 56.6, 148.7]


def test_the_floor_is_the_slower_of_arithmetic_and_memory():
    device = Device("toy", 10.0, 2.0)
    assert floor_seconds(100.0, 2.0, device) == 10.0
    assert floor_seconds(1.0, 8.0, device) == 4.0
    small = forward_bytes(Z_IMAGE, image_tokens=16, text_tokens=8)
    assert floor_seconds(forward_flops(Z_IMAGE, image_tokens=16, text_tokens=8), small, H100) == small / H100.bytes_per_second


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
@torch.no_grad()
def test_the_peak_of_memory_beside_the_weights_is_within_its_bound(dtype: torch.dtype, size: int):
    config = DiTConfig(dim=96, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, in_channels=4, cap_feat_dim=8,
                       axes_dims=(16, 16, 16))  # fmt: skip
    model = fuse(fill(DiT(config)))
    latents, text = torch.randn(2, 4, 64, 64), [torch.randn(32, 8)] * 2
    if dtype == torch.bfloat16:
        model.lower()
    model(latents, torch.tensor([0.5]), text)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        model(latents, torch.tensor([0.5]), text)
    events = [(event.start_ns(), event.nbytes()) for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    peak = max(accumulate(count for _, count in sorted(events)))
    bound = working_bytes(config, image_tokens=1024, text_tokens=(32, 32), bytes_per_number=size)
    assert bound / 2 < peak < bound
