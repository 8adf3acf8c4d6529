"""Which pairs of vectors are alike: our joins beside FAISS, on planted vectors, one process per method.

    .venv/bin/python -m benchmarks.knn                                  # 20,000 and 100,000 x 512; about ten CPU minutes
    .venv/bin/python -m benchmarks.knn --counts 20000 --methods exact,ivf
    .venv/bin/python -m benchmarks.knn --seeds 1,2,3                    # seeds never used for tuning (we tuned on 0)

Every method returns the pairs of at least .70. Recall is counted over the pairs of a sample of rows that brute force finds, and
apart over those of them that are planted copies of one another. CPU seconds are those of the whole method, training and index
included, with one thread; they are what to compare, for wall time depends on what else the machine does. Memory is the peak of
the process less what it held with the vectors mapped and the libraries loaded. Results go to benchmarks/results/knn.md and
knn.json.
"""

import argparse
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.about import about, heading
from benchmarks.planted import NEITHER, planted, write
from graph.scan import Dtype, native

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
ENVIRONMENT = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
FLOOR = 0.70
FLOORS = (0.70, 0.75, 0.80)
SAMPLED_ROWS = 2000
K = 100

CANDIDATES: dict[str, dict[str, Any]] = {
    "exact": {"engine": "exact"},
    "ivf, nprobe 4": {"engine": "ivf", "nprobe": 4},
    "ivf, nprobe 8": {"engine": "ivf"},
    "ivf, nprobe 16": {"engine": "ivf", "nprobe": 16},
    "faiss HNSW32": {"engine": "faiss", "factory": "HNSW32"},
}
"""Searches for the candidates of the second look: the 20 nearest after the mean is subtracted."""
NEIGHBOURS = 20

METHODS: dict[str, dict[str, Any]] = {
    "exact": {"engine": "exact"},
    "exact, int8": {"engine": "exact", "dtype": "int8"},
    "exact, bf16": {"engine": "exact", "dtype": "bf16"},
    "ivf": {"engine": "ivf"},
    "ivf, every probe": {"engine": "ivf", "margin": 2.0},
    "ivf, one level": {"engine": "ivf", "two_level": False},
    "ivf, int8": {"engine": "ivf", "dtype": "int8"},
    "ivf, bf16": {"engine": "ivf", "dtype": "bf16"},
    "faiss Flat, range search": {"range": "Flat"},
    "faiss IVF, nprobe 8, range search": {"range": "IVF{lists},Flat"},
    "faiss Flat, k = 100": {"engine": "faiss", "factory": "Flat", "k": K},
    "faiss IVF, nprobe 8, k = 100": {"engine": "faiss", "factory": "IVF{lists},Flat", "k": K},
    "faiss HNSW32, k = 100": {"engine": "faiss", "factory": "HNSW32", "k": K},
}
NEEDS: dict[str, Dtype] = {"exact, bf16": "bf16", "ivf, bf16": "bf16", "exact, int8": "int8", "ivf, int8": "int8"}


def main() -> None:
    """Measure every method on every data set and write the results."""
    options = _options()
    if options.one:
        print(json.dumps(_measure(*options.one)))
        return
    results = []
    for count in options.counts:
        for seed in options.seeds:
            if options.candidates:
                results += _candidates(count, seed)
                continue
            with tempfile.TemporaryDirectory(prefix="knn-") as scratch:
                results += _compare(Path(scratch), count, seed, options)
    _write(results, options)


