"""Which of a picture's copies is kept: the original, or one that was altered?

    python -m benchmarks.keeper make PHOTOS/test/photos SCRATCH/set --ranges test
    python -m benchmarks.keeper score SCRATCH/set --out benchmarks/results/keeper.json

`make` writes every photograph as an original with 62 copies, one of each kind and strength (benchmarks/keeper_set.py), under
numbers in random order, and truth.csv. `score` ingests and profiles them, and lets every rule choose in every pair of an original
and one copy, and in random groups of an original and one to five copies. A rule is right when it keeps the original, or a copy
that cannot be told from it: of its size and with a luma PSNR of 42 dB; such copies are few. The rules are our default, the same
with one criterion left out, and what other tools do: most pixels and then most bytes, most bytes, sharpest, first of the listing.
"""

import argparse
import csv
import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.about import about, heading
from benchmarks.altered import Ranges
from benchmarks.keeper_set import copies, sources
from benchmarks.watch import cpu_seconds
from curation.ingest import ingest
from curation.metrics import profile
from curation.sources import list_source
from graph.keeper import DEFAULT, preference

GROUPS_PER_PHOTO = 40
MAX_COPIES = 5
SEED = 1
TRUTH = ("name", "source", "kind", "strength", "equal")
Rows = NDArray[np.int64]
Group = list[int]  # rows, the original first
Rule = Callable[["Measured", Sequence[Group]], Rows]


class Measured:
    """Files of a set in the order of their names: the truth, IMAGES and METRICS."""

    def __init__(self, folder: Path) -> None:
        with (folder / "truth.csv").open(newline="") as stream:
            self.truth = {row["name"]: row for row in csv.DictReader(stream)}
        listing = list_source(str(folder / "files"), part_rows=256)
        parts = [ingest(chunk) for chunk in listing.chunks]
        start = cpu_seconds()
        self.metrics = pa.concat_tables([profile(images=part) for part in parts]).combine_chunks()
        self.profile_seconds = cpu_seconds() - start
        self.images = pa.concat_tables(parts).combine_chunks()
        rows = [self.truth[key] for key in self.images["key"].to_pylist()]
        self.source = np.array([int(row["source"]) for row in rows])
        self.kind = [(row["kind"], row["strength"]) for row in rows]
        self.equal = np.array([row["equal"] == "1" for row in rows])
        self.original = {int(self.source[row]): row for row, (kind, _) in enumerate(self.kind) if kind == "original"}

    def pairs(self) -> list[Group]:
        """Return every copy after its original."""
        return [[self.original[source], row] for row, source in enumerate(self.source.tolist()) if row != self.original[source]]

    def groups(self) -> list[Group]:
        """Return GROUPS_PER_PHOTO random groups of every original."""
        generator, found = np.random.default_rng([SEED, 1]), []
        for source in sorted(self.original):
            altered = np.flatnonzero((self.source == source) & (np.arange(len(self.source)) != self.original[source]))
            for _ in range(GROUPS_PER_PHOTO):
                chosen = generator.choice(altered, int(generator.integers(1, MAX_COPIES + 1)), replace=False)
                found.append([self.original[source], *chosen.tolist()])
        return found


def make(photos: Path, out: Path, *, ranges: Ranges, count: int | None) -> None:
    """Write the files and truth.csv into `out`, which must be absent."""
    found = [
        copy for place, path in enumerate(sources(photos, count)) for copy in copies(path, source=place, ranges=ranges, seed=SEED)
    ]
    (out / "files").mkdir(parents=True)
    lines = []
    for number, place in enumerate(np.random.default_rng(SEED).permutation(len(found))):
        copy = found[place]
        name = f"{number:05d}.{copy.extension}"
        (out / "files" / name).write_bytes(copy.content)
        lines.append((name, copy.source, copy.kind, copy.strength, int(copy.equal)))
    with (out / "truth.csv").open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([TRUTH, *lines])


def by_policy(keeper: Sequence[str]) -> Rule:
    """Return the rule that keeps the preferred of every group."""

    def kept(measured: Measured, groups: Sequence[Group]) -> Rows:
        rows = np.concatenate([np.array(group) for group in groups])
        label = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        some = pa.array(rows)
        rank = preference(images=measured.images.take(some), metrics=measured.metrics.take(some), keeper=keeper, groups=label)
        best = np.lexsort((rank, label))
        return np.asarray(rows[best[np.searchsorted(label, np.arange(len(groups)))]], np.int64)

    return kept


