"""The weights of training from scratch, one parameter after the other: a model larger than main memory can be filled with them.

In: names and whole shapes in the model's order. Out: name and whole value, drawn on the CPU from one generator, so every process
that asks sees the same numbers and can keep its part of each.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn


@torch.no_grad()
def drawn_weights(shapes: Iterable[tuple[str, tuple[int, ...]]], *, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield name and value of every parameter of a DiT, float32.

    Xavier for linear weights, biases 0, norm gains 1, pad tokens N(0, .02). Modulation weights 0, scale biases 0 and
    GATE BIASES 1 (tanh 1 = .76, so blocks are open at once); the final projection 0: a fresh model predicts velocity 0.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, shape in shapes:
        value = torch.empty(shape, device="cpu", dtype=torch.float32)
        if "pad_token" in name:
            nn.init.normal_(value, std=0.02, generator=generator)
        elif len(shape) == 1:
            value.fill_(1.0 if name.endswith("weight") else 0.0)
            if name.endswith("adaLN_modulation.0.bias"):
                value.view(4, -1)[1::2] = 1.0  # rows: scale, gate, scale, gate
        elif "adaLN_modulation" in name or name.startswith("all_final_layer"):
            value.zero_()
        else:
            nn.init.xavier_uniform_(value, generator=generator)
        yield name, value