def _compare(scratch: Path, count: int, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    truth = planted(count, seed=seed)
    path = scratch / "vectors.npy"
    write(truth, path)
    oracle = _oracle(np.load(path, mmap_mode="r"), truth.entity, seed)
    rows = []
    for method in options.methods:
        found = scratch / "pairs.npy"
        arguments = [sys.executable, "-m", "benchmarks.knn", "--one", method, str(path), str(found)]
        environment = {**os.environ, **ENVIRONMENT}
        done = subprocess.run(arguments, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE)
        row = {"count": count, "seed": seed, "method": method, **json.loads(done.stdout), **_recall(np.load(found), oracle)}
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def _candidates(count: int, seed: int) -> list[dict[str, Any]]:
    """Return how many of the nearest, and of the planted copies, the searches of the `verified` route list for sampled rows."""
    import faiss

    from graph.knn import build_index, knn
    from graph.vectors import unit

    faiss.omp_set_num_threads(1)
    truth = planted(count, seed=seed)
    vectors = unit(truth.vectors().astype(np.float16))
    asked = np.sort(np.random.default_rng(seed).choice(count, SAMPLED_ROWS, replace=False))
    exact: list[list[int]] = []
    rows = []
    for method, keys in CANDIDATES.items():
        started = time.process_time()
        index = build_index(vectors=vectors, **keys)
        built = time.process_time() - started
        found = knn(vectors=vectors, ids=[""] * len(asked), queries=vectors[asked], query_rows=asked, index=index, k=NEIGHBOURS)
        lists = found["rows"].to_pylist()
        spent = time.process_time() - started - built
        exact = exact or lists
        shared = [len(set(a) & set(b)) / max(1, len(a)) for a, b in zip(exact, lists, strict=True)]
        row = {"count": count, "seed": seed, "method": f"candidates, {method}", "recall_of_nearest": float(np.mean(shared))}
        row |= {"recall_of_copies": _copies_listed(truth.entity, asked, lists), "cpu_seconds": built + spent * count / len(asked)}
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def _copies_listed(entity: NDArray[np.int64], asked: NDArray[np.int64], lists: list[list[int]]) -> float:
    """Return the share of sampled rows with a planted copy that list at least one: what groups are found by."""
    size = np.bincount(entity[entity != NEITHER])
    with_copy = [at for at, row in enumerate(asked) if entity[row] != NEITHER and size[entity[row]] > 1]
    return float(np.mean([(entity[lists[at]] == entity[asked[at]]).any() for at in with_copy]))


def _oracle(vectors: NDArray[np.float16], entity: NDArray[np.int64], seed: int) -> dict[str, NDArray[Any]]:
    """Return the keys, cosines and truth of all pairs that hold one of SAMPLED_ROWS rows, by brute force."""
    from graph.vectors import unit

    rows = np.sort(np.random.default_rng(seed).choice(len(vectors), min(SAMPLED_ROWS, len(vectors)), replace=False))
    queries, keys, cosines = unit(vectors[rows]), [], []
    for at in range(0, len(vectors), 20_000):
        tile = queries @ unit(np.array(vectors[at : at + 20_000])).T
        a, b = np.nonzero(tile >= FLOOR)
        keep = rows[a] != b + at
        keys.append(_key(rows[a][keep], b[keep] + at))
        cosines.append(tile[a, b][keep])
    key, first = np.unique(np.concatenate(keys), return_index=True)
    a, b = key >> 32, key & 0xFFFFFFFF
    return {"key": key, "cosine": np.concatenate(cosines)[first], "copy": (entity[a] == entity[b]) & (entity[a] != NEITHER)}


def _recall(found: NDArray[np.int64], oracle: dict[str, NDArray[Any]]) -> dict[str, float]:
    hit = np.isin(oracle["key"], _key(found[:, 0], found[:, 1]))
    recall = {}
    for floor in FLOORS:
        above = oracle["cosine"] >= floor
        recall[f"recall_{floor:.2f}"] = float(hit[above].mean())
        recall[f"recall_copies_{floor:.2f}"] = float(hit[above & oracle["copy"]].mean())
    return {"pairs": len(found), **recall}


def _key(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray((np.minimum(a, b) << 32) | np.maximum(a, b))


def _measure(method: str, vectors: str, found: str) -> dict[str, float]:
    """Run one method in this process; write its pairs, return its cost."""
    import faiss

    from graph import join as _loaded  # noqa: F401

    faiss.omp_set_num_threads(1)
    rows = np.load(vectors, mmap_mode="r")
    rows.max()  # the mapped file counts as memory of every method alike
    before, held = resource.getrusage(resource.RUSAGE_SELF), _peak_bytes()
    wall = time.perf_counter()
    pairs = _method(rows, METHODS[method])
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_SELF)
    np.save(found, pairs)
    return {
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall_seconds": wall,
        "peak_bytes": _peak_bytes() - held,
    }


def _peak_bytes() -> int:
    """Return the most memory this process has held; unlike ru_maxrss it does not begin with that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _method(vectors: NDArray[np.float16], keys: dict[str, Any]) -> NDArray[np.int64]:
    lists = round(len(vectors) ** 0.5)
    if "range" in keys:
        return _range_search(vectors, keys["range"].format(lists=lists))
    from graph.join import join

    if "factory" in keys:
        keys = {**keys, "factory": keys["factory"].format(lists=lists)}
    edges = join(vectors=vectors, min_similarity=FLOOR, **keys)
    return np.stack([edges["row_a"].to_numpy(), edges["row_b"].to_numpy()], 1)


def _range_search(vectors: NDArray[np.float16], factory: str) -> NDArray[np.int64]:
    from graph.faiss_index import build
    from graph.vectors import unit

    rows = unit(vectors)
    index = build(rows, factory=factory, nprobe=8)
    found = []
    for at in range(0, len(rows), 4096):
        limits, _, other = index.range_search(rows[at : at + 4096], FLOOR)
        query = np.repeat(np.arange(at, at + len(limits) - 1), np.diff(limits).astype(np.int64))
        found.append(np.stack([query, other], 1)[query != other])
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0) if factory != "Flat" else _upper(np.concatenate(found))


def _upper(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    return pairs[pairs[:, 0] < pairs[:, 1]]


def _write(results: list[dict[str, Any]], options: argparse.Namespace) -> None:
    command = "python -m benchmarks.knn " + " ".join(sys.argv[1:])
    facts = about(command, load=options.load, packages=("faiss-cpu", "numpy", "pyarrow"))
    RESULTS.mkdir(exist_ok=True)
    if options.add:
        fresh = {(row["count"], row["seed"], row["method"]) for row in results}
        kept = json.loads((RESULTS / "knn.json").read_text())["results"]
        results = [row for row in kept if (row["count"], row["seed"], row["method"]) not in fresh] + results
        names = [*METHODS, *(f"candidates, {name}" for name in CANDIDATES)]
        results.sort(key=lambda row: (row["count"], row["seed"], names.index(row["method"])))
    (RESULTS / "knn.json").write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")
    (RESULTS / "knn.md").write_text(_page(facts, results))


def _page(facts: dict[str, Any], results: list[dict[str, Any]]) -> str:
    lines = [
        "# Pairs of vectors above a threshold",
        "",
        heading(facts, how="one thread, "),
        "",
        __doc__.split("\n\n")[2].replace("\n", " "),
    ]
    for count in dict.fromkeys(row["count"] for row in results):
        some = [row for row in results if row["count"] == count and "pairs" in row]
        lines += ["", f"## {count:,} x 512, seeds {', '.join(str(s) for s in dict.fromkeys(r['seed'] for r in some))}", ""]
        lines += _table(some) + _candidate_table([row for row in results if row["count"] == count and "pairs" not in row])
    return "\n".join(lines) + "\n"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    ours = _median(rows, "ivf", "cpu_seconds")
    lines = [
        "| method | CPU s | times ivf | recall >= .70 | >= .75 | >= .80 | of copies >= .70 | pairs | peak MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        value = functools.partial(_median, rows, method)
        ratio = f"{value('cpu_seconds') / ours:.1f}" if ours else ""
        recall = " | ".join(f"{value(f'recall_{floor:.2f}'):.4f}" for floor in FLOORS)
        lines.append(
            f"| {method} | {value('cpu_seconds'):.1f} | {ratio} | {recall} | {value('recall_copies_0.70'):.4f} "
            f"| {value('pairs'):,.0f} | {value('peak_bytes') / 2**20:.0f} |"
        )
    return lines


def _candidate_table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "",
        f"Candidates of the `verified` route, the {NEIGHBOURS} nearest, asked for {SAMPLED_ROWS:,} rows (CPU seconds for all):",
        "",
        "| search | CPU s | recall of the nearest | rows with a copy that list one |",
        "|---|---|---|---|",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        nearest, copies, cpu = (_median(rows, method, name) for name in ("recall_of_nearest", "recall_of_copies", "cpu_seconds"))
        lines.append(f"| {method.removeprefix('candidates, ')} | {cpu:.0f} | {nearest:.4f} | {copies:.4f} |")
    return lines if rows else []


def _median(rows: list[dict[str, Any]], method: str, name: str) -> float:
    values = [row[name] for row in rows if row["method"] == method]
    return statistics.median(values) if values else 0.0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="20000,100000", help="numbers of vectors")
    parser.add_argument("--seeds", default="1", help="seeds of the planted vectors")
    parser.add_argument("--methods", help=f"separated by ';': {'; '.join(METHODS)}; default: all that this CPU computes natively")
    parser.add_argument("--candidates", action="store_true", help="measure the searches of the `verified` route instead")
    parser.add_argument("--add", action="store_true", help="keep the other rows of earlier results")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.counts = [int(count) for count in options.counts.split(",")]
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    able = [method for method in METHODS if method not in NEEDS or native(NEEDS[method])]
    options.methods = options.methods.split(";") if options.methods else able
    options.load = f"{os.getloadavg()[0]:.1f}"
    return options


if __name__ == "__main__":
    main()