def by_columns(*names: str) -> Rule:
    """Return the rule that keeps the image with most of the first column, then of the next; the first of the listing for none."""

    def kept(measured: Measured, groups: Sequence[Group]) -> Rows:
        table = measured.metrics
        pixels = table["width_px"].to_numpy().astype(np.int64) * table["height_px"].to_numpy()
        columns = [pixels if name == "pixels" else table[name].to_numpy() for name in names]
        return np.array([min(group, key=lambda row: (*(-column[row] for column in columns), row)) for group in groups])

    return kept


RULES: dict[str, Rule] = {
    "default": by_policy(DEFAULT),
    "most pixels, then most bytes": by_columns("pixels", "size_bytes"),
    "most bytes": by_columns("size_bytes"),
    "sharpest": by_columns("sharpness"),
    "first of the listing": by_columns(),
} | {f"default without {name}": by_policy([other for other in DEFAULT if other != name]) for name in DEFAULT if name != "caption"}


def score(measured: Measured) -> dict[str, Any]:
    """Return by rule the share of pairs and groups where the original, or its equal, is kept, and of pairs by alteration."""
    pairs, groups = measured.pairs(), measured.groups()
    found = {}
    for name, rule in RULES.items():
        kept = rule(measured, [*pairs, *groups])
        original = np.array([group[0] for group in (*pairs, *groups)])
        strict, right = kept == original, (kept == original) | measured.equal[kept]
        size = np.array([len(group) for group in groups])
        by_kind = defaultdict(list)
        for pair, good in zip(pairs, right, strict=False):
            by_kind[" ".join(measured.kind[pair[1]])].append(bool(good))
        at = len(pairs)
        found[name] = {
            "pairs": float(right[:at].mean()),
            "pairs_original": float(strict[:at].mean()),
            "groups": float(right[at:].mean()),
            "groups_original": float(strict[at:].mean()),
            "groups_by_size": {str(n): float(right[at:][size == n].mean()) for n in range(2, MAX_COPIES + 2)},
            "pairs_by_alteration": {kind: float(np.mean(good)) for kind, good in sorted(by_kind.items())},
        }
    return found


def page(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    rules = result["rules"]
    lines = ["# Which copy is kept", "", heading(result["about"]), ""]
    lines += [
        f"{result['photographs']} photographs, {result['files']} files. Share of pairs (an original and one altered copy) and of "
        f"random groups (an original and one to {MAX_COPIES}) where the original is kept, or a copy that cannot be told from it; "
        "in brackets the original itself. Chance is .50 and "
        f"{np.mean([1 / n for n in range(2, MAX_COPIES + 2)]):.2f}.".replace("0.", "."),
        "",
        "| rule | pairs | groups | " + " | ".join(f"of {n}" for n in range(2, MAX_COPIES + 2)) + " |",
        "|---" * (MAX_COPIES + 3) + "|",
    ]
    for name, found in rules.items():
        sizes = " | ".join(f"{share:.3f}" for share in found["groups_by_size"].values())
        both = " | ".join(f"{found[what]:.3f} ({found[what + '_original']:.3f})" for what in ("pairs", "groups"))
        lines.append(f"| {name} | {both} | {sizes} |")
    shown = ["default", "most pixels, then most bytes", "most bytes", "sharpest"]
    lines += ["", "Pairs by alteration:", "", "| alteration | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for kind in rules["default"]["pairs_by_alteration"]:
        lines.append(f"| {kind} | " + " | ".join(f"{rules[name]['pairs_by_alteration'][kind]:.2f}" for name in shown) + " |")
    lines += ["", f"Profile: {1000 * result['profile_seconds'] / result['files']:.1f} ms of CPU per file.", ""]
    return "\n".join(lines)


def main() -> None:
    """Make a set or score it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    making, scoring = verbs.add_parser("make"), verbs.add_parser("score")
    making.add_argument("photos", type=Path)
    making.add_argument("folder", type=Path)
    making.add_argument("--ranges", choices=("dev", "test"), default="test")
    making.add_argument("--count", type=int)
    scoring.add_argument("folder", type=Path)
    scoring.add_argument("--out", type=Path, default=Path("benchmarks/results/keeper.json"))
    chosen = parser.parse_args()
    if chosen.verb == "make":
        make(chosen.photos, chosen.folder, ranges=chosen.ranges, count=chosen.count)
        return
    load = round(os.getloadavg()[0], 2)
    measured = Measured(chosen.folder)
    command = "python -m benchmarks.keeper score SCRATCH/set"
    result = {
        "about": about(command, load=load, packages=("numpy", "pillow", "opencv-contrib-python", "pyarrow")),
        "photographs": len(measured.original),
        "files": len(measured.kind),
        "profile_seconds": round(measured.profile_seconds, 2),
        "rules": score(measured),
    }
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    chosen.out.with_suffix(".md").write_text(page(result))


if __name__ == "__main__":
    main()
