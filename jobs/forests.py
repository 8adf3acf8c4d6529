"""Forests: every part of the edges is reduced to the links that connect what it connects."""

import pyarrow as pa
import pyarrow.compute as pc

from curation import schema
from curation.tables import Run
from graph.forest import forest
from jobs.stage import Item, Output


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item per part of EDGES."""
    return [{"parts": [part]} for part in range(run.num_parts("edges"))]


def work(run: Run, item: Item, *, min_similarity: float) -> list[Output]:
    """Return the forest of the edges of at least `min_similarity` in one part."""
    (part,) = item["parts"]
    edges = run.read_part("edges", part)
    return [Output(part, _forest(edges.filter(pc.greater_equal(edges["similarity"], pa.scalar(min_similarity, pa.float32())))))]


def plan_verdicts(run: Run, **_: object) -> list[Item]:
    """Return one item per part of VERDICTS."""
    return [{"parts": [part]} for part in range(run.num_parts("verdicts"))]


def work_verdicts(run: Run, item: Item, **_: object) -> list[Output]:
    """Return the forest of the verified copies in one part."""
    (part,) = item["parts"]
    verdicts = run.read_part("verdicts", part, ["row_a", "row_b", "relation"])
    return [Output(part, _forest(verdicts.filter(pc.equal(verdicts["relation"], "copy"))))]


def _forest(edges: pa.Table) -> pa.Table:
    rows, roots = forest(edges["row_a"].to_numpy(), edges["row_b"].to_numpy())
    return schema.conform(pa.table({"row": rows, "root": roots}), schema.FORESTS)
