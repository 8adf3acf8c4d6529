"""Stages for the runner's tests: real code that a worker process imports, dies in, or hangs in."""

import os
import time
from pathlib import Path

import pyarrow as pa

from curation.tables import Run
from jobs.stage import Item, Output


def plan(run: Run, *, parts: int, **_: object) -> list[Item]:
    return [{"parts": [part]} for part in range(parts)]


def count(run: Run, item: Item, *, parts: int, offset: int = 0) -> list[Output]:
    (part,) = item["parts"]
    return [Output(part, pa.table({"id": [f"{part + offset}-{i}" for i in range(3)]}))]


def die_once(run: Run, item: Item, *, parts: int, marker: str) -> list[Output]:
    path = Path(marker)
    if item["parts"] == [1] and not path.exists():
        path.touch()
        os._exit(1)
    return count(run, item, parts=parts)


def always_die(run: Run, item: Item, *, parts: int) -> list[Output]:
    if item["parts"] == [1]:
        os._exit(1)
    return count(run, item, parts=parts)


def hang_once(run: Run, item: Item, *, parts: int, marker: str) -> list[Output]:
    path = Path(marker)
    if item["parts"] == [1] and not path.exists():
        path.touch()
        time.sleep(600)
    return count(run, item, parts=parts)


def raise_in_one(run: Run, item: Item, *, parts: int) -> list[Output]:
    if item["parts"] == [1]:
        raise ZeroDivisionError("a bug in the stage")
    return count(run, item, parts=parts)
