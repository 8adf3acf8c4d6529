"""Layers that share their input as one product each: q, k and v; w1 and w3. For inference, made of a loaded model.

In: a DiT. Out: the same object with fewer, larger products. That means fewer launches on a GPU, yet in eager mode it was 5 %
slower there, and fused weights are copies that the GPU must hold (benchmarks/results/gpu.md). A CPU computes the parts one by
one, and gains 2 to 5 % where the feed-forward is not whole cache lines wide: that width is rounded up with zeros (see
aligned.py), and SiLU(0) * 0 adds nothing. So a sampler fuses on a CPU alone unless it is told otherwise. The checkpoint does
not change: `state_dict` gives the released keys and `load_state_dict` takes them, to the bit.

Gradients flow, but parameters, their gradients and an optimiser's state are then those of the fused weights, and LoRA finds no
`to_q`: training keeps the layers apart.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.aligned import ALIGNED
from model.attention import Attention, turned
from model.dit import Block, DiT, FeedForward
from model.layout import Packing, padded
from model.modulation import on_float32_cpu
from model.swiglu import swiglu

# T tokens of all samples, D width, F hidden width, H heads, K head dim

StateDict = dict[str, Any]


def pays_on(device: str) -> bool:
    """Tell whether fused layers are no slower than separate ones in eager mode: on a CPU."""
    return torch.device(device).type == "cpu"


def fuse(model: DiT) -> DiT:
    """Replace the attention and feed-forward layers of all blocks by fused ones, in place, and return the model."""
    for block in model.modules():
        if isinstance(block, Block) and isinstance(block.attention, Attention) and isinstance(block.feed_forward, FeedForward):
            block.attention = FusedAttention(block.attention)
            block.feed_forward = FusedFeedForward(block.feed_forward)
    return model


class FusedAttention(nn.Module):
    """An Attention with one product for queries, keys and values."""

    def __init__(self, split: Attention) -> None:
        super().__init__()
        self.heads, self.backend, self.attend = split.heads, split.backend, split.attend
        self.to_qkv = _linear(torch.cat([layer.weight.detach() for layer in (split.to_q, split.to_k, split.to_v)]), split.to_q)
        self.to_out, self.norm_q, self.norm_k = split.to_out, split.norm_q, split.norm_k
        _keep_keys(self, "to_qkv.weight", ("to_q.weight", "to_k.weight", "to_v.weight"), lambda x: x.chunk(3), torch.cat)

    def forward(self, x_TD: Tensor, packing: Packing) -> Tensor:
        """Return the attended tokens, (T, D)."""
        q, k, v = (x.view(len(x_TD), self.heads, -1) for x in _parts(x_TD, self.to_qkv, 3))
        q, k = turned(q, self.norm_q, packing.rope_TP), turned(k, self.norm_k, packing.rope_TP)
        out: Tensor = self.to_out[0](self.attend(q, k, v, packing, backend=self.backend))
        return out


class FusedFeedForward(nn.Module):
    """A FeedForward with one product for w1 and w3, its hidden width rounded up."""

    def __init__(self, split: FeedForward) -> None:
        super().__init__()
        hidden = split.w1.weight.shape[0]
        extra = padded(hidden, ALIGNED) - hidden
        rows, columns = (0, 0, 0, extra), (0, extra)
        self.w13 = _linear(torch.cat([F.pad(layer.weight.detach(), rows) for layer in (split.w1, split.w3)]), split.w1)
        self.w2 = _linear(F.pad(split.w2.weight.detach(), columns), split.w2)
        _keep_keys(
            self, "w13.weight", ("w1.weight", "w3.weight"),
            lambda x: [half[:hidden] for half in x.chunk(2)],
            lambda parts: torch.cat([F.pad(part, rows) for part in parts]),
        )  # fmt: skip
        _keep_keys(self, "w2.weight", ("w2.weight",), lambda x: [x[:, :hidden]], lambda parts: F.pad(parts[0], columns))

    def forward(self, x_TD: Tensor) -> Tensor:
        """Return (T, D)."""
        gate, value = _parts(x_TD, self.w13, 2)
        out: Tensor = self.w2(swiglu(gate, value))
        return out


def _parts(x_TD: Tensor, layer: nn.Module, count: int) -> Sequence[Tensor]:
    """Return the `count` results that a fused layer holds side by side.

    On a CPU one product is no faster than several, and later passes prefer whole memory: there each result has its own.
    """
    if on_float32_cpu(x_TD) and isinstance(layer, nn.Linear):
        return [F.linear(x_TD, part) for part in layer.weight.chunk(count)]
    out: Tensor = layer(x_TD)
    return out.chunk(count, dim=-1)


def _linear(weight: Tensor, like: nn.Linear) -> nn.Linear:
    """Return a linear layer without bias around `weight`, trainable if `like` is."""
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight, requires_grad=like.weight.requires_grad)
    return layer


def _keep_keys(
    module: nn.Module,
    fused: str,
    split: tuple[str, ...],
    cut: Callable[[Tensor], Any],
    join: Callable[[list[Tensor]], Tensor],
) -> None:
    """Make `module` write and read its weight `fused` under the keys `split`; `cut` and `join` undo each other."""

    def written(_: nn.Module, state: StateDict, prefix: str, __: Any) -> None:
        parts = cut(state.pop(prefix + fused))
        state.update({prefix + key: part for key, part in zip(split, parts, strict=True)})

    def read(_: nn.Module, state: StateDict, prefix: str, *__: Any) -> None:
        if all(prefix + key in state for key in split):
            state[prefix + fused] = join([state.pop(prefix + key) for key in split])

    module.register_state_dict_post_hook(written)  # type: ignore[no-untyped-call]
    module.register_load_state_dict_pre_hook(read)  # type: ignore[no-untyped-call]
