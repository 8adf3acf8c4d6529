"""Imageloom and other tools on the same altered sets: every tool's pairs, survivors and cost, seed by seed.

Every tool works with its own defaults. Only what is not a tool gets the best of its settings, chosen on the very set it is judged
on: a threshold on our embeddings with connected components, and SemDeDup (clusters x threshold). Tools that say pairs are judged
by these pairs; tools that say groups, ours too, by all pairs inside a group. Where a tool names no keeper, the group (for pairs:
the connected component) keeps its picture with most pixels.
"""

import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.altered_set import make_set
from benchmarks.background import Recalls, recall_among
from benchmarks.found import hashing_seconds, read_run, stage_seconds, vectors_of
from benchmarks.semdedup import sweep
from benchmarks.tables import write_results
from benchmarks.truth import Score, Survivors, Truth, closure, components, keepers_of, read_truth, score, survivors
from benchmarks.watch import cpu_seconds, run_watched

ROOT = Path(__file__).parent.parent
PEERS = ("imagededup-phash", "imagededup-dhash", "cleanvision", "fastdup", "pdq", "pdq-dihedral", "phash")
THRESHOLDS = tuple(round(0.5 + 0.01 * n, 2) for n in range(50))
SEMDEDUP_THRESHOLDS = tuple(round(0.5 + 0.02 * n, 2) for n in range(25))


@dataclass(frozen=True)
class Row:
    """One tool on one set."""

    tool: str
    seed: int
    setting: str
    score: Score | None  # None: the method names no pairs
    survivors: Survivors
    cpu_seconds: float
    peak_bytes: int
    stages: dict[str, float]  # CPU seconds by stage; empty for peers
    hashing_seconds: float = 0.0  # of decoding and hashing alone, which is a part of `profile`


def compare(photos: Path, *, peers: Path | None, background: Path | None, seeds: Iterable[int], scratch: Path) -> None:
    """Measure every tool on one set per seed; write benchmarks/results/dedup.md and dedup.json.

    background: vectors among which the first set is planted (benchmarks/background.py). What lies in `scratch` from an earlier
    call (sets, runs, the peers' answers) is used again: an interrupted comparison continues.
    """
    rows: list[Row] = []
    counts: dict[int, dict[str, int]] = {}
    among: Recalls = {}
    for seed in seeds:
        folder = scratch / f"set-{seed}"
        truth_csv = scratch / f"truth-{seed}.csv"
        if not truth_csv.exists():
            make_set(photos, folder, ranges="test", seed=seed)
            shutil.move(folder / "truth.csv", truth_csv)  # out of the sight of all tools
        truth = Truth.of(read_truth(truth_csv))
        counts[seed] = _counts(truth)
        rows += _ours(truth, folder, scratch, seed)
        rows += [_peer(truth, folder, scratch, seed, tool, peers) for tool in PEERS if peers is not None]
        if background is not None and not among:
            among = recall_among(scratch / f"run-{seed}-verified", truth_csv, background)
        write_results(rows, counts, among)


def _counts(truth: Truth) -> dict[str, int]:
    roles = [entry.role for entry in truth.entries]
    found = {"files": len(roles), **{role: roles.count(role) for role in sorted(set(roles))}}
    return found | {"pairs of copies": len(truth.copies), "neutral pairs": len(truth.neutral)}


def _ours(truth: Truth, folder: Path, scratch: Path, seed: int) -> list[Row]:
    """Return the rows of both routes and of what can be had from our embeddings alone."""
    rows = []
    for method in ("verified", "fast"):
        out = scratch / f"run-{seed}-{method}"
        command = [sys.executable, "-m", "benchmarks.dedup", "ours", str(folder), str(out), "--method", method]
        if method == "fast" and not out.exists():  # reading and embedding are the same work
            shutil.copytree(scratch / f"run-{seed}-verified", out)
            command += ["--redo", "verify"]
        cost = run_watched(command, cwd=ROOT, log=scratch / f"run-{seed}-{method}.log")
        found, stages = read_run(out, truth.entries), stage_seconds(out)
        if method == "fast":
            stages = {name: seconds for name, seconds in stages.items() if name not in ("keypoints", "confirm")}
        rows.append(
            Row(f"imageloom {method}", seed, "defaults", score(truth, found.grouped), survivors(truth, found.keepers),
                sum(stages.values()), cost.peak_bytes, stages, hashing_seconds(out))
        )  # fmt: skip
    base = sum(rows[0].stages.get(name, 0.0) for name in ("ingest", "embed"))
    vectors = vectors_of(scratch / f"run-{seed}-verified", truth.entries)
    pixels = _pixels(folder, truth)
    return [*rows, _threshold(truth, vectors, pixels, seed, base), _semdedup(truth, vectors, pixels, seed, base)]


