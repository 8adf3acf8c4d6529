"""Hierarchy: the k-NN graph of the whole collection as semantic levels; of a large one the graph of its lists."""

import shutil
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema
from curation.spill import mapped_array, release
from curation.tables import Run
from graph.hierarchy import ListGraph, hierarchy
from graph.lists import load
from jobs.scratch import scratch
from jobs.stage import Item, Output
from jobs.whole import aligned_outputs, one_item


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item, *, resolutions: Sequence[float], max_images: int) -> Iterator[Output]:
    """Name every image's community at every level."""
    lists = int((run.read("centroids", ["level"])["level"].to_numpy() == 1).sum())
    if int(run.offsets("images")[-1]) > max_images and lists > 1:
        yield from _by_lists(run, lists, resolutions)
        return
    found = hierarchy(
        neighbours=run.read("neighbours"),
        representative=run.read("exact", ["representative"])["representative"].to_numpy(),
        resolutions=resolutions,
    )
    yield from aligned_outputs(run, found)


def _by_lists(run: Run, lists: int, resolutions: Sequence[float]) -> Iterator[Output]:
    """Yield HIERARCHY of a collection whose graph does not fit: images of one list share every level."""
    offsets = run.offsets("images")
    folder = scratch(run, "hierarchy", "arrays")
    folder.mkdir()
    try:
        home = mapped_array(folder / "home", int(offsets[-1]), np.int32, -1)
        first = _homes(run, home, lists)
        graph = ListGraph(home, lists)
        for part in range(run.num_parts("neighbours")):
            graph.add(run.read_part("neighbours", part), first_row=int(offsets[part]))
            release(home)
        names = [_named(level, first) for level in graph.levels(resolutions=resolutions)]
        for part in range(run.num_parts("images")):
            representative = run.read_part("exact", part, ["id", "representative"])
            row = representative["representative"].to_numpy()
            at = home[row].astype(np.int64)
            levels = {f"level_{i}": np.where(at >= 0, name[at], row) for i, name in enumerate(names)}
            yield Output(part, schema.conform(pa.table({"id": representative["id"], **levels}), schema.HIERARCHY))
            release(home)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _homes(run: Run, home: NDArray[np.int32], lists: int) -> NDArray[np.int64]:
    """Write the list of every image into `home`; returns the smallest row of every list."""
    first = np.full(lists, np.iinfo(np.int64).max, np.int64)
    for number in range(run.num_parts("lists")):
        group = load(run.folder("lists"), number)
        at = np.repeat(np.arange(lists, dtype=np.int32), np.diff(group.start))
        home[group.rows] = at
        np.minimum.at(first, at, group.rows)
        release(home)
    return first


def _named(level: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for every list the smallest row of its community."""
    name = np.full(len(level), np.iinfo(np.int64).max, np.int64)
    np.minimum.at(name, level, first)
    return np.asarray(name[level])
