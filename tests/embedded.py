"""Runs that begin with vectors: IMAGES (ids only), EMBEDDINGS and, if wanted, EXACT, as their stages would have left them."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from curation import schema
from curation.tables import Cost, Run
from jobs import stage as stages
from jobs.config import parse_config
from jobs.pipeline import pipeline
from jobs.runner import Planned
from jobs.worker import Worker

JOIN = ("quantise", "lists", "join", "edges")


def embedded(root: Path, vectors: np.ndarray, part_rows: int, representative: np.ndarray | None = None) -> Run:
    """Return a run of the given vectors; rows that are not finite failed."""
    run = Run(root)
    for part, begin in enumerate(range(0, len(vectors), part_rows)):
        some = vectors[begin : begin + part_rows]
        rows = range(begin, begin + len(some))
        ids = [f"{row:032x}" for row in rows]
        alive = np.isfinite(some).all(1)
        column = pa.array([list(v) if ok else None for v, ok in zip(some, alive, strict=True)], schema.vector_type(some.shape[1]))
        none = pa.nulls(len(some))
        table = pa.table({"id": ids, "embedding": column, "norm": none, "error": none})
        tables = {"images": pa.table({"id": ids}), "embeddings": schema.conform(table, schema.embeddings_schema(some.shape[1]))}
        if representative is not None:
            tables["exact"] = pa.table({"id": ids, "representative": representative[begin : begin + len(some)]})
        for name, rows_ in tables.items():
            run.commit_part(name, part, rows_, fingerprint="planted", cost=Cost(0, 0))
    for name in ("images", "embeddings", *(["exact"] if representative is not None else [])):
        run.finish(name, {"fingerprint": "planted"})
    return run


def planned(run: Run, names: tuple[str, ...], method: str = "similarity", **sections: object) -> list[Planned]:
    """Return the stages of some names under one method of deduplication."""
    values = {"source": "/nowhere", "out": str(run.root), "dedup": {"method": method}, **sections}
    return [stage for stage in pipeline(parse_config(values, origin="test")) if stage.stage.name in names]


def compute(run: Run, plan: list[Planned]) -> None:
    """Do in this process what the runner's workers do."""
    worker = Worker(str(run.root))
    for number, one in enumerate(plan):
        for item in stages.items(one.stage, run, one.parameters):
            worker.work(one.stage, one.parameters, str(number), item)
        run.finish(one.stage.table, {"fingerprint": str(number)})
