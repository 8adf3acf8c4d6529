"""What a cluster offers, for a plan: nodes of each kind with their cores, GPUs and memory.

Read from this machine, from a Ray cluster launcher's YAML (every node type at its `max_workers`), or from a line such as
`nodes=8,cores=32,gpus=1,memory_gb=256`.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import ConfigError
from jobs.config import read_yaml

KEYS = ("nodes", "cores", "gpus", "memory_gb")
"""What a line may say of a cluster."""


@dataclass(frozen=True)
class Nodes:
    """Some equal machines."""

    name: str
    nodes: int
    cores: int
    gpus: float = 0
    memory_bytes: int | None = None  # of one node; None: not known


@dataclass(frozen=True)
class Capacity:
    """All nodes that take work."""

    kinds: tuple[Nodes, ...]

    @property
    def cores(self) -> int:
        """Cores of all nodes."""
        return sum(kind.nodes * kind.cores for kind in self.kinds)

    @property
    def gpus(self) -> float:
        """GPUs of all nodes."""
        return sum(kind.nodes * kind.gpus for kind in self.kinds)

    @property
    def node_cores(self) -> int:
        """Cores of the node with most of them: how many workers may share its memory."""
        return max((kind.cores for kind in self.kinds), default=1)

    @property
    def node_memory_bytes(self) -> int | None:
        """Memory of the smallest node whose memory is known."""
        return min((kind.memory_bytes for kind in self.kinds if kind.memory_bytes), default=None)


def capacity(text: str | None, *, num_cpus: int | None = None) -> Capacity:
    """Return the capacity that `text` names: a line of KEYS, the path of a cluster YAML, or this machine when it is None.

    num_cpus: cores to use of this machine. Raises ConfigError for an unknown key, no number, or a file without node types.
    """
    if text is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Capacity((Nodes("this machine", 1, num_cpus or os.cpu_count() or 1, 0, memory),))
    return _line(text) if "=" in text else _launcher(read_yaml(Path(text).expanduser()), text)


def _line(text: str) -> Capacity:
    said: dict[str, float] = {}
    for word in text.split(","):
        key, _, value = word.strip().partition("=")
        if key not in KEYS:
            raise ConfigError(f"--cluster {text}: {key!r} is not one of {', '.join(KEYS)}")
        said[key] = _amount(value, f"--cluster {text}: {key}", whole=key in ("nodes", "cores"), none=key == "gpus")
    if "cores" not in said:
        raise ConfigError(f"--cluster {text}: it needs cores=..., the cores of one node")
    memory = int(said["memory_gb"] * 1e9) if "memory_gb" in said else None
    return Capacity((Nodes("node", int(said.get("nodes", 1)), int(said["cores"]), said.get("gpus", 0), memory),))


def _amount(value: object, name: str, *, whole: bool = True, none: bool = True) -> float:
    """Return a number above 0, or of at least 0 where there may be none; raises ConfigError for anything else."""
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    least = 0 if none else 1 if whole else 1e-9
    if not least <= number < 1e18 or (whole and number != int(number)):
        bounds = f"of at least {least}" if least != 1e-9 else "above 0"
        raise ConfigError(f"{name} = {value!r}: a {'whole ' if whole else ''}number {bounds} is wanted")
    return number


def _launcher(values: Mapping[str, Any], path: str) -> Capacity:
    """Return the nodes of a launcher YAML at their largest number, those that offer no CPU (the head) left out."""
    kinds = values.get("available_node_types")
    if not isinstance(kinds, dict):
        raise ConfigError(f"--cluster {path}: no available_node_types; it must be a cluster launcher's YAML or a line of {KEYS}")
    most = int(_amount(values.get("max_workers", 0), f"--cluster {path}: max_workers")) or None
    found = []
    for name, kind in kinds.items():
        offers = (kind.get("resources") or {}) if isinstance(kind, dict) else {}
        own = f"--cluster {path}: {name}"
        nodes = int(_amount(kind.get("max_workers", 1), f"{own}.max_workers")) if isinstance(kind, dict) else 0
        cores, gpus, memory = (_amount(offers.get(key) or 0, f"{own}.resources.{key}") for key in ("CPU", "GPU", "memory"))
        if cores and nodes:
            found.append(Nodes(name, min(nodes, most or nodes), int(cores), gpus, int(memory) or None))
    if not found:
        raise ConfigError(f"--cluster {path}: no node type offers CPUs; write `resources: {{CPU: ...}}` where Ray detects them")
    return Capacity(tuple(found))
