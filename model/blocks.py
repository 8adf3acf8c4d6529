"""Options of a transformer block's run that change its memory and speed, not its result: recomputation and compilation.

Both replace the block's `forward`, inside of which FSDP gathers nothing: gathering stays outside of the compiled graph and is
part of the recomputation. Names of parameters do not change.
"""

from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from model.dit import DiT
from model.parallel import blocks_of


def prepare_blocks(model: DiT, *, recompute: bool, compiled: bool, backend: str = "inductor") -> DiT:
    """Set the options on every block of a model, in place, and return it.

    recompute: keep a block's input alone and run it again for its gradients (Chen et al. 2016, arXiv 1604.06174); nothing in a
        block is random, so the losses are the same to the bit.
    compiled: torch.compile, the same few graphs for all blocks of a kind and all lengths. Attention stays out of them, a kernel
        by itself that runs once per distinct length: inside, every other mixture of lengths would be another graph, and after
        eight of them (recompile_limit) the compiler gives up and blocks run as if they were not compiled.
    backend: what torch.compile generates code with; `eager` traces alone.
    """
    for block in blocks_of(model):
        forward = block.forward
        if compiled:
            forward = torch.compile(forward, dynamic=True, backend=backend)
            for module in block.modules():
                if hasattr(module, "attend"):
                    module.attend = torch.compiler.disable(module.attend)  # type: ignore[no-untyped-call]
        if recompute:
            forward = partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)
        block.forward = forward  # type: ignore[method-assign]
    return model
