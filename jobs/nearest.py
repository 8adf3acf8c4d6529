"""Nearest: the k nearest neighbours of the images of some lists; nothing to do for an engine without lists."""

from typing import Any

import numpy as np

from curation.tables import Run
from graph.lists import load
from graph.nearest import Nearest, count_nearest, nearest_lists, save_nearest
from graph.quantiser import mean_of
from jobs.adopt import adopted, base_rows
from jobs.lists import scratch
from jobs.stage import Item, Output

QUERY_ROWS = 1 << 16
"""Images that are asked for in one task: about 400 MB at 512 numbers and 20 neighbours."""


def plan(run: Run, *, query_rows: int = QUERY_ROWS, **_: object) -> list[Item]:
    """Return blocks of consecutive lists with about `query_rows` images to answer for; with a base, of new ones."""
    before = adopted(run, "nearest").parts
    first_part = adopted(run, "lists").parts if before else 0
    count = int((run.read("centroids", ["level"])["level"].to_numpy() == 1).sum())
    rows = np.zeros(count, np.int64)
    for part in range(first_part, run.num_parts("lists")):
        found = run.read_part("lists", part)
        np.add.at(rows, found["list"].to_numpy(), found["rows"].to_numpy())
    if count == 1 or not rows.any():
        return [{"parts": [before], "lists": [0, 0]}]
    block = (np.cumsum(rows) - rows) // query_rows
    cuts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), count]
    return [{"parts": [before + number], "lists": cuts[number : number + 2]} for number in range(len(cuts) - 1)]


def work(run: Run, item: Item, *, k: int, min_similarity: float, **_: Any) -> list[Output]:
    """Write the neighbours that a block of lists finds, sorted by row."""
    (number,) = item["parts"]
    first, last = item["lists"]
    new = base_rows(run) if adopted(run, "nearest").parts else 0
    if first == last:
        none = np.empty(0, np.int64)
        found = Nearest(none, np.zeros(1, np.int64), none, np.empty(0, np.float32))
    else:
        groups = [load(run.folder("lists"), part) for part in range(run.num_parts("lists"))]
        mean = mean_of(run.read("centroids"))
        found = nearest_lists(groups, first=first, last=last, k=k, min_similarity=min_similarity, mean=mean, new_from=new)
    return [Output(number, count_nearest(found), files=save_nearest(found, scratch(run, "nearest"), number))]
