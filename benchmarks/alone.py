"""Rows of a table, each measured by a process of its own: memory peaks are its own, and a failure ends one row."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def measured_alone(
    module: str, arguments: Sequence[str], *, name: dict[str, Any], limit_s: float | None = None
) -> dict[str, Any]:
    """Return the JSON object that `python -m module arguments` prints last, printed here too.

    name: what the row is called; a process that fails gives a row of it and the last line of its errors, and so does one that
        takes longer than `limit_s`.
    """
    try:
        done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return printed(name | {"error": f"took longer than {limit_s:g} s"})
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return printed(name | {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]})
    row: dict[str, Any] = json.loads(lines[-1])
    return printed(row)


def printed(row: dict[str, Any]) -> dict[str, Any]:
    """Print a row as one line of JSON and return it."""
    print(json.dumps(row), flush=True)
    return row
