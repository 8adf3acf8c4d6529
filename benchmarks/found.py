"""What a run of imageloom found, as pairs and keepers by place in truth.csv, at each step of deduplication."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.truth import Entry, Pair, closure
from curation.tables import Run
from graph.knn import embedding_matrix


@dataclass(frozen=True)
class Found:
    """Pairs by place in the truth, and who stands for whom."""

    candidates: set[Pair]
    verified: set[Pair]  # verdict: copy
    grouped: set[Pair]  # members of one star
    keepers: list[int]


def read_run(folder: Path, entries: list[Entry]) -> Found:
    """Return what the tables of a run say of the files of `entries`; raises SystemExit when files are missing."""
    run = Run(folder)
    places = place_of_row(run, entries)
    row_of = {int(row): place for place, row in enumerate(places)}
    keeper_rows = run.read("duplicates", ["keeper_row"])["keeper_row"].to_pylist()
    keepers = [place if keeper_rows[row] is None else row_of[keeper_rows[row]] for place, row in enumerate(places)]
    verdicts = run.read("verdicts", ["row_a", "row_b", "relation"]) if run.has("verdicts") else None
    copies = verdicts.filter(np.asarray(verdicts["relation"]) == "copy") if verdicts is not None else run.read("edges")
    candidates = verdicts if verdicts is not None else copies
    return Found(_pairs(candidates, row_of), _pairs(copies, row_of), closure(keepers), keepers)


def place_of_row(run: Run, entries: list[Entry]) -> NDArray[np.int64]:
    """Return the global row of every entry."""
    rows = {Path(key).name: row for row, key in enumerate(run.read("images", ["key"])["key"].to_pylist())}
    names = [entry.path if entry.path in rows else Path(entry.path).stem for entry in entries]
    missing = [name for name in names if name not in rows]
    if missing:
        raise SystemExit(f"{len(missing)} files of the truth are not in {run.root}, for example {missing[0]}")
    return np.array([rows[name] for name in names], np.int64)


def _pairs(table: Any, row_of: dict[int, int]) -> set[Pair]:
    a, b = (table[name].to_pylist() for name in ("row_a", "row_b"))
    inside = ((row_of[i], row_of[j]) for i, j in zip(a, b, strict=True) if i in row_of and j in row_of)
    return {(min(pair), max(pair)) for pair in inside}


def vectors_of(folder: Path, entries: list[Entry]) -> NDArray[np.float32]:
    """Return the stored unit vectors of `entries` in their order."""
    run = Run(folder)
    return embedding_matrix(run.read("embeddings"))[place_of_row(run, entries)]


def stage_seconds(folder: Path) -> dict[str, float]:
    """Return the CPU seconds that each stage of a run reported."""
    run = Run(folder)
    tables = [path.parent.name for path in folder.glob("*/_manifest.json")]
    manifests = [manifest for table in tables if (manifest := run.manifest(table))]
    return {str(m["stage"]): float(m["cpu_seconds"]) for m in manifests}
