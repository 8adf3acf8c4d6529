"""Losses of single images: the trained model looks at every shard again, inside a run, or for any checkpoint and any shards."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import ConfigError
from curation.relative_loss import by_time
from curation.schema import PAIR_LOSS, PAIR_SHARDS, SAMPLE_LOSS, SHARDS
from curation.tables import Run
from jobs.sample import newest
from jobs.stage import Item, Output
from model.pair_losses import PairLossMeter
from model.sample_losses import LossMeter
from model.shard_reader import holds_pairs, read_index


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item per shard."""
    return [{"parts": [part]} for part in range(run.num_parts("shards"))]


class Meter:
    """Holds the trained model; maps a shard to its part of SAMPLE_LOSS."""

    def __init__(self, *, times: Sequence[float], captions: int, share: float, batch_size: int, seed: int) -> None:
        self.settings: dict[str, Any] = {
            "times": times, "captions": captions, "share": share, "batch_size": batch_size, "seed": seed
        }  # fmt: skip
        self._meter: LossMeter | None = None

    def __call__(self, run: Run, item: Item) -> list[Output]:
        """Measure the images of one shard."""
        if self._meter is None:
            self._meter = LossMeter(newest(run), **self.settings)
        (part,) = item["parts"]
        return [Output(part, self._meter(run.folder("shards"), run.read_part("shards", part)))]


def measure(checkpoint: Path, shards: Path | str, out: Path, *, captions: int = 1, **settings: Any) -> pa.Table:
    """Write SAMPLE_LOSS of shards, or PAIR_LOSS of pair shards, to the file `out`, and return the mean losses by time.

    settings: times, share, batch_size and seed, as `LossMeter` takes them. The file appears when all shards are measured.
    """
    pairs = holds_pairs(shards)
    index = read_index(shards, PAIR_SHARDS if pairs else SHARDS)
    meter = PairLossMeter(checkpoint, **settings) if pairs else LossMeter(checkpoint, captions=captions, **settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with pq.ParquetWriter(unfinished, PAIR_LOSS if pairs else SAMPLE_LOSS) as writer:
            for part in _by_shard(index):
                writer.write_table(meter(shards, part))
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return by_time(pq.read_table(out), sample="pair" if pairs else "row")


def show(means: pa.Table, out: Path, *, as_json: bool) -> None:
    """Print mean losses by time and where the losses of single samples lie."""
    if as_json:
        print(json.dumps({"file": str(out), "times": means.to_pylist()}, indent=1))
        return
    print("   t  training saw    samples    loss  without text")
    for one in means.to_pylist():
        empty = "" if one["loss_empty"] is None else f"{one['loss_empty']:.4f}"
        print(f"{one['t']:.2f}  {'no' if one['held_out'] else 'yes':>12} {one['images']:>10}  {one['loss']:.4f}  {empty:>12}")
    print(out)


def read_losses(paths: Sequence[Path]) -> dict[str, pa.Table]:
    """Return what files hold, as `jobs.report.page` takes it: `losses` of images, `pair_losses` of edit pairs.

    Raises ConfigError for a file that is neither, and for two of one kind.
    """
    found = dict[str, pa.Table]()
    for path in paths:
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise ConfigError(f"{path} cannot be read: {error}; give a file that `imageloom losses` wrote") from error
        kind = "pair_losses" if "pair" in table.column_names else "losses"
        if kind in found:
            raise ConfigError(f"{path} holds {kind.replace('_', ' ')} again; one file for images and one for edit pairs is shown")
        found[kind] = table
    return found


def _by_shard(index: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of each shard; they follow each other."""
    names, start = index["shard"].to_pylist(), 0
    for stop in range(1, len(names) + 1):
        if stop == len(names) or names[stop] != names[start]:
            yield index.slice(start, stop - start).combine_chunks()
            start = stop
