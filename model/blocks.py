"""Options of a transformer block's run that change its memory and speed, not its result: recomputation and compilation.

Both replace the block's `forward`, inside of which FSDP gathers nothing: gathering stays outside of the compiled graph and is
part of the recomputation. Names of parameters do not change.
"""

from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from model.dit import DiT
from model.parallel import blocks_of


def prepare_blocks(model: DiT, *, recompute: bool, compiled: bool) -> DiT:
    """Set the options on every block of a model, in place, and return it.

    recompute: keep a block's input alone and run it again for its gradients (Chen et al. 2016, arXiv 1604.06174); nothing in a
        block is random, so the losses are the same to the bit.
    compiled: torch.compile, one graph for all blocks of a kind; shapes that change become symbolic.
    """
    for block in blocks_of(model):
        forward = block.forward
        if compiled:
            forward = torch.compile(forward)
        if recompute:
            forward = partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)
        block.forward = forward  # type: ignore[method-assign]
    return model
