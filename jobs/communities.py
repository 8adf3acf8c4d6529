"""Communities: the partitions of all bins as one row per image, in the order of the images."""

from collections.abc import Iterator

from curation.spill import BUFFER_BYTES, Spill, bins_of
from curation.tables import Run
from graph.communities import SIZED, communities, sized
from jobs.scratch import scratch
from jobs.stage import Item, Output
from jobs.whole import by_part, one_item

ROWS_PER_BIN = 1 << 22
"""Rows of the result that are put in order at a time."""


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item, *, rows_per_bin: int = ROWS_PER_BIN, buffer_bytes: int = BUFFER_BYTES) -> Iterator[Output]:
    """Name every image's component and community."""
    bins = bins_of(int(run.offsets("images")[-1]), rows_per_bin=rows_per_bin)
    with Spill(scratch(run, "communities", "rows"), num_bins=bins, shape=SIZED, buffer_bytes=buffer_bytes) as rows:
        for part in range(run.num_parts("partitions")):
            found = sized(run.read_part("partitions", part, ["row", "component", "community"]))
            rows.add(found, found["row"].to_numpy() // rows_per_bin)
        for part, begin, _, found in by_part(run, rows, rows_per_bin=rows_per_bin):
            ids = run.read_part("images", part, ["id"])["id"]
            yield Output(part, communities(ids=ids, partitions=found, first_row=begin))
