"""Do copies of one picture share more than the picture? Partial correlations on real altered copies and look-alikes.

    .venv/bin/python -m benchmarks.dedup make PHOTOS SET                        # an altered set with truth.csv, see there
    imageloom run --source SET --out RUN --until embed
    .venv/bin/python -m benchmarks.hub RUN SET/truth.csv                        # benchmarks/results/hub.json

The evidence of the hub (graph/stars.py) supposes that two copies have in common what their source explains, and two pictures of
one kind more. Here that is measured with the run's embedder: for every original its copies at a cosine of .6-.9 to it, and for
every picture of a kind of look-alikes the others of that kind. Each value is the mean partial correlation of one picture with
the others of its group, given the hub; `communities.max_partial` should lie between the two.
"""

import argparse
import json
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.truth import read_truth
from curation.tables import Run
from graph.vectors import embedding_matrix, unit

RESULTS = Path(__file__).parent / "results"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
UNSURE = (0.6, 0.9)

Floats = NDArray[np.float32]


def main() -> None:
    """Measure a run over an altered set and write the quantiles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "hub.json")
    options = parser.parse_args()
    run = Run(options.run)
    place = {key: row for row, key in enumerate(run.read("images", ["key"])["key"].to_pylist())}
    vectors = unit(embedding_matrix(run.read("embeddings", ["embedding"])))
    copies, kinds = groups(options.truth, place)
    found = {"copies": [value for hub, others in copies for value in partials(vectors, hub, others)]}
    for kind, members in sorted(kinds.items()):
        found[kind] = [value for hub in members for value in partials(vectors, hub, [row for row in members if row != hub])]
    about = {"date": date.today().isoformat(), "model": (run.manifest("embeddings") or {})["parameters"].get("model")}
    rows = {name: quantiles(values) for name, values in found.items() if values}
    options.out.write_text(json.dumps({**about, "quantiles": QUANTILES, "partial_correlation": rows}, indent=1) + "\n")
    print(options.out.read_text())


def groups(truth: Path, place: dict[str, int]) -> tuple[list[tuple[int, list[int]]], dict[str, list[int]]]:
    """Return (original, copies) of every source, and the look-alikes of every kind, as rows of the run."""
    originals, copies, kinds = {}, defaultdict(list), defaultdict(list)
    for entry in read_truth(truth):
        row = place.get(entry.path)
        if row is None:
            continue
        if entry.role == "original":
            originals[entry.source] = row
        elif entry.role == "copy":
            copies[entry.source].append(row)
        elif entry.role == "lookalike":
            kinds[entry.kind or entry.source.split("/")[0]].append(row)
    return [(row, copies[source]) for source, row in sorted(originals.items())], kinds


def partials(vectors: Floats, hub: int, others: list[int]) -> list[float]:
    """Return the mean partial correlation of every unsure one of `others` with the rest of them, given the hub."""
    to_hub = vectors[others] @ vectors[hub]
    unsure = (to_hub > UNSURE[0]) & (to_hub < UNSURE[1])
    if unsure.sum() < 2:
        return []
    rows, cosine = vectors[others][unsure], to_hub[unsure]
    rest = np.sqrt(1 - cosine**2)
    partial = (rows @ rows.T - np.outer(cosine, cosine)) / np.outer(rest, rest)
    np.fill_diagonal(partial, 0)
    return list(partial.sum(1) / (len(rows) - 1))


def quantiles(values: list[float]) -> dict[str, object]:
    """Return the number of values and their quantiles."""
    return {"pictures": len(values), "quantiles": [round(float(q), 2) for q in np.quantile(values, QUANTILES)]}


if __name__ == "__main__":
    main()
