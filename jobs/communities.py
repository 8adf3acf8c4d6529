"""Communities: components and Leiden over the verified copies of the whole collection."""

from curation.tables import Run
from graph.communities import Method, communities
from jobs.stage import Item, Output
from jobs.whole import aligned_outputs, one_item


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item, *, method: Method, resolution: float) -> list[Output]:
    """Group the copies."""
    ids = run.read("images", ["id"]).column("id").to_pylist()
    return aligned_outputs(run, communities(ids=ids, verdicts=run.read("verdicts"), method=method, resolution=resolution))
