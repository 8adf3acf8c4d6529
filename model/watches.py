"""The watches that a configuration asks for: speed always, validation and sample grids where they are set."""

from pathlib import Path

from model.config import TrainConfig
from model.data import Batches
from model.sample_grid import SampleGrid
from model.throughput import Throughput
from model.validation import Validation
from model.watch import Watch


def configured(config: TrainConfig, batches: Batches, out: Path, *, rank: int = 0) -> list[Watch]:
    """Return the watches of a run, in the order of their log entries; every rank has the same."""
    watches: list[Watch] = [Throughput(config)]
    if config.validation is not None:
        watches.append(Validation(batches, config, config.validation))
    if config.preview is not None:
        watches.append(SampleGrid(batches, config, config.preview, out=out, writes=rank == 0))
    return watches
