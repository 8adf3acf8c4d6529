"""Quantise: a sample of all vectors becomes the centroids that divide them into lists."""

import numpy as np

from curation.tables import Run
from graph.join import Engine, chosen_engine
from graph.quantiser import SAMPLE_PER_LIST, Quantiser, centroid_table, default_lists, hash_ids, train
from graph.vectors import Floats, unit
from jobs.lists import vectors_in
from jobs.stage import Item, Output

SPARE = 2
"""Of a collection with more than twice this many times the rows of the sample only every n-th part is read."""


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item: the centroids are trained at once, on a sample."""
    return [{"parts": [0]}]


def work(
    run: Run, item: Item, *, engine: Engine, nlist: int | None = None, two_level: bool | None = None, centre: bool = False
) -> list[Output]:
    """Train the coarse quantiser; for an engine without lists there is one list and nothing to train.

    centre: the mean of the sample is subtracted from all vectors before they are divided.
    """
    count = int(run.offsets("embeddings")[-1])
    lists = (nlist or default_lists(count)) if chosen_engine(engine, count) == "ivf" else 1
    sample = _sample(run, SAMPLE_PER_LIST * lists, count)
    if lists == 1 or not len(sample):
        return [Output(0, centroid_table(_one_list(sample)))]
    mean = sample.mean(0, dtype=np.float64).astype(np.float32) if centre else None
    trained = train(sample if mean is None else unit(sample - mean), num_lists=lists, two_level=two_level)
    return [Output(0, centroid_table(trained, mean=mean))]


def _sample(run: Run, size: int, count: int) -> Floats:
    """Return about `size` unit vectors, chosen and ordered by hashed id; while all parts are read, whatever the order of rows."""
    step = max(1, count // max(1, SPARE * size))
    parts = range(0, run.num_parts("embeddings"), step)
    offsets = run.offsets("embeddings")
    readable = sum(int(offsets[part + 1] - offsets[part]) for part in parts)
    limit = np.uint64(min(1.0, size / max(1, readable)) * (2**64 - 2048))
    found, hashes = [], []
    for part in parts:
        embeddings = run.read_part("embeddings", part, ["id", "embedding"])
        vectors, rows = vectors_in(run, part, embeddings)
        hashed = hash_ids(embeddings.column("id").to_pylist())[rows - offsets[part]]
        found.append(vectors[hashed <= limit])
        hashes.append(hashed[hashed <= limit])
    place = np.argsort(np.argsort(np.concatenate(hashes), kind="stable"))
    sample, at = np.empty((len(place), found[0].shape[1]), np.float32), 0
    while found:  # stored vectors are let go as they are copied: the sample is the largest thing that is held
        stored = found.pop(0)
        sample[place[at : at + len(stored)]] = unit(stored)
        at += len(stored)
    return sample


def _one_list(sample: Floats) -> Quantiser:
    dimension = sample.shape[1]
    return Quantiser(np.zeros((1, dimension), np.float32), np.empty((0, dimension), np.float32), np.zeros(1, np.int64))
