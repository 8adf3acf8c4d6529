"""Attention inside each sequence of a packed batch, by a kernel that is chosen by name.

`sdpa` is PyTorch's own, one batched product without a mask per distinct length; it is the default and runs everywhere. `flash2`
and `flash3` are the packages flash-attn 2 and 3, `varlen` is the flash kernel that comes with PyTorch: one call for all lengths,
from the places where sequences begin (cu_seqlens). These accept bfloat16 alone, never float16, in which the released model
overflows. Nothing is picked silently: a package that is missing is an error that names it.

Dao 2023, FlashAttention-2, arXiv 2307.08691; Shah et al. 2024, FlashAttention-3, arXiv 2407.08608.
"""

import importlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from curation.errors import ConfigError, ModelError
from model.config import DiTConfig
from model.layout import Packing
from model.modulation import may_overwrite, on_float32_cpu, unit, unit_
from model.rms_norm import NormTurned
from model.rope import rotate, rotate_

# T tokens of all samples, D width, H heads, K head dim

VARLEN = {
    "varlen": ("torch.nn.attention.varlen", "varlen_attn", "torch 2.10 or later"),
    "flash2": ("flash_attn", "flash_attn_varlen_func", "flash-attn"),
    "flash3": ("flash_attn_interface", "flash_attn_varlen_func", "flash-attn-3"),
}
"""Backend -> module, the function of it that takes sequences of all lengths, and the distribution it comes with."""
BACKENDS = ("sdpa", *VARLEN)
QK_NORM_EPS = 1e-5
"""Inside the norms of queries and keys, whatever the configuration's norm_eps: the released code has it as a constant."""


def attend(q_THK: Tensor, k_THK: Tensor, v_THK: Tensor, packing: Packing, *, backend: str = "sdpa") -> Tensor:
    """Return full attention inside each sequence of a packing, (T, H * K)."""
    if backend == "sdpa":
        return _sdpa(q_THK, k_THK, v_THK, packing.groups)
    if q_THK.device.type != "cuda" or q_THK.dtype != torch.bfloat16:
        raise ConfigError(f"attention {backend} needs bf16 on CUDA; tokens are {q_THK.dtype} on {q_THK.device}. Use sdpa")
    cu, longest = packing.cu_seqlens, packing.longest
    found = varlen_kernel(backend)(q_THK, k_THK, v_THK, cu, cu, longest, longest)
    return (found[0] if isinstance(found, tuple) else found).flatten(1)  # some releases return the log-sum-exp as well


def varlen_kernel(backend: str) -> Callable[..., Tensor | tuple[Tensor, ...]]:
    """Return the function of a backend for all lengths; raises ConfigError for an unknown one, ModelError without its package."""
    if backend not in VARLEN:
        raise ConfigError(f"attention is {backend!r}; it must be one of {', '.join(BACKENDS)}")
    module, function, distribution = VARLEN[backend]
    try:
        kernel: Callable[..., Tensor | tuple[Tensor, ...]] = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise ModelError(f"attention {backend} needs the package {distribution} ({error}); install it or use sdpa") from None
    return kernel


def use_attention(model: nn.Module, backend: str) -> nn.Module:
    """Make every attention layer of `model` use `backend` and return the model; raises as `varlen_kernel` does."""
    if backend != "sdpa":
        varlen_kernel(backend)
    for module in model.modules():
        if isinstance(getattr(module, "backend", None), str):
            module.backend = backend  # type: ignore[assignment]
    return model


def _sdpa(q_THK: Tensor, k_THK: Tensor, v_THK: Tensor, groups: tuple[tuple[int, int], ...]) -> Tensor:
    outputs = []
    start = 0
    for count, length in groups:
        stop = start + count * length
        q, k, v = (x[start:stop].view(count, length, *x.shape[1:]).transpose(1, 2) for x in (q_THK, k_THK, v_THK))
        outputs.append(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1).flatten(1))
        start = stop
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


class Attention(nn.Module):
    """Multi-head attention with QK-norm and RoPE; no biases. `backend`: see `use_attention`."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.heads, self.backend, self.attend = config.n_heads, "sdpa", attend
        self.to_q, self.to_k, self.to_v = (nn.Linear(config.dim, config.dim, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(config.dim, config.dim, bias=False)])
        self.norm_q, self.norm_k = (
            nn.RMSNorm(config.head_dim, eps=QK_NORM_EPS) if config.qk_norm else nn.Identity() for _ in range(2)
        )

    def forward(self, x_TD: Tensor, packing: Packing) -> Tensor:
        """Return the attended tokens, (T, D)."""
        q, k, v = (linear(x_TD).view(len(x_TD), self.heads, -1) for linear in (self.to_q, self.to_k, self.to_v))
        q, k = turned(q, self.norm_q, packing.rope_TP), turned(k, self.norm_k, packing.rope_TP)
        out: Tensor = self.to_out[0](self.attend(q, k, v, packing, backend=self.backend))
        return out


def turned(x_THK: Tensor, norm: nn.Module, rope_TP: Tensor) -> Tensor:
    """Return queries or keys after QK-norm and RoPE; without gradients in the memory of `x_THK`."""
    if isinstance(norm, nn.RMSNorm) and torch.is_grad_enabled() and on_float32_cpu(x_THK):
        out: Tensor = NormTurned.apply(x_THK, norm.weight, rope_TP, norm.eps)
        return out
    if not may_overwrite(x_THK):
        normed = unit(x_THK, norm.eps) * norm.weight if isinstance(norm, nn.RMSNorm) else x_THK
        return rotate(normed, rope_TP).type_as(x_THK)  # autocast norms in float32; kernels want the dtype of the values
    if isinstance(norm, nn.RMSNorm):
        x_THK = unit_(x_THK, norm.eps).mul_(norm.weight)
    return rotate_(x_THK, rope_TP)
