"""Weights of the blocks in int8, one scale per output: half the memory of bf16; a layer is converted whenever it is used.

Embedders and the final layer stay as they are: they are small, and the released code keeps them out of low precision as well.
Products run in the dtype of the tokens; nothing is calibrated. Dettmers et al. 2022, https://arxiv.org/abs/2208.07339
(vector-wise quantisation, without its split of outliers).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEPT = ("t_embedder", "cap_embedder", "siglip_embedder", "all_x_embedder", "all_final_layer", "embed_tokens", "lm_head")
"""Parts of a DiT or a text encoder whose weights are left alone."""


class Int8Linear(nn.Module):
    """A linear layer whose weight is int8 (out, in) times a scale per output."""

    def __init__(self, linear: nn.Linear, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        weight = linear.weight.detach().to(device).float()
        scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127
        self.weight: Tensor
        self.scale: Tensor
        self.register_buffer("weight", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale.to(linear.weight.dtype))
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().to(device), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b in the dtype of `x`."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype) * self.scale.to(x.dtype), bias)


def quantise(model: nn.Module, *, kept: Sequence[str] = KEPT, device: torch.device | str | None = None) -> nn.Module:
    """Replace every linear layer of `model` outside `kept` by an Int8Linear, in place, and return the model.

    device: where layers are converted, one after the other, and stay; it never holds the larger weights together. Default: where
    they are.
    """
    for name, child in list(model.named_children()):
        if name in kept:
            continue
        if isinstance(child, nn.Linear):
            setattr(model, name, Int8Linear(child, device=device))
        else:
            quantise(child, kept=kept, device=device)
    return model


def size_bytes(module: nn.Module) -> int:
    """Return the bytes of a module's parameters and buffers."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
