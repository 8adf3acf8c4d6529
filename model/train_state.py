"""What training changes and a checkpoint keeps: trained weights, their moving average, moments, the place in the plan.

Trained are the parameters that require gradients: all, or adapters alone (lora), whose frozen base stays where `init` found it.
With several processes every tensor here is divided among them (DTensor); nothing in this file gathers one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from model.attention import use_attention
from model.blocks import prepare_blocks
from model.checkpoint import Base, Progress, read_progress
from model.config import TrainConfig
from model.dit import DiT
from model.initial import begin, empty_model
from model.parallel import fill_from, gathered_root, local, parallelize
from model.ranks import Ranks
from model.schedule import ema_decay
from model.sharded import FOLDER, names_in, read_sharded
from model.stored import StoredWeights

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW remembers of a parameter."""


@dataclass
class TrainState:
    """The moving parts of a run."""

    model: DiT
    trained: dict[str, nn.Parameter]
    """Parameters that require gradients, by name."""
    ema: dict[str, Tensor]
    optimizer: torch.optim.AdamW
    progress: Progress

    @classmethod
    def create(
        cls,
        config: TrainConfig,
        checkpoint: Path | None,
        plan_digest: str,
        *,
        base: Base | None = None,
        ranks: Ranks | None = None,
    ) -> "TrainState":
        """Return the state at the beginning of a run, or that of `checkpoint`, whatever number of processes wrote it."""
        model = parallelize(empty_model(config), config, ranks or Ranks()).to_empty(device=config.device)
        if checkpoint is None or config.lora is not None:  # else the checkpoint has every weight
            begin(model, config, base)
        use_attention(model, config.attention)
        prepare_blocks(model, recompute=config.gradient_checkpointing, compiled=config.compile)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        optimizer = torch.optim.AdamW(
            trained.values(), lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        ema = {name: p.detach().clone() for name, p in trained.items()}
        state = cls(model.train(), trained, ema, optimizer, Progress(0, 0, 0, plan_digest))
        if checkpoint is not None:
            state.progress = read_progress(checkpoint)
            state.restore(checkpoint)
        return state

    def follow(self, step: int, limit: float) -> None:
        """Move the averaged weights towards the weights after update `step`."""
        averaged, weights = ([local(x.detach()) for x in tensors.values()] for tensors in (self.ema, self.trained))
        torch._foreach_lerp_(averaged, weights, 1 - ema_decay(step, limit))

    @contextmanager
    def averaged(self) -> Iterator[DiT]:
        """Lend the model with the averaged weights, in evaluation mode; weights and mode are restored after it."""
        self._swap()
        self.model.eval()
        try:
            with gathered_root(self.model):
                yield self.model
        finally:
            self._swap()
            self.model.train()

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange weights and averaged weights, one tensor at a time: no second copy of either."""
        for name, parameter in self.trained.items():
            weight, averaged = local(parameter), local(self.ema[name])
            held = weight.clone()
            weight.copy_(averaged)
            averaged.copy_(held)

    def moments(self) -> dict[str, Tensor]:
        """Return what the optimiser remembers, as <moment>/<parameter>."""
        return {f"{kind}/{name}": x for name, p in self.trained.items() for kind, x in self.optimizer.state.get(p, {}).items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return all that is saved: model/<parameter>, ema/<parameter>, optimizer/<moment>/<parameter>."""
        groups = {"model": {name: p.detach() for name, p in self.trained.items()}, "ema": self.ema, "optimizer": self.moments()}
        return {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}

    @torch.no_grad()
    def restore(self, checkpoint: Path) -> None:
        """Read weights, average and moments; each process takes its part. The base is not in a checkpoint."""
        if (checkpoint / FOLDER).is_dir():
            self._prepare_moments(names_in(checkpoint / FOLDER))
            read_sharded(self.tensors(), checkpoint / FOLDER)
            return
        for group in ("optimizer", "model", "ema"):
            stored = StoredWeights([checkpoint / f"{group}.safetensors"])
            if group == "optimizer":
                self._prepare_moments({f"{group}/{name}" for name in stored.shapes})
            for name, target in self.tensors().items():
                if name.startswith(f"{group}/"):
                    fill_from(target, stored, name.removeprefix(f"{group}/"))

    def _prepare_moments(self, saved: "set[str] | dict[str, torch.Size]") -> None:
        """Give the optimiser zeros for what was saved; a parameter that never had a gradient has no moments."""
        for name, parameter in self.trained.items():
            if f"optimizer/step/{name}" in saved:
                zeros = [torch.zeros((), device=parameter.device), *(torch.zeros_like(parameter.detach()) for _ in range(2))]
                self.optimizer.state[parameter] = dict(zip(MOMENTS, zeros, strict=True))
