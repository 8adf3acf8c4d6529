"""The processes of one training: which of them this one is, what the first does for all, and how an error of one ends all.

Processes are started by others (torch.distributed.run, Ray Train, a cluster's scheduler) and find each other by the environment:
RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT. Without WORLD_SIZE there is one process and no group.
gloo joins them on a CPU, NCCL on a GPU beside gloo for what lies in main memory.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from curation.errors import ConfigError, ImageloomError, StageFailed

T = TypeVar("T")
logger = logging.getLogger(__name__)

ERROR_FILE = "_error.json"
"""What ended a training of several processes, written by the first of them that fails."""
PATIENCE_SECONDS = 5.0
"""How long a process whose partners are gone looks for the reason."""


@dataclass(frozen=True)
class Ranks:
    """This process (rank) among all (size), and among those of its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def first_does(self, act: Callable[[], T]) -> T:
        """Return what `act` gives in the first process, in all of them; what it raises there is raised in all."""
        if self.size == 1:
            return act()
        told: list[tuple[T | None, ImageloomError | None]] = [(None, None)]
        if self.first:
            try:
                told = [(act(), None)]
            except ImageloomError as error:
                told = [(None, error)]
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        result, failure = told[0]
        if failure is not None:
            raise failure
        return result  # type: ignore[return-value]

    def gathered(self, value: float) -> list[float]:
        """Return the value of every process, in the order of their ranks."""
        if self.size == 1:
            return [value]
        found = torch.zeros(self.size, dtype=torch.float64)
        found[self.rank] = value
        dist.all_reduce(found)
        return [float(one) for one in found]

    def wait(self) -> None:
        """Return when every process has come here."""
        self.first_does(lambda: None)


def backend_of(device: str) -> str:
    """Return the backends of torch.distributed for a device; tensors in main memory always have gloo."""
    return "cpu:gloo,cuda:nccl" if torch.device(device).type == "cuda" else "gloo"


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the other processes that the environment names, or a group that exists already, and say which one this is.

    Raises ConfigError for a device that is not there.
    """
    check_there(device)
    if dist.is_initialized():
        yield present()
    elif int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
    else:
        dist.init_process_group(backend_of(device))
        try:
            yield present()
        finally:
            dist.destroy_process_group()


def present() -> Ranks:
    """Return this process among those that have joined; alone, one of one."""
    if not dist.is_initialized():
        return Ranks()
    size = dist.get_world_size()
    return Ranks(
        rank=dist.get_rank(),
        size=size,
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", str(size))),
    )


def check_there(device: str) -> None:
    """Raise ConfigError for a GPU that this machine does not have."""
    wanted, found = torch.device(device), torch.cuda.device_count()
    if wanted.type == "cuda" and (wanted.index or 0) >= found:
        raise ConfigError(f"device is {device}; PyTorch sees {found} GPUs here. Take cpu, or a machine that has it")


def usable(device: str) -> str:
    """Return the device of a checkpoint if this machine has it, else cpu: what was trained on a GPU can be asked anywhere."""
    try:
        check_there(device)
    except ConfigError as error:
        logger.warning("%s; the CPU is used", error)
        return "cpu"
    return device


def device_of(device: str, ranks: Ranks) -> str:
    """Return the device of this process: a GPU without a number is the one of its place on the machine."""
    return f"cuda:{ranks.local_rank}" if device == "cuda" and ranks.size > 1 else device


@contextmanager
def shared_errors(out: Path, ranks: Ranks) -> Iterator[None]:
    """Let the error of one process end all with the same line: it is left in `out`, where the others find why they are alone.

    Raises StageFailed in those others. All processes must see `out`, as they must for checkpoints.
    """
    try:
        yield
    except ImageloomError as error:
        _leave(out, ranks, error)
        raise
    except RuntimeError as error:  # torch's type for a broken connection, among others
        reason = _reason(out, ranks) if ranks.size > 1 else None
        if reason is None:
            _leave(out, ranks, error)
            raise
        raise StageFailed(reason) from None
    except Exception as error:
        _leave(out, ranks, error)
        raise


def _leave(out: Path, ranks: Ranks, error: Exception) -> None:
    if ranks.size > 1:
        try:
            with (out / ERROR_FILE).open("x") as file:
                json.dump({"rank": ranks.rank, "type": type(error).__name__, "message": str(error)}, file)
        except FileExistsError:
            logger.debug("another process has said why: %s", error)


def _reason(out: Path, ranks: Ranks) -> str | None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            told = json.loads((out / ERROR_FILE).read_text())
        except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or half written
            time.sleep(0.1)
            continue
        return None if told["rank"] == ranks.rank else f"process {told['rank']} failed: {told['type']}: {told['message']}"
    return None


def speaks(out: Path) -> bool:
    """Tell whether this process is to say how the training in `out` ended: the one that failed first, else the first."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return True
    try:
        teller = int(json.loads((out / ERROR_FILE).read_text())["rank"])
    except FileNotFoundError:
        teller = 0
    return teller == int(os.environ.get("RANK", "0"))
