"""What answers have cost, in tokens and in money, over all processes and all tries of a run; and when the budget is spent.

Every paid response is one line appended to a ledger of the process that got it. The sum over all ledgers of the folder is what
has been spent, so a run that was killed and started again goes on counting, and several workers share one budget. The money is
in whatever currency the prices are in.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

LOOK_SECONDS = 1.0
"""The other processes' ledgers are read this often."""


@dataclass(frozen=True)
class Spent:
    """Requests that reached the server, tokens it billed, and their cost; cached answers and asks that failed beside them."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    estimated: int = 0  # responses whose tokens the server did not tell, counted by our estimate

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Spent)))


class Ledgers:
    """The ledgers in a folder; `folder` None keeps the sum in memory."""

    def __init__(self, folder: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._own = Spent()
        self._others = Spent()
        self._read: dict[Path, int] = {}  # bytes of each other ledger that are counted
        self._looked = float("-inf")
        self._lock = threading.Lock()
        self._path = None if folder is None else folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"

    @property
    def own(self) -> Spent:
        """Return what this process has spent."""
        return self._own

    def add(self, spent: Spent) -> None:
        """Count and write down one response."""
        with self._lock:
            self._own += spent
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("ab") as file:
                    file.write((json.dumps(vars(spent)) + "\n").encode())

    def total(self) -> Spent:
        """Return what all processes have spent, those that have ended included; up to LOOK_SECONDS old for the others."""
        with self._lock:
            if self._folder is not None and self._clock() - self._looked >= LOOK_SECONDS:
                self._look(self._folder)
                self._looked = self._clock()
            return self._own + self._others

    def _look(self, folder: Path) -> None:
        for path in sorted(folder.glob("*.jsonl")):
            if path == self._path:
                continue
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole, newline, _ = file.read().rpartition(b"\n")  # a line that is being written is counted next time
            self._read[path] = self._read.get(path, 0) + len(whole) + len(newline)
            for line in whole.splitlines():
                self._others += _spent(line)


def cost_of(input_tokens: int, output_tokens: int, *, input_price: float, output_price: float) -> float:
    """Return the cost of tokens at prices per million."""
    return (input_tokens * input_price + output_tokens * output_price) / 1e6


def _spent(line: bytes) -> Spent:
    try:
        return Spent(**json.loads(line))
    except (ValueError, TypeError):  # torn by a power loss
        return Spent()
