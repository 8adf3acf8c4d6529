"""Segments of an interrupted training as torchdata's StatefulDataLoader reads them: run by the interpreter that has torchdata.

    PYTHON -m benchmarks.resume_torchdata ARM SCENARIOS SHARDS

ARM: `webdataset` (the usual way to read tars: an iterable data set split by rank and worker, not shuffled, which favours it) or
`map` (torchdata's own distributed sampler over a data set with random access to the same tars). SCENARIOS: JSON, a list of lists
of segments {world, workers, batches}. Between segments every loader is made anew and given the state that the loader of its rank
had saved through pickle; a rank without a state of its own is given rank 0's. Prints JSON: for each scenario and segment the
batches of ids, one list of all ranks' per global batch, or the error.
"""

import json
import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import webdataset
from torch.utils.data import Dataset
from torchdata.stateful_dataloader import StatefulDataLoader
from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler

GLOBAL_BATCH = 8


class Tars(Dataset[str]):
    """Ids of the samples of shards by row; what a data set with an index of its own offers."""

    def __init__(self, shards: Path) -> None:
        self.ids = [key for path in sorted(shards.glob("shard-*.parquet")) for key in pq.read_table(path)["key"].to_pylist()]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.ids)

    def __getitem__(self, row: int) -> str:
        """Return an id."""
        return str(self.ids[row])


def main() -> None:
    """Run all scenarios and print what they read."""
    warnings.simplefilter("ignore")
    arm, scenarios, shards = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])
    print(json.dumps([told(arm, segments, shards) for segments in scenarios]))


def told(arm: str, segments: list[dict[str, int]], shards: Path) -> list[dict[str, Any]]:
    """Return what each segment of a scenario reads, or the error that ends it."""
    states: dict[int, bytes] = {}
    read: list[dict[str, Any]] = []
    for segment in segments:
        try:
            batches, states = run(arm, segment, shards, states)
            read.append({"batches": batches})
        except Exception as error:  # whatever a user would see is the result
            return [*read, {"error": f"{type(error).__name__}: {error}".strip(": ").splitlines()[0][:160]}]
    return read


def run(arm: str, segment: dict[str, int], shards: Path, states: dict[int, bytes]) -> tuple[list[list[str]], dict[int, bytes]]:
    """Return the global batches of a segment and the states of all ranks at its end."""
    world, count = segment["world"], segment["batches"]
    batches: list[list[str]] = [[] for _ in range(count)]
    saved = {}
    for rank in range(world):
        state = pickle.loads(states.get(rank, states[0])) if states else {"epoch": 0, "loader": None}
        loader, epoch = make(arm, shards, rank, world, segment["workers"]), state["epoch"]
        if state["loader"] is not None:
            loader.load_state_dict(state["loader"])
        iterator = begin(loader, epoch)
        done = empty = 0
        while done < count and empty < 2:
            try:
                batches[done] += next(iterator)
                done, empty = done + 1, 0
            except StopIteration:
                epoch, empty = epoch + 1, empty + 1
                iterator = begin(loader, epoch)
        saved[rank] = pickle.dumps({"epoch": epoch, "loader": loader.state_dict()})
        del iterator
    return batches, saved


def begin(loader: StatefulDataLoader, epoch: int) -> Iterator[list[str]]:
    """Return the iterator of an epoch; the distributed sampler is told which, as its documentation asks."""
    if isinstance(loader.sampler, StatefulDistributedSampler):
        loader.sampler.set_epoch(epoch)
    return iter(loader)


def make(arm: str, shards: Path, rank: int, world: int, workers: int) -> StatefulDataLoader:
    """Return the loader of one rank."""
    size = GLOBAL_BATCH // world
    if arm == "map":
        data = Tars(shards)
        sampler = StatefulDistributedSampler(data, num_replicas=world, rank=rank, shuffle=True, seed=0)
        return StatefulDataLoader(data, batch_size=size, sampler=sampler, num_workers=workers, collate_fn=list)
    urls = sorted(str(path) for path in shards.glob("shard-*.tar"))[rank::world]
    stream = webdataset.WebDataset(urls, shardshuffle=False).map(lambda sample: sample["__key__"])
    return StatefulDataLoader(stream, batch_size=size, num_workers=workers, collate_fn=list)


if __name__ == "__main__":
    main()
