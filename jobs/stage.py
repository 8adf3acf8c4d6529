"""What a stage is: a line of data that names its table, its inputs and the code that computes one item of its work.

A row stage is a floor-1 or floor-0 function over aligned parts of tables (`curation.metrics:profile`); every other stage is a
thin file in jobs/ with `plan(run, **parameters) -> items` and a worker `(run, item, **parameters) -> outputs`. Code is named
by import path, so that the driver stays light and every worker process loads only what its stage needs.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.tables import Run

Item = dict[str, Any]
"""One unit of work as JSON; `parts` lists the parts it produces."""


@dataclass(frozen=True)
class Output:
    """One part that a worker computed and the runner commits."""

    part: int
    rows: pa.Table | None
    files: Mapping[str, Path] = field(default_factory=dict)
    published: Sequence[str] = ()
    counts: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Stage:
    """A line of the pipeline."""

    name: str
    table: str
    inputs: tuple[str, ...]
    worker: str
    does: str
    plan: str | None = None  # None: a row stage, one item per part of images
    digest: str | None = None  # fingerprint of inputs outside the run
    optional: tuple[str, ...] = ()  # inputs used when they exist
    version: int = 1
    methods: tuple[str, ...] = ()  # values of dedup.method the stage belongs to; none named: all

    @property
    def by_row(self) -> bool:
        """True for a stage that maps aligned parts."""
        return self.plan is None


def resolve(path: str) -> Any:
    """Return the object at import path `module:name`."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def load(stage: Stage, parameters: Mapping[str, Any]) -> Callable[[Run, Item], Iterable[Output]]:
    """Return the stage's worker with its parameters bound; a class is built once and holds its weights.

    A worker that yields its outputs one by one holds one of them at a time.
    """
    code = resolve(stage.worker)
    if inspect.isclass(code):
        call: Any = code(**parameters)
        return _rows(stage, call, {}) if stage.by_row else call
    return _rows(stage, code, parameters) if stage.by_row else lambda run, item: code(run, item, **parameters)


def _rows(stage: Stage, call: Callable[..., pa.Table], parameters: Mapping[str, Any]) -> Callable[[Run, Item], Iterable[Output]]:
    def work(run: Run, item: Item) -> list[Output]:
        (part,) = item["parts"]
        tables = [*stage.inputs, *(table for table in stage.optional if run.has(table))]
        return [Output(part, call(**run.aligned(tables, part), **parameters))]

    return work


def items(stage: Stage, run: Run, parameters: Mapping[str, Any]) -> list[Item]:
    """Return the stage's work, in order; deterministic given its inputs."""
    if stage.plan is None:
        return [{"parts": [part]} for part in range(run.num_parts("images"))]
    return list(resolve(stage.plan)(run, **parameters))
