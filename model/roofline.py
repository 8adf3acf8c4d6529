"""What one forward pass of the S3-DiT must cost: floating point operations, bytes read, and the time a device needs at the least.

Counted by the shapes of the matrix products, two per multiply and add, attention included; norms, RoPE and gates are a thousandth
of it. The floor of the time is that of the slower of arithmetic and memory: products at the device's peak, or every weight and
every token read once per layer.

Williams, Waterman & Patterson 2009, Roofline, https://doi.org/10.1145/1498765.1498785
"""

from collections.abc import Sequence
from dataclasses import dataclass

from model.config import DiTConfig
from model.layout import padded

BACKWARD = 2
"""Products of a backward pass, in forward passes: gradients of inputs and of weights."""


@dataclass(frozen=True)
class Device:
    """Peaks of an accelerator: dense operations per second, bytes per second of its memory."""

    name: str
    flops_per_second: float
    bytes_per_second: float


H100 = Device("H100 SXM, bf16", 989e12, 3.35e12)
"""NVIDIA H100 data sheet: 989 TFLOPS dense in bf16, 3.35 TB/s."""


def forward_flops(config: DiTConfig, *, image_tokens: int, text_tokens: int) -> int:
    """Return the operations of one sample's forward pass; token counts before padding."""
    image, text = padded(image_tokens, config.pad_to), padded(text_tokens, config.pad_to)
    refiners = config.n_refiner_layers * (block_flops(config, image) + block_flops(config, text))
    modulated = config.n_layers + config.n_refiner_layers
    patch = config.patch_px**2 * config.in_channels
    return (
        config.n_layers * block_flops(config, image + text)
        + refiners
        + modulated * _product(1, config.cond_dim, 4 * config.dim)
        + _product(image_tokens, patch, config.dim)
        + _product(text_tokens, config.cap_feat_dim, config.dim)
        + _product(image_tokens, config.dim, patch)
        + _product(1, config.cond_dim, config.dim)
        + _product(1, 256, 1024)
        + _product(1, 1024, config.cond_dim)
    )


def block_flops(config: DiTConfig, tokens: int) -> int:
    """Return the operations of one block over a sequence: four projections, three of the feed-forward, two of attention."""
    projections = 4 * _product(tokens, config.dim, config.dim)
    feed_forward = 3 * _product(tokens, config.dim, config.ffn_dim)
    return projections + feed_forward + 2 * _product(tokens, config.dim, tokens)


def weight_count(config: DiTConfig) -> int:
    """Return the number of parameters; omni's are not counted."""
    block = 4 * config.dim**2 + 3 * config.dim * config.ffn_dim + 4 * config.dim + (2 * config.head_dim if config.qk_norm else 0)
    modulation = 4 * config.dim * (config.cond_dim + 1)
    patch = config.patch_px**2 * config.in_channels
    embedders = config.dim * (patch + 1) + config.cap_feat_dim + config.dim * (config.cap_feat_dim + 1)
    time = 1024 * 257 + config.cond_dim * 1025
    final = patch * (config.dim + 1) + config.dim * (config.cond_dim + 1)
    blocks = config.n_layers + 2 * config.n_refiner_layers
    modulated = config.n_layers + config.n_refiner_layers
    return blocks * block + modulated * modulation + embedders + time + final + 2 * config.dim


def int8_count(config: DiTConfig) -> int:
    """Return how many of the parameters model/int8.py keeps in eight bits: the weights of all products inside blocks."""
    blocks = config.n_layers + 2 * config.n_refiner_layers
    modulated = config.n_layers + config.n_refiner_layers
    block = 4 * config.dim**2 + 3 * config.dim * config.ffn_dim
    return blocks * block + modulated * 4 * config.dim * config.cond_dim


def forward_bytes(config: DiTConfig, *, image_tokens: int, text_tokens: int, bytes_per_number: int = 2) -> int:
    """Return the bytes that must cross the memory bus: every weight once, and every block's tokens in and out once."""
    image, text = padded(image_tokens, config.pad_to), padded(text_tokens, config.pad_to)
    token_rows = config.n_layers * (image + text) + config.n_refiner_layers * (image + text)
    return bytes_per_number * (weight_count(config) + 2 * token_rows * config.dim)


WORKING_WIDTHS = 16
"""Rows of the model's width that one token needs at the peak of a block, without gradients: its residual, the normed input, q, k
and v, their float32 rotations, the two halves of the feed-forward (8/3 each). Between 9 and 15 in measurements."""


def working_bytes(config: DiTConfig, *, image_tokens: int, text_tokens: Sequence[int], bytes_per_number: int = 2) -> int:
    """Return a bound of the memory that a forward pass needs beside the weights, for one image with each of the texts."""
    tokens = sum(padded(image_tokens, config.pad_to) + padded(text, config.pad_to) for text in text_tokens)
    return tokens * WORKING_WIDTHS * config.dim * bytes_per_number


def floor_seconds(flops: float, size_bytes: float, device: Device) -> float:
    """Return the time below which `device` cannot do it."""
    return max(flops / device.flops_per_second, size_bytes / device.bytes_per_second)


def _product(rows: int, inner: int, columns: int) -> int:
    return 2 * rows * inner * columns
