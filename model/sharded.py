"""The sharded part of a checkpoint: every process writes and reads what it holds (torch.distributed.checkpoint), at once.

A checkpoint of several processes can be read by any number of them, one included: tensors are named, and each process takes the
pieces it needs. The whole weights that samplers read are put together from the files afterwards, by one process, some at a time.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

FOLDER = "sharded"
"""Where a checkpoint keeps it."""
WHOLE_BYTES = 1 << 30
"""Main memory for putting whole weights together, as long as no tensor alone is larger."""


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
    """Write the tensors whose name begins with `prefix` as one safetensors file, the prefix cut off.

    The bytes are those of safetensors' save_file (float32, in the order of names), but only WHOLE_BYTES of them are in memory.
    """
    sizes = {name: size for name, size in sorted(names_in(folder).items()) if name.startswith(prefix)}
    with path.open("wb") as file:
        file.write(_header({name.removeprefix(prefix): size for name, size in sizes.items()}))
        for names in _portions(sizes):
            tensors = {name: torch.empty(sizes[name]) for name in names}
            read_sharded(tensors, folder)
            for name in names:
                file.write(tensors[name].numpy().astype("<f4", copy=False).data)


def _header(sizes: Mapping[str, torch.Size]) -> bytes:
    """Return length and header of a safetensors file of float32 tensors that follow in this order."""
    described, start = dict[str, object](), 0
    for name, size in sizes.items():
        stop = start + 4 * size.numel()
        described[name] = {"dtype": "F32", "shape": list(size), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _portions(sizes: Mapping[str, torch.Size]) -> Iterator[list[str]]:
    """Yield names in order, at most WHOLE_BYTES of tensors at a time, but at least one."""
    names, held = list[str](), 0
    for name, size in sizes.items():
        if names and held + 4 * size.numel() > WHOLE_BYTES:
            yield names
            names, held = [], 0
        names.append(name)
        held += 4 * size.numel()
    yield names