def _pixels(folder: Path, truth: Truth) -> list[float]:
    sizes = []
    for entry in truth.entries:
        with Image.open(folder / entry.path) as opened:
            sizes.append(float(opened.width * opened.height))
    return sizes


def _threshold(truth: Truth, vectors: np.ndarray, pixels: list[float], seed: int, base: float) -> Row:
    """Return the threshold on cosines whose connected components give the highest F1."""
    started = cpu_seconds()
    cosines = np.triu(vectors @ vectors.T, 1)
    best: tuple[float, float, list[int], Score] | None = None
    for threshold in THRESHOLDS:
        pairs = [(int(a), int(b)) for a, b in zip(*np.nonzero(cosines >= threshold), strict=True)]
        labels = components(len(vectors), pairs)
        if np.bincount(labels).max() > len(labels) // 4:
            continue  # one component swallows the collection
        result = score(truth, closure(labels))
        f1 = 2 * result.precision * result.recall / max(result.precision + result.recall, 1e-9)
        if best is None or f1 > best[0]:
            best = (f1, threshold, labels, result)
    assert best is not None, "at the highest threshold components are small"
    _, threshold, labels, result = best
    cost = base + (cpu_seconds() - started) / len(THRESHOLDS)
    return Row("our embeddings, threshold", seed, f"cosine >= {threshold}, components", result,
               survivors(truth, keepers_of(labels, pixels)), cost, 0, {})  # fmt: skip


def _semdedup(truth: Truth, vectors: np.ndarray, pixels: list[float], seed: int, base: float) -> Row:
    """Return SemDeDup's setting with the fewest errors: distinct images lost plus duplicates left."""
    half, quality = vectors.astype(np.float16), np.asarray(pixels, np.float32)
    best: tuple[int, str, Survivors] | None = None
    started, runs = cpu_seconds(), 0
    for clusters in (8, 16, 43, 120):
        for threshold, kept in sweep(half, quality=quality, num_clusters=clusters, thresholds=SEMDEDUP_THRESHOLDS).items():
            outcome = dropped(truth, kept)
            errors = outcome.distinct_lost + outcome.duplicates_left
            if best is None or errors < best[0]:
                best = (errors, f"{clusters} clusters, cosine >= {threshold}", outcome)
        runs += 1
    assert best is not None, "there are settings"
    return Row("SemDeDup on our embeddings", seed, best[1], None, best[2], base + (cpu_seconds() - started) / runs, 0, {})


def dropped(truth: Truth, kept: np.ndarray) -> Survivors:
    """Return the outcome of a method that says what stays and not for what the rest was dropped.

    A picture is wrongly dropped when nothing of its group, and nothing it contains or that contains it, survives.
    """
    alive = {place for place in range(len(kept)) if kept[place]}
    related: dict[int, set[int]] = {}
    for a, b in truth.copies | truth.neutral:
        related.setdefault(a, set()).add(b)
        related.setdefault(b, set()).add(a)
    stands = [
        place if kept[place] else _stand_in(truth, place, related.get(place, set()) & alive, alive) for place in range(len(kept))
    ]
    return survivors(truth, stands)


def _stand_in(truth: Truth, place: int, related: set[int], alive: set[int]) -> int:
    """Return a survivor that is related to a dropped place, or any other survivor when there is none."""
    return min(related) if related else min(alive - {place})


def _peer(truth: Truth, folder: Path, scratch: Path, seed: int, tool: str, python: Path) -> Row:
    record = scratch / f"{tool}-{seed}.json"
    if not record.exists():
        command = [str(python), str(ROOT / "benchmarks/peers.py"), tool, str(folder), str(record)]
        run_watched(command, cwd=scratch, log=record.with_suffix(".log"))
    said = json.loads(record.read_text())
    place = {entry.path: number for number, entry in enumerate(truth.entries)}
    pairs = {(min(a, b), max(a, b)) for a, b in ((place[x], place[y]) for x, y in said["pairs"])}
    outcome = survivors(truth, keepers_of(components(len(place), pairs), _pixels(folder, truth)))
    return Row(tool, seed, said["version"], score(truth, pairs), outcome, said["cpu_seconds"], said["peak_rss_bytes"], {})
