"""The guard against losses and gradients that are not finite: all processes stop, and the culprits say what they trained on."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn

from curation.errors import StageFailed
from model.config import TrainConfig
from model.dit import DiT
from model.objective import sample_losses
from model.ranks import Ranks
from model.train_batch import TrainBatch


@dataclass(frozen=True)
class Finding:
    """What one process found: whether its own losses are not finite, where it first saw it, and where it wrote the batch."""

    guilty: bool
    module: str
    file: str


def stop_at_nan(
    model: DiT, batch: TrainBatch, losses: Tensor, config: TrainConfig, ranks: Ranks, *,
    out: Path, step: int, loss: float, grad_norm: float,
) -> NoReturn:  # fmt: skip
    """Write nan-step-NNNNNN.json with the batch of each process whose losses are not finite, and raise StageFailed in all.

    When only the gradient is not finite nobody is innocent, and all write. Called by every process: the model is run once more.
    """
    guilty = not bool(torch.isfinite(losses).all())
    module = first_bad_module(model, batch, config)
    suffix = f"-process-{ranks.rank}" if ranks.size > 1 else ""
    mine = Finding(guilty, module, f"nan-step-{step:06d}{suffix}.json")
    found: list[Finding] = [mine] * ranks.size
    if ranks.size > 1:
        dist.all_gather_object(found, mine)
    blamed = [one for one in found if one.guilty] or found
    if mine in blamed:
        slots = [{"id": i, "t": float(t), "caption": c} for i, t, c in zip(batch.ids, batch.t, batch.captions, strict=True)]
        written = {"loss": str(loss), "grad_norm": str(grad_norm), "module": module, "batch": slots}
        (out / mine.file).write_text(json.dumps(written, indent=1) + "\n")
    where = next((f"; first in {one.module}" for one in blamed if one.module), "")
    files = ", ".join(one.file for one in blamed)
    raise StageFailed(
        f"step {step}: loss {loss}, gradient norm {grad_norm}{where}; the batch is in {out}: {files}; lower learning_rate"
    )


@torch.no_grad()
def first_bad_module(model: DiT, batch: TrainBatch, config: TrainConfig) -> str:
    """Return the name of the innermost module whose output is the first that is not finite, "" if all are."""
    bad: list[str] = []

    def look(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            parts = output if isinstance(output, list | tuple) else [output]
            if any(isinstance(part, Tensor) and not bool(torch.isfinite(part).all()) for part in parts):
                bad.append(name)

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        sample_losses(model, batch, config)
    finally:
        for handle in handles:
            handle.remove()
    return bad[0] if bad else ""


def finite(*values: float) -> bool:
    """Tell whether all values are finite."""
    return all(math.isfinite(value) for value in values)
