"""Training in several processes on Ray (Ray Train): on this machine, or wherever a cluster has room; restarted when one dies.

Every worker runs model.train.train, which finds the others through torch.distributed. Checkpoints and log lie in the folder of
the training, which all nodes must see; Ray Train's own checkpoints are not used. A process that dies (kill -9, out of memory, a
spot node that is taken away) costs the steps since the last checkpoint: the group starts again from it. A user's mistake is not
tried again.
"""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from curation.errors import ConfigError, ImageloomError, StageFailed
from model.config import TrainConfig

MAX_RESTARTS = 3
"""Deaths of processes that a training survives; taking away a spot node is not counted."""
LOOK_EVERY_SECONDS = 0.5
"""How often the driver reads the log for the progress bar."""


@dataclass(frozen=True)
class Job:
    """What a worker is told."""

    config: TrainConfig
    shards: str
    out: str


@dataclass(frozen=True)
class Ended:
    """What a worker answers: the fields of a TrainResult, or the error that is the user's to see."""

    result: dict[str, Any] | None
    error: ImageloomError | None


def train_on_workers(
    config: TrainConfig,
    *,
    shards: Path | str,
    out: Path,
    workers: int,
    address: str = "local",
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train in `workers` processes of Ray and return the fields of the TrainResult.

    Each has a GPU of its own when config.device is cuda, and a CPU core otherwise. A Ray that is running in this process is used;
    address: else, as for `imageloom run`. progress: called with the lines of the log, as they appear in `out`.
    Raises what `model.train.train` raises, and StageFailed when processes have died more often than MAX_RESTARTS.
    """
    from jobs.cluster import session

    if config.device.startswith("cuda:"):
        raise ConfigError(f"device is {config.device}; with --workers each process gets a GPU of its own: device: cuda")
    out = Path(out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    place = str(shards) if "://" in str(shards) else str(Path(shards).absolute())
    with session(address=address, num_cpus=max(2, workers), object_store_mb=100), _followed(out, progress):
        return _fit(Job(config, place, str(out)), workers)


def _fit(job: Job, workers: int) -> dict[str, Any]:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    from model.ranks import backend_of

    scratch = Path(job.out) / "ray"
    trainer = TorchTrainer(
        work,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=job.config.device == "cuda"),
        run_config=RunConfig(
            name=f"training-{os.getpid()}", storage_path=str(scratch), failure_config=FailureConfig(max_failures=MAX_RESTARTS)
        ),
        torch_config=TorchConfig(backend=backend_of(job.config.device)),
    )
    try:
        ended = trainer.fit().return_value
    except TrainingFailedError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise StageFailed(f"training died {MAX_RESTARTS + 1} times, at last: {lines[-1].strip()}; see {job.out}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    assert isinstance(ended, Ended)
    if ended.error is not None:
        raise ended.error
    assert ended.result is not None
    return ended.result


def work(settings: dict[str, Any]) -> Ended:
    """Train as one process of the group; a worker's whole life."""
    from ray.train.torch import get_device

    from model.train import train

    job: Job = settings["job"]
    config = replace(job.config, device=str(get_device())) if job.config.device == "cuda" else job.config
    try:
        return Ended(asdict(train(config, shards=job.shards, out=Path(job.out))), None)
    except ImageloomError as error:  # would fail again: told, not retried
        return Ended(None, error)


@contextmanager
def _followed(out: Path, progress: Callable[[dict[str, Any]], None] | None) -> Iterator[None]:
    """Call `progress` with the last line of the log whenever there is a new one."""
    done = threading.Event()

    def follow() -> None:
        told = 0
        while not done.wait(LOOK_EVERY_SECONDS):
            line = _last_line(out / "log.jsonl")
            if line is not None and line["step"] != told and progress is not None:
                told = line["step"]
                progress(line)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _last_line(path: Path) -> dict[str, Any] | None:
    """Return the last whole line of a log, None before there is one."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16)))
        whole = [line for line in file.read().split(b"\n")[:-1] if line.startswith(b"{") and line.endswith(b"}")]
    return dict(json.loads(whole[-1])) if whole else None
