"""What a run of imageloom found, as pairs and keepers by place in truth.csv, at each step of deduplication."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.truth import Entry, Pair, closure
from benchmarks.watch import cpu_seconds
from curation.hashing import dihedral_hashes
from curation.metrics import pixel_hash
from curation.picture import ANALYSED_SIDE_PX, Picture
from curation.pixels import read_pixels
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
    members = _members(run, {int(row): place for place, row in enumerate(places)})
    keeper_rows = run.read("duplicates", ["keeper_row"])["keeper_row"].to_pylist()
    place_of = {int(row): place for place, row in enumerate(places)}
    keepers = [place if keeper_rows[row] is None else place_of[keeper_rows[row]] for place, row in enumerate(places)]
    candidates = run.read("verdicts" if run.has("verdicts") else "edges")
    copies = candidates
    if "relation" in candidates.column_names:
        copies = candidates.filter(np.asarray(candidates["relation"]) == "copy")
    verified = _pairs(copies, members)
    if run.has("confirmations"):
        confirmed = run.read("confirmations")
        verified |= _pairs(confirmed.filter(np.asarray(confirmed["relation"]) == "copy"), members)
    return Found(_pairs(candidates, members), verified, closure(keepers), keepers)


def _members(run: Run, place_of: dict[int, int]) -> dict[int, list[int]]:
    """Return for every row the places of the files it stands for: exact copies are compared by one representative."""
    stands_for = (
        run.read("exact", ["representative"])["representative"].to_pylist() if run.has("exact") else range(1 + max(place_of))
    )
    members: dict[int, list[int]] = {}
    for row, representative in enumerate(stands_for):
        if row in place_of:
            members.setdefault(representative, []).append(place_of[row])
    return members


def place_of_row(run: Run, entries: list[Entry]) -> NDArray[np.int64]:
    """Return the global row of every entry."""
    rows = {Path(key).name: row for row, key in enumerate(run.read("images", ["key"])["key"].to_pylist())}
    names = [entry.path if entry.path in rows else Path(entry.path).stem for entry in entries]
    missing = [name for name in names if name not in rows]
    if missing:
        raise SystemExit(f"{len(missing)} files of the truth are not in {run.root}, for example {missing[0]}")
    return np.array([rows[name] for name in names], np.int64)


def _pairs(table: Any, members: dict[int, list[int]]) -> set[Pair]:
    """Return the pairs of a table by place, those of exact copies included."""
    pairs = {pair for group in members.values() for pair in combinations(sorted(group), 2)}
    for a, b in zip(table["row_a"].to_pylist(), table["row_b"].to_pylist(), strict=True):
        pairs |= {(min(x, y), max(x, y)) for x in members.get(a, []) for y in members.get(b, [])}
    return pairs


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


def hashing_seconds(folder: Path, *, every: int = 8) -> float:
    """Return the CPU seconds that decoding and hashing the files of a run take in this process: each `every`-th, times that."""
    cv2.setNumThreads(1)
    run = Run(folder)
    images = run.read("images").take(np.arange(0, int(run.offsets("images")[-1]), every))
    began = cpu_seconds()
    for image in read_pixels(images, max_side_px=ANALYSED_SIDE_PX):
        if image is not None:
            picture = Picture(image.pixels, image.width_px, image.height_px, 0)
            pixel_hash(picture)
            dihedral_hashes(picture.pdq[0])
    return (cpu_seconds() - began) * every
