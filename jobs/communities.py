"""Communities: the partitions of all bins as one row per image."""

from curation.tables import Run
from graph.communities import communities
from jobs.stage import Item, Output
from jobs.whole import aligned_outputs, one_item


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item) -> list[Output]:
    """Name every image's component and community."""
    names = ["row", "component", "community"]
    return aligned_outputs(run, communities(ids=run.read("images", ["id"])["id"], partitions=run.read("partitions", names)))
