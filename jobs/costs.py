"""What one image costs in every stage: as measured in the user's own run, else shipped figures with their source."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from curation.tables import Run
from jobs.pipeline import TABLES

SOURCE = "benchmarks/results/costs.json"
"""Where the shipped figures were measured."""


VECTORS = "benchmarks/results/million.json"
"""Where the similarity route was measured."""

ROUTE = ("forests", "components", "partition", "communities", "duplicates")
"""Stages of that route behind its join."""

BETWEEN_BYTES = {"components": 400.0}
"""Memory of that route per image of a bin beside the shipped figures: ten edges of 20 bytes each, as read and as joined."""

FEW = 200
"""A run of fewer images measures how long stages take to start; the shipped figures are better."""


@dataclass(frozen=True)
class PerImage:
    """The cost of one image in one stage, and who says so."""

    cpu_seconds: float
    wall_seconds: float
    written_bytes: float
    peak_bytes: float  # resident memory of the worker at its largest; 0: not known
    held_bytes: float  # memory per image of the collection, of a stage that looks at all of it in one task
    gpus: float  # GPUs that a worker held while this was measured
    source: str
    images: int = 0  # how many were measured


SHIPPED: Mapping[str, tuple[float, float, float, float]] = {
    "ingest": (0.00256, 189, 195000000, 0),
    "profile": (0.0217, 712, 261000000, 0),
    "exact": (1.25e-05, 54, 186000000, 985),
    "embed": (0.0474, 1884, 1021000000, 0),
    "tag": (0.000375, 73, 853000000, 0),
    "score": (0.0351, 87, 367000000, 0),
    "ocr": (0.117, 95, 1542000000, 0),
    "knn": (0.000438, 139, 203000000, 0),
    "hierarchy": (6.4e-05, 63, 219000000, 5007),
    "edges": (0.000402, 100, 232000000, 13669),
    "keypoints": (0.0461, 47002, 261000000, 0),
    "verify": (0.0211, 222, 277000000, 0),
    "forests": (1.88e-05, 24, 204000000, 940),
    "components": (2.15e-05, 34, 203000000, 511),
    "partition": (4.57e-05, 50, 232000000, 2046),
    "communities": (4.3e-05, 62, 234000000, 736),
    "duplicates": (4.55e-05, 161, 225000000, 4635),
    "select": (2.15e-05, 96, 187000000, 4702),
    "caption": (0.00131, 357, 186000000, 0),
    "shard": (0.0102, 56788, 195000000, 0),
}
"""CPU seconds, bytes written, peak bytes and held bytes by stage, as in SOURCE; all without a GPU."""


def known(run: Run | None, *, method: str = "verified") -> dict[str, PerImage]:
    """Return the cost per image of every stage that anyone has measured, the run's own figures first.

    method: dedup.method; stages of the similarity route were measured on vectors, by benchmarks/million.py.
    """
    shipped = {name: PerImage(cpu, cpu, written, peak, held, 0.0, SOURCE) for name, (cpu, written, peak, held) in SHIPPED.items()}
    if method == "similarity":
        shipped = {name: found for name, found in shipped.items() if name not in ROUTE} | _of_vectors()
    found = of_run(run) if run is not None else {}
    own = {name: figures for name, figures in found.items() if figures.images >= FEW or name not in shipped}
    return shipped | {name: _with_memory(figures, shipped.get(name)) for name, figures in own.items()}


def _of_vectors() -> dict[str, PerImage]:
    """Return the cost per vector of the stages of ROUTE in the largest run that VECTORS records; none without it."""
    path = Path(__file__).parent.parent / VECTORS
    if not path.exists():
        return {}
    largest = max(json.loads(path.read_text(encoding="utf-8"))["results"], key=lambda row: row["count"])
    count = largest["count"]
    return {
        stage["stage"]: PerImage(
            cpu_seconds=stage["cpu_seconds"] / count,
            wall_seconds=stage["elapsed_seconds"] / count,
            written_bytes=0.0,
            peak_bytes=SHIPPED[stage["stage"]][2],  # the same columns in memory, whatever the method
            held_bytes=SHIPPED[stage["stage"]][3] + BETWEEN_BYTES.get(stage["stage"], 0.0),
            gpus=0.0,
            source=f"{VECTORS}, {count:,} vectors",
        )
        for stage in largest["stages"]
        if stage["stage"] in ROUTE
    }


def _with_memory(found: PerImage, shipped: PerImage | None) -> PerImage:
    """Return figures of a run with the shipped memory: commit records do not hold it."""
    return replace(found, peak_bytes=shipped.peak_bytes, held_bytes=shipped.held_bytes) if shipped else found


def of_run(run: Run) -> dict[str, PerImage]:
    """Return the cost per image of every stage that `run` has commits of, from its commit records.

    A row-aligned table counts while it is being made; any other when it is complete, per image of the run.
    """
    images = sum(commit.rows for commit in run.commits("images"))
    gpus = _gpus(run)
    found = {}
    for stage, table in TABLES:
        commits = run.commits(table)
        rows = sum(commit.rows for commit in commits)
        if not commits or not images or not (run.has(table) or 0 < rows < images):
            continue
        per = images if run.has(table) else rows
        found[stage] = PerImage(
            cpu_seconds=sum(commit.cpu_seconds for commit in commits) / per,
            wall_seconds=sum(commit.wall_seconds for commit in commits) / per,
            written_bytes=sum(size for commit in commits for _, size in commit.files.values()) / per,
            peak_bytes=0.0,
            held_bytes=0.0,
            gpus=gpus.get(stage, 0.0),
            source=f"{run.root.name}, {per:,} images",
            images=per,
        )
    return found


def _gpus(run: Run) -> dict[str, float]:
    """Return the GPUs per worker that the run's last configuration gave each stage."""
    if not run.store.exists("config.yaml"):
        return {}
    ray = (yaml.safe_load(run.store.get("config.yaml")) or {}).get("ray") or {}
    return {str(stage): float(share) for stage, share in (ray.get("gpus") or {}).items()}
