"""What a result says of how it was made: the day, the machine, its load, the versions and the command."""

import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any


def about(command: str, *, load: float, packages: Sequence[str]) -> dict[str, Any]:
    """Return the facts of a result as JSON; load: of the machine when the measurement began."""
    return {
        "date": date.today().isoformat(),
        "command": command,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_at_start": load,
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
    }


def heading(facts: dict[str, Any], *, how: str = "") -> str:
    """Return the facts as the first line of a page; how: what else there is to say of the machine's part in it."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return f"{facts['date']}, {facts['cpu']}, {how}load {facts['load_at_start']} at the start; {versions}. `{facts['command']}`"


def cpu_name() -> str:
    """Return what Linux calls this CPU."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return f"{named['model name']} (family {named['cpu family']}, model {named['model']})"
