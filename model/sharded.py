"""The sharded part of a checkpoint: every process writes and reads what it holds (torch.distributed.checkpoint), at once.

A checkpoint of several processes can be read by any number of them, one included: tensors are named, and each process takes the
pieces it needs. The whole weights that samplers read are put together from the files afterwards, by one process, in main memory.
"""

import warnings
from concurrent.futures import Future
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

FOLDER = "sharded"
"""Where a checkpoint keeps it."""


def write_sharded(tensors: dict[str, Tensor], folder: Path, group: dist.ProcessGroup) -> "Future[object]":
    """Copy what this process holds of `tensors` and write it to `folder` in a thread of its own; called by every process.

    group: over gloo, used by nothing else: it works while training goes on. The first process's future is done when all have
    written and the index is there.
    """
    written = async_save(dict(tensors), storage_writer=FileSystemWriter(folder, single_file_per_rank=True), process_group=group)
    assert isinstance(written, Future)
    return written


def names_in(folder: Path) -> dict[str, torch.Size]:
    """Return the tensors of a sharded checkpoint: whole shapes by name."""
    metadata = FileSystemReader(folder).read_metadata().state_dict_metadata
    return {name: found.size for name, found in metadata.items() if isinstance(found, TensorStorageMetadata)}


def read_sharded(tensors: dict[str, Tensor], folder: Path) -> None:
    """Fill `tensors`, divided or not, in place from a sharded checkpoint; each process reads for itself."""
    warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)  # as we ask for
    load(dict(tensors), storage_reader=FileSystemReader(folder), no_dist=True)


def write_whole(folder: Path, prefix: str, path: Path) -> None:
    """Write the tensors whose name begins with `prefix` as one safetensors file, the prefix cut off."""
    tensors = {name: torch.empty(size) for name, size in names_in(folder).items() if name.startswith(prefix)}
    read_sharded(tensors, folder)
    save_file({name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, path)
