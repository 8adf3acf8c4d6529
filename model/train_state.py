"""What training changes and a checkpoint keeps: weights, their moving average, the optimiser's moments, the place in the plan."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from model.autoencoder import Autoencoder
from model.checkpoint import Progress, prune, read_progress, save_checkpoint
from model.config import TrainConfig
from model.dit import DiT
from model.schedule import ema_decay

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW remembers of a parameter."""


@dataclass
class TrainState:
    """The moving parts of a run."""

    model: DiT
    ema: dict[str, Tensor]
    optimizer: torch.optim.AdamW
    progress: Progress

    @classmethod
    def create(cls, config: TrainConfig, checkpoint: Path | None, plan_digest: str) -> "TrainState":
        """Return the state at the beginning of a run, or that of `checkpoint`."""
        model = DiT(config.model).initialize(seed=config.seed).to(config.device)
        parameters = dict(model.named_parameters())
        optimizer = torch.optim.AdamW(
            parameters.values(), lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        ema = {name: p.detach().clone() for name, p in parameters.items()}
        at = Progress(0, 0, 0, plan_digest)
        if checkpoint is not None:
            at = read_progress(checkpoint)
            _restore(checkpoint, parameters, ema, optimizer)
        return cls(model.train(), ema, optimizer, at)

    def follow(self, step: int, limit: float) -> None:
        """Move the averaged weights towards the weights after update `step`."""
        decay = ema_decay(step, limit)
        torch._foreach_lerp_(list(self.ema.values()), [p.detach() for p in self.model.parameters()], 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[DiT]:
        """Lend the model with the averaged weights, in evaluation mode; weights and mode are restored after it."""
        self._swap()
        self.model.eval()
        try:
            yield self.model
        finally:
            self._swap()
            self.model.train()

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange weights and averaged weights, one tensor at a time: no second copy of either."""
        for name, parameter in self.model.named_parameters():
            held = parameter.detach().clone()
            parameter.copy_(self.ema[name])
            self.ema[name].copy_(held)

    def save(self, autoencoder: Autoencoder, config: TrainConfig, out: Path) -> None:
        """Write a checkpoint into `out` and remove those that are too old."""
        named = dict(self.model.named_parameters())
        moments = {f"{kind}/{name}": x for name, p in named.items() for kind, x in self.optimizer.state.get(p, {}).items()}
        save_checkpoint(
            out,
            progress=self.progress,
            config=config,
            weights=dict(named),
            ema=self.ema,
            optimizer=moments,
            autoencoder=autoencoder,
        )
        prune(out, keep=config.keep_checkpoints)


def _restore(checkpoint: Path, parameters: dict[str, Any], ema: dict[str, Tensor], optimizer: torch.optim.AdamW) -> None:
    saved, averaged, moments = (load_file(checkpoint / f"{n}.safetensors") for n in ("model", "ema", "optimizer"))
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(saved[name])
            ema[name].copy_(averaged[name])
            # A parameter that never had a gradient (a pad token nothing was padded with) has no moments.
            optimizer.state[parameter] = {
                kind: moments[f"{kind}/{name}"].to(parameter.device) for kind in MOMENTS if f"{kind}/{name}" in moments
            }
