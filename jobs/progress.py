"""Progress for people and for logs: a bar per stage on a terminal, one plain line per event elsewhere."""

import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress(Protocol):
    """What the runner tells while it works."""

    def current(self, stage: str, rows: int) -> None:
        """Tell that the stage has nothing to do."""

    def begin(self, stage: str, *, total: int, done: int) -> None:
        """Tell that the stage starts with `done` of `total` items already there."""

    def advance(self, stage: str, *, rows: int) -> None:
        """Tell that one item with `rows` rows was committed."""

    def end(self, stage: str, *, rows: int, wall_seconds: float, cpu_seconds: float) -> None:
        """Tell that the stage is complete."""


class Lines:
    """Plain lines: stage starts, at most one line every `every_seconds`, stage ends."""

    def __init__(self, *, every_seconds: float = 15.0) -> None:
        self.every_seconds = every_seconds
        self._total = self._done = self._rows = 0
        self._began = self._said = 0.0

    def current(self, stage: str, rows: int) -> None:
        """Print that the stage is up to date."""
        self._say(f"{stage}: up to date ({rows} rows)")

    def begin(self, stage: str, *, total: int, done: int) -> None:
        """Print that the stage starts."""
        self._total, self._done, self._rows = total, done, 0
        self._began = self._said = time.monotonic()
        self._say(f"{stage}: {total} parts" + (f", {done} already there" if done else ""))

    def advance(self, stage: str, *, rows: int) -> None:
        """Print a line if the last one is old enough."""
        self._done, self._rows = self._done + 1, self._rows + rows
        now = time.monotonic()
        if now - self._said >= self.every_seconds and self._done < self._total:
            self._said = now
            self._say(f"{stage}: {self._done} of {self._total} parts, {self._rows / (now - self._began):.1f} rows/s")

    def end(self, stage: str, *, rows: int, wall_seconds: float, cpu_seconds: float) -> None:
        """Print what the stage took."""
        self._say(f"{stage}: done, {rows} rows in {wall_seconds:.1f} s ({cpu_seconds:.1f} CPU s)")

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class Bars:
    """One bar per stage; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._rows: dict[str, int] = {}
        self._began: dict[str, float] = {}

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def current(self, stage: str, rows: int) -> None:
        """Show a full bar."""
        task = self._bars.add_task(stage, total=1, completed=1, rate=f"{rows} rows, up to date")
        self._bars.stop_task(task)

    def begin(self, stage: str, *, total: int, done: int) -> None:
        """Show a bar."""
        self._tasks[stage] = self._bars.add_task(stage, total=total, completed=done, rate="")
        self._rows[stage], self._began[stage] = 0, time.monotonic()

    def advance(self, stage: str, *, rows: int) -> None:
        """Move the bar."""
        self._rows[stage] += rows
        rate = self._rows[stage] / max(time.monotonic() - self._began[stage], 1e-6)
        self._bars.update(self._tasks[stage], advance=1, rate=f"{rate:.1f} rows/s")

    def end(self, stage: str, *, rows: int, wall_seconds: float, cpu_seconds: float) -> None:
        """Fill the bar and say what the stage took."""
        task = self._tasks[stage]
        self._bars.update(task, rate=f"{rows} rows, {cpu_seconds:.1f} CPU s")
        self._bars.stop_task(task)
