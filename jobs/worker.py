"""What a worker process does with one item: load the stage once, compute, measure, commit.

The pixels, vectors and captions never pass through the driver: a worker reads its inputs from the run folder and returns only
what it committed.
"""

import os
import resource
import time
from collections.abc import Mapping
from typing import Any

from curation.tables import Cost, Run
from jobs.stage import Item, Output, Stage, load


class Worker:
    """Holds one stage's weights at a time; used as a Ray actor and, without Ray, as a plain object."""

    def __init__(self, root: str) -> None:
        self.run = Run(root)
        self._loaded: tuple[str, Any] | None = None

    def ready(self) -> None:
        """Answer once the process is up."""

    def work(self, stage: Stage, parameters: Mapping[str, Any], fingerprint: str, item: Item) -> dict[str, Any]:
        """Compute and commit one item; returns rows, counts and cost."""
        cpu, wall = _cpu_seconds(), time.perf_counter()
        commits = []
        for output in self._call(stage, parameters, fingerprint)(self.run, item):
            now = _cpu_seconds(), time.perf_counter()
            commits.append(self._commit(stage, output, fingerprint, Cost(now[1] - wall, now[0] - cpu)))
            cpu, wall = now
        return {
            "rows": sum(commit.rows for commit in commits),
            "wall_seconds": sum(commit.wall_seconds for commit in commits),
            "cpu_seconds": sum(commit.cpu_seconds for commit in commits),
            "pid": os.getpid(),
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def _call(self, stage: Stage, parameters: Mapping[str, Any], fingerprint: str) -> Any:
        if self._loaded is None or self._loaded[0] != fingerprint:
            self._loaded = None  # free the previous stage's weights before loading
            self._loaded = (fingerprint, load(stage, parameters))
        return self._loaded[1]

    def _commit(self, stage: Stage, output: Output, fingerprint: str, cost: Cost) -> Any:
        return self.run.commit_part(
            stage.table,
            output.part,
            output.rows,
            fingerprint=fingerprint,
            cost=cost,
            files=output.files,
            published=output.published,
            counts=output.counts,
        )


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
