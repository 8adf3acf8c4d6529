"""What groups of copies get wrong, and what they cost: ours beside SemDeDup, components and stars, on planted vectors.

    .venv/bin/python -m benchmarks.groups                                   # 100,000 x 512, seeds 1-3; about six CPU minutes
    .venv/bin/python -m benchmarks.groups --counts 20000 --seeds 0          # seed 0 is the one we tune on
    .venv/bin/python -m benchmarks.groups --counts 1000000 --seeds 1 --add  # one thread; about ten CPU minutes, 6 GB

Errors are distinct images lost (true entities without a survivor) plus surplus copies kept; the keeper of a group is the image
of best random quality, for every method alike. SemDeDup runs at every threshold and number of clusters listed and its best
setting is compared; ours runs at its defaults. CPU seconds are those of the whole method on one thread, from vectors in memory
to the kept rows, with the same matrix product. Results go to benchmarks/results/groups.md and groups.json.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.planted import Errors, Planted, errors, planted
from benchmarks.semdedup import sweep
from graph.components import pack
from graph.forest import components, roots, singletons, unite
from graph.join import join
from graph.partition import partition
from graph.scan import native_dtype
from graph.stars import edge_stars
from graph.vectors import unit

RESULTS = Path(__file__).parent / "results"
THRESHOLDS = (0.75, 0.80, 0.85)
CONNECTED = 0.80
"""Component threshold, the default of `components.min_similarity`."""

Kept = NDArray[np.bool_]
Halves = NDArray[np.float16]


def main() -> None:
    """Run every method on every data set and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=lambda text: [int(n) for n in text.split(",")], default=[100_000])
    parser.add_argument("--seeds", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--add", action="store_true", help="keep the other sizes and seeds of an earlier result")
    parser.add_argument("--out", type=Path, default=RESULTS / "groups")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    before = json.loads(options.out.with_suffix(".json").read_text())["rows"] if options.add else []
    rows = [row for row in before if row["count"] not in options.counts or row["seed"] not in options.seeds]
    for count in options.counts:
        for seed in options.seeds:
            truth = planted(count, seed=seed)
            vectors = np.concatenate([part.astype(np.float16) for part in truth.parts()])
            for method, cpu, found in run(truth, vectors):
                rows.append({"count": count, "seed": seed, "method": method, "cpu_seconds": round(cpu, 2)} | _row(found))
                print(json.dumps(rows[-1]), flush=True)
    about = {
        "date": date.today().isoformat(),
        "cpu": platform.processor() or platform.machine(),
        "product": native_dtype(),
        "load_at_start": round(load, 1),
    }
    options.out.with_suffix(".json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(rows, about))


def run(truth: Planted, vectors: Halves) -> Iterator[tuple[str, float, Errors]]:
    """Yield (method, CPU seconds, errors) of every method."""
    count = len(truth)
    for clusters in sorted({round(count**0.5), max(1, count // 1000)}):
        kept, cpu = timed(lambda: sweep(vectors, quality=truth.quality, num_clusters=clusters, thresholds=THRESHOLDS))  # noqa: B023
        for threshold, rows in kept.items():
            yield f"SemDeDup, {clusters} clusters, {threshold:.2f}", cpu, errors(truth, rows)
    rank = np.empty(count, np.int64)
    rank[np.argsort(-truth.quality, kind="stable")] = np.arange(count)
    for probes in (1, 2):
        edges, joined = timed(lambda: join(vectors=vectors, engine="ivf", min_similarity=CONNECTED, nprobe=probes))  # noqa: B023
        kept, cpu = timed(lambda: ours(vectors, rank, edges["row_a"].to_numpy(), edges["row_b"].to_numpy()))  # noqa: B023
        yield f"ours, nprobe {probes}", joined + cpu, errors(truth, kept)
    edges, joined = timed(lambda: join(vectors=vectors, engine="ivf", min_similarity=CONNECTED))
    a, b, similarity = (edges[name].to_numpy() for name in ("row_a", "row_b", "similarity"))
    for name, options in VARIANTS.items():
        kept, cpu = timed(lambda: ours(vectors, rank, a, b, **options))  # noqa: B023
        yield name, joined + cpu, errors(truth, kept)
    for threshold in (0.80, 0.85):
        near = similarity >= threshold
        kept, cpu = timed(lambda: best_of_components(rank, a[near], b[near]))  # noqa: B023
        yield f"components, {threshold:.2f}", joined + cpu, errors(truth, kept)
    kept, cpu = timed(lambda: edge_stars(a, b, rank) == np.arange(count))
    yield "star, best first, 0.80", joined + cpu, errors(truth, kept)
    yield "of which the join", joined, errors(truth, np.ones(count, bool))


VARIANTS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours, cosine alone": {"max_partial": 1.0},
    "ours, without Leiden": {"method": "components"},
}


def ours(vectors: Halves, rank: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64], **options: Any) -> Kept:
    """Return which rows are kept: union-find, communities and stars as the stages do, in one bin."""
    parent = singletons(len(vectors))
    unite(parent, a, b)
    rows = np.flatnonzero(pack(parent, num_bins=1, giant_size=len(vectors)).bins == 0)
    component = roots(parent, rows)
    found = partition(
        vectors=lambda positions: unit(vectors[rows[positions]]),
        component=component,
        ids=np.char.mod("%09d", rows),
        rank=rank[rows],
        **options,
    )
    kept = np.ones(len(vectors), bool)
    kept[rows] = found.keeper == np.arange(len(rows))
    return kept


def best_of_components(rank: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> Kept:
    """Return the best row of every component."""
    component = components(len(rank), a, b)
    best = np.full(len(rank), len(rank), np.int64)
    np.minimum.at(best, component, rank)
    return np.asarray(best[component] == rank)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result and its CPU seconds."""
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def _row(found: Errors) -> dict[str, Any]:
    return {"err": found.err, **asdict(found)}


def table(rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    """Return the Markdown page: per size the mean over the seeds, with the range of the errors."""
    lines = ["# Groups of copies: errors and cost", ""]
    lines += [f"{about['date']}, {about['cpu']}, one thread, products in {about['product']}, load {about['load_at_start']}.", ""]
    lines += [line for line in (__doc__ or "").strip().splitlines()[6:]]
    for count in sorted({row["count"] for row in rows}):
        some = [row for row in rows if row["count"] == count]
        seeds = sorted({row["seed"] for row in some})
        lines += ["", f"## {count:,} x 512, seeds {', '.join(map(str, seeds))}", ""]
        lines += ["| method | CPU s | err (range) | lost % | residual % | lost %: unique / group / hard / chain / bridge |"]
        lines += ["|---|---|---|---|---|---|"]
        for method in dict.fromkeys(row["method"] for row in some):
            lines.append(_line(method, [row for row in some if row["method"] == method]))
        lines += ["", _verdict(some)]
    return "\n".join(lines) + "\n"


def _line(method: str, rows: list[dict[str, Any]]) -> str:
    def mean(values: list[float]) -> float:
        return statistics.fmean(values)

    cpu = f"| {method} | {statistics.median(row['cpu_seconds'] for row in rows):.1f} |"
    if method.startswith("of which"):
        return cpu + " | | | |"
    err = [row["err"] for row in rows]
    kinds = " / ".join(f"{100 * mean([row['lost_by_kind'][kind] for row in rows]):.1f}" for kind in rows[0]["lost_by_kind"])
    lost, residual = (100 * mean([row[name] for row in rows]) for name in ("lost_share", "residual_share"))
    return cpu + f" {mean(err):,.0f} ({min(err):,}-{max(err):,}) | {lost:.2f} | {residual:.2f} | {kinds} |"


def _verdict(rows: list[dict[str, Any]]) -> str:
    """Return the sentence that compares ours with the best setting of SemDeDup on every seed."""
    told = []
    for method in ("ours", "ours, nprobe 2", "ours, nprobe 1", "ours, cosine alone"):
        ratios = []
        for seed in sorted({row["seed"] for row in rows}):
            of_seed = [row for row in rows if row["seed"] == seed]
            best = min((row for row in of_seed if row["method"].startswith("SemDeDup")), key=lambda row: row["err"])
            mine = next(row for row in of_seed if row["method"] == method)
            ratios.append((best["err"] / mine["err"], mine["cpu_seconds"] / best["cpu_seconds"]))
        fewer, dearer = zip(*ratios, strict=True)
        told.append(
            f"{method}: {min(fewer):.1f}-{max(fewer):.1f} times fewer errors at {min(dearer):.1f}-{max(dearer):.1f} times"
        )
    return (
        f"Beside the best setting of SemDeDup for each seed, by errors and CPU time: {'; '.join(told)}. The hard negatives are "
        "series of equal cosines, a case that the evidence of the hub decides well; `cosine alone` is ours without that evidence."
    )


if __name__ == "__main__":
    main()
