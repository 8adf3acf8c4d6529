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
    "ingest": (0.00392, 213, 206000000, 0),
    "profile": (0.0244, 766, 274000000, 0),
    "exact": (2.45e-05, 57, 205000000, 1245),
    "embed": (0.0446, 1899, 1021000000, 0),
    "tag": (0.0005, 79, 858000000, 0),
    "score": (0.0364, 96, 365000000, 0),
    "ocr": (0.247, 99, 1606000000, 0),
    "quantise": (2.58e-05, 43, 207000000, 3749),
    "lists": (1.59e-05, 24, 201000000, 0),
    "nearest": (0.0103, 37, 202000000, 0),
    "knn": (0.000438, 141, 211000000, 0),
    "hierarchy": (8.41e-05, 69, 238000000, 5512),
    "candidates": (0.000494, 269, 238000000, 30960),
    "edges": (1.92e-05, 100, 202000000, 1126),
    "keypoints": (0.0379, 52212, 267000000, 0),
    "verify": (0.02, 235, 291000000, 0),
    "forests": (2.36e-05, 26, 209000000, 1032),
    "components": (3.21e-05, 394, 213000000, 5027),
    "partition": (3.41e-05, 65, 205000000, 958),
    "communities": (2.62e-05, 67, 209000000, 632),
    "confirm": (0.0145, 46, 247000000, 0),
    "duplicates": (4.06e-05, 169, 198000000, 2329),
    "placeholders": (1.33e-05, 88, 191000000, 330),
    "watermarks": (3.61e-05, 66, 210000000, 945),
    "select": (3.67e-05, 97, 192000000, 1996),
    "caption": (0.00194, 415, 201000000, 0),
    "concepts": (0.000578, 141, 1008000000, 6272),
    "balance": (0.000141, 97, 226000000, 8276),
    "shares": (2.98e-05, 64, 223000000, 628),
    "shard": (0.013, 100691, 210000000, 0),
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
            source=VECTORS,
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
