"""A model divided among processes by FSDP2: which mesh, what is wrapped, in which precision; the model knows nothing of it.

    shard: full    every parameter is divided over all processes (Zhao et al. 2023, arXiv 2304.11277; torch's fully_shard)
    shard: hybrid  divided over the processes of a machine, repeated on every machine: gathering stays inside
    shard: none    repeated in every process; only gradients are exchanged

One block is a unit: its parameters are gathered when it runs and let go after it. The rest of the model is the root unit. With
precision bf16 parameters are gathered in bf16, gradients are summed in float32, and weights, average and moments stay float32.
EVERY PROCESS MUST RUN THE MODEL EQUALLY OFTEN, for every run gathers.
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from curation.errors import ConfigError
from model.config import TrainConfig
from model.dit import Block, DiT
from model.ranks import Ranks
from model.stored import Weights


def parallelize(model: DiT, config: TrainConfig, ranks: Ranks) -> DiT:
    """Divide a model among the processes, in place, and return it; one process: it stays as it is.

    On its device, or on the meta device: `to_empty` then makes room for each process's part alone, to be filled. Values, where
    there are any, must be the same everywhere. Raises ConfigError for a number of processes that `shard` cannot divide.
    """
    if ranks.size == 1:
        return model
    mesh = make_mesh(config.shard, ranks, device_type=torch.device(config.device).type)
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if config.precision == "bf16" else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # times and noise keep float32; products are cast by autocast
    )
    for block in blocks_of(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # The root is let go after its forward too: validation between updates must not leave old values gathered.
    root = fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    # Velocities are views of one tensor; nothing is written over them.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor", category=UserWarning)
    # A pad token gets a gradient where a sample needed padding; what is summed must not differ between processes.
    root.set_reduce_scatter_unused_params(True)
    return model


def blocks_of(model: DiT) -> list[Block]:
    """Return the transformer blocks of a model, refiners included."""
    return [module for module in model.modules() if isinstance(module, Block)]


def make_mesh(shard: str, ranks: Ranks, *, device_type: str) -> DeviceMesh:
    """Return the mesh of the processes: one axis to shard over, or (replicate, shard)."""
    if shard == "full" or (shard == "hybrid" and ranks.local_size == ranks.size):
        return init_device_mesh(device_type, (ranks.size,), mesh_dim_names=("shard",))
    inner = ranks.local_size if shard == "hybrid" else 1
    if ranks.size % inner:
        raise ConfigError(f"shard: hybrid needs equally many processes per machine; {ranks.size} are no multiple of {inner}")
    return init_device_mesh(device_type, (ranks.size // inner, inner), mesh_dim_names=("replicate", "shard"))


def exchange_gradients(model: DiT, *, last: bool) -> None:
    """Say whether the next backward pass is the last of its update.

    Until then gradients are summed over the shard axis only, where each process keeps its part: a whole copy of them is never
    held. The replicas are met once, at the end.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_all_reduce(last)


@contextmanager
def gathered_root(model: DiT) -> Iterator[None]:
    """Keep what lies outside of blocks gathered, so that parts of the model can be called by themselves (`refine_text`)."""
    if not isinstance(model, FSDPModule):
        yield
        return
    model.set_reshard_after_forward(False, recurse=False)
    model.unshard()
    try:
        yield
    finally:
        model.reshard()
        model.set_reshard_after_forward(True, recurse=False)


@torch.no_grad()
def clip(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale gradients down to `max_norm` over all processes and return their norm before it; the same number everywhere.

    A parameter that no sample of the global batch used gets gradient 0, on any number of processes.
    """
    parameters = list(parameters)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def local(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def held_rows(tensor: Tensor) -> slice | None:
    """Return which rows of the whole tensor this process holds; None: all."""
    if not isinstance(tensor, DTensor):
        return None
    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return slice(offset[0], offset[0] + shape[0]) if shape else None


@torch.no_grad()
def fill(target: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor into one that may be divided; every process brings the same."""
    rows = held_rows(target)
    local(target).copy_(whole if rows is None else whole[rows])


@torch.no_grad()
def fill_from(target: Tensor, weights: Weights, name: str) -> None:
    """Copy a stored tensor into one that may be divided; each process reads the rows that it holds."""
    rows = held_rows(target)
    if rows is None or rows.start < rows.stop:
        local(target).copy_(weights.read(name, rows))
