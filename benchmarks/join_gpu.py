"""The similarity graph on one GPU: our joins and k-NN, FAISS's indexes with cuVS, and one core of the same machine's CPU.

    python -m benchmarks.join_gpu ours --out OUT      # 1M and 10M planted vectors of 512: exact, ivf, 100 nearest; CPU beside it
    python -m benchmarks.join_gpu faiss --out OUT     # Flat, IVF and CAGRA by graph/faiss_index.py; needs a faiss wheel for GPUs
    python -m benchmarks.join_gpu ours --smoke        # the same code on a few vectors and the CPU; its times mean nothing
    python -m benchmarks.join_gpu record OUT          # results/join_gpu.json from the lines of both

Every piece is printed, and added to OUT/join_gpu.jsonl, when it is done, so a run that is cut off keeps what it has. A piece
that fails says why and the next one starts. Recall is of the true pairs of at least .70: of all of them where the exact join has
run, else of those of 4,096 random rows, found by comparing these with everything; of neighbours, the share of the true k nearest
of 1,024 rows. Seconds are of the wall clock with the GPU idle before and after; vectors are in host memory, as stored, when the
clock starts.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.planted import BLOCK_ROWS, Planted, planted
from graph.quantiser import SAMPLE_PER_LIST, default_lists
from graph.selfjoin import Pairs
from graph.vectors import unit

RESULTS = Path(__file__).parent / "results" / "join_gpu.json"
SEED, DIMENSION, FLOOR = 77, 512, 0.70
NPROBE, MARGIN, NEIGHBOURS = 5, 0.10, 100
MOST_EXACT = 1_000_000
K_PROBES = 8
"""Lists in which the 100 nearest of a vector are looked for, of sqrt(N)."""
SAMPLED, ASKED = 4096, 1024


class Bench:
    """Where vectors lie and lines go; runs pieces one by one."""

    def __init__(self, out: Path | None, device: str, where: Path) -> None:
        self.out, self.device, self.where = out, device, where

    def piece(self, name: str, call: Callable[[], dict[str, Any]]) -> None:
        """Run one piece and write what it returns as a line."""
        reset(self.device)
        begin, cpu = time.perf_counter(), time.process_time()
        try:
            row = call()
        except Exception as error:  # the next piece may work
            traceback.print_exc()
            row = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        row = {"piece": name} | row | {"all_seconds": time.perf_counter() - begin, "all_cpu_seconds": time.process_time() - cpu}
        self.write(row | {"peak_gpu_bytes": peak(self.device)})

    def write(self, row: dict[str, Any]) -> None:
        """Print a line and keep it."""
        line = json.dumps(row)
        print(line, flush=True)
        if self.out is not None:
            with (self.out / "join_gpu.jsonl").open("a") as file:
                file.write(line + "\n")

    def vectors(self, count: int) -> np.ndarray:
        """Return stored float16 vectors; made when nobody has made them."""
        path = self.where / f"planted-{count}.npy"
        if not path.exists():
            make(count, path)
        return np.load(path, mmap_mode="r+")


def make(count: int, path: Path, processes: int | None = None) -> None:
    """Write planted vectors as float16, by all cores."""
    truth = planted(count, seed=SEED, dimension=DIMENSION)
    unfinished = path.with_suffix(".part.npy")
    array = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float16, shape=(count, DIMENSION))
    del array
    global _PLAN
    _PLAN = truth, unfinished
    with multiprocessing.get_context("fork").Pool(processes or os.cpu_count()) as pool:
        for _ in pool.imap_unordered(_fill, range(0, count, 4 * BLOCK_ROWS)):
            pass
    np.save(path.with_name(f"entity-{count}.npy"), truth.entity)
    unfinished.rename(path)


_PLAN: tuple[Planted, Path]


def _fill(begin: int) -> None:
    truth, path = _PLAN
    rows = truth.vectors(begin, begin + 4 * BLOCK_ROWS)
    np.load(path, mmap_mode="r+")[begin : begin + len(rows)] = rows


def reset(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> int | None:
    if device == "cpu":
        return None
    import torch

    return int(torch.cuda.max_memory_reserved())


class Clock:
    """Seconds of steps, with the GPU idle at both ends."""

    def __init__(self, device: str) -> None:
        self.device, self.steps = device, {}
        self._at = self._now()

    def _now(self) -> float:
        if self.device != "cpu":
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()

    def lap(self, name: str) -> None:
        """End a step."""
        now = self._now()
        self.steps[name], self._at = now - self._at, now

    def row(self, count: int) -> dict[str, Any]:
        """Return the steps and their sum."""
        total = sum(self.steps.values())
        rate = {"seconds": total, "seconds_per_million": 1e6 * total / count}
        return {"vectors": count, "steps": {name: round(value, 3) for name, value in self.steps.items()}} | rate


def ours(bench: Bench, counts: Sequence[int], exact: int) -> None:
    """Measure our joins on the GPU, smallest first; the largest vectors and the CPU's join are made meanwhile."""
    first = bench.vectors(counts[0])
    beside = [] if bench.device == "cpu" else [_start("make", str(counts[-1]), bench), _start("cpu", str(counts[0]), bench)]
    bench.piece("warm-up", lambda: warm(bench, first))
    bench.piece("ivf", lambda: run_ivf(bench, first))
    bench.piece("exact", lambda: exact_join(bench, first[:exact]))
    bench.piece("ivf recall", lambda: recall_of_pairs(bench, first, f"ivf-{len(first)}"))
    bench.piece(f"{NEIGHBOURS} nearest", lambda: run_nearest(bench, first))
    bench.piece("ivf", lambda: run_ivf(bench, first))
    for count in counts[1:]:
        if beside:
            beside[0].wait()
        vectors = bench.vectors(count)
        bench.piece("ivf", lambda: run_ivf(bench, vectors))  # noqa: B023
        bench.piece("ivf recall", lambda: recall_of_pairs(bench, vectors, f"ivf-{len(vectors)}"))  # noqa: B023
        bench.piece(f"{NEIGHBOURS} nearest", lambda: run_nearest(bench, vectors))  # noqa: B023
    for process in beside[1:]:
        process.wait()


def _start(what: str, count: str, bench: Bench) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "benchmarks.join_gpu", what, "--counts", count, "--where", str(bench.where)]
    command += ["--out", str(bench.out)] if bench.out else []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment | ({"CUDA_VISIBLE_DEVICES": ""} if what == "cpu" else {}))


def warm(bench: Bench, vectors: np.ndarray) -> dict[str, Any]:
    """Load kernels; time a copy to the device, as everything else pays for it."""
    from graph.scan_gpu import on_device

    clock = Clock(bench.device)
    run_quietly(bench, vectors[:5_000], clock)
    clock = Clock(bench.device)
    on_device(vectors, bench.device)
    clock.lap("copy")
    return clock.row(len(vectors)) | {"bytes": vectors.nbytes}


def run_quietly(bench: Bench, vectors: np.ndarray, clock: Clock) -> None:
    from graph.nearest_gpu import nearest_on
    from graph.selfjoin_gpu import join_held

    held, _ = lists_on(bench, vectors, 100, 4, 2.0, clock)
    join_held(held, min_similarity=FLOOR, device=bench.device)
    nearest_on(held, lists=100, k=10, device=bench.device)


def run_ivf(bench: Bench, vectors: np.ndarray) -> dict[str, Any]:
    """Measure the join of lists."""
    from graph.selfjoin_gpu import join_held

    clock, lists = Clock(bench.device), default_lists(len(vectors))
    held, probes = lists_on(bench, vectors, lists, NPROBE, MARGIN, clock)
    found = join_held(held, min_similarity=FLOOR, device=bench.device)
    clock.lap("join")
    save(bench, f"ivf-{len(vectors)}", found)
    return clock.row(len(vectors)) | {"pairs": len(found), "lists": lists, "probes": probes}


def run_nearest(bench: Bench, vectors: np.ndarray) -> dict[str, Any]:
    """Measure the nearest, from lists of their own: fewer and longer ones, more of them probed."""
    from graph.nearest_gpu import nearest_on

    clock, lists = Clock(bench.device), max(1, round(len(vectors) ** 0.5))
    nprobe = K_PROBES if len(vectors) <= 2_000_000 else K_PROBES - 2  # what is met is held until it is merged
    held, probes = lists_on(bench, vectors, lists, nprobe, 2.0, clock)
    near, cosine = nearest_on(held, lists=lists, k=NEIGHBOURS, device=bench.device)
    clock.lap("nearest")
    del held
    row = clock.row(len(vectors)) | {"k": NEIGHBOURS, "lists": lists, "probes": probes}
    return row | recall_of_neighbours(bench, vectors, near, cosine)


def lists_on(bench: Bench, vectors: np.ndarray, lists: int, nprobe: int, margin: float, clock: Clock) -> tuple[Any, float]:
    """Return what is held on the device, and the lists that a vector probes on average."""
    import torch

    from graph.quantiser_gpu import probes_on, train_on
    from graph.scan_gpu import on_device
    from graph.selfjoin_gpu import held_of

    stored = on_device(vectors, bench.device)
    clock.lap("copy")
    chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[: SAMPLE_PER_LIST * lists])
    quantiser = train_on(unit(vectors[chosen]), num_lists=lists, device=bench.device)
    clock.lap("train")
    probed = probes_on(stored, quantiser, nprobe=nprobe, margin=margin, device=bench.device)
    clock.lap("probe")
    held = held_of(stored, torch.arange(len(vectors), device=stored.device), on_device(probed, bench.device))
    clock.lap("sort into lists")
    return held, float((probed >= 0).sum(1).mean())


def exact_join(bench: Bench, vectors: np.ndarray) -> dict[str, Any]:
    """Compare every pair on the GPU."""
    import torch

    from graph.scan_gpu import on_device
    from graph.selfjoin_gpu import held_of, join_held

    clock = Clock(bench.device)
    stored = on_device(vectors, bench.device)
    clock.lap("copy")
    nobody = torch.zeros(len(vectors), 1, dtype=torch.int64, device=stored.device)  # all in one list
    held = held_of(stored, torch.arange(len(vectors), device=stored.device), nobody)
    found = join_held(held, min_similarity=FLOOR, device=bench.device)
    clock.lap("join")
    save(bench, f"exact-{len(vectors)}", found)
    products = len(vectors) * (len(vectors) - 1) / 2
    row = clock.row(len(vectors))
    return row | {"pairs": len(found), "tflops": 2 * DIMENSION * products / row["seconds"] / 1e12}


def save(bench: Bench, name: str, found: Pairs) -> None:
    np.save(bench.where / f"{name}.npy", (found.row_a << 32) | found.row_b)


def recall_of_pairs(bench: Bench, vectors: np.ndarray, name: str) -> dict[str, Any]:
    """Return the share of the true pairs that are among those found, and of the true pairs of one planted entity."""
    found = np.load(bench.where / f"{name}.npy")
    exact = bench.where / f"exact-{len(vectors)}.npy"
    true = np.load(exact) if exact.exists() else sampled_pairs(bench, vectors)
    at = np.searchsorted(found, true)
    hit = (at < len(found)) & (found[np.minimum(at, max(0, len(found) - 1))] == true) if len(found) else np.zeros(len(true), bool)
    entity = np.load(bench.where / f"entity-{len(vectors)}.npy")
    same = (entity[true >> 32] == entity[true & 0xFFFFFFFF]) & (entity[true >> 32] >= 0)
    return {
        "vectors": len(vectors),
        "true_pairs": len(true),
        "recall": float(hit.mean()),
        "recall_copies": float(hit[same].mean()),
    }


def sampled_pairs(bench: Bench, vectors: np.ndarray) -> np.ndarray:
    """Return the true pairs of some random rows, compared with all."""
    import torch

    from graph.scan_gpu import on_device, unit_rows

    chosen = np.sort(np.random.default_rng(1).permutation(len(vectors))[:SAMPLED])
    queries, rows = unit_rows(on_device(vectors[chosen], bench.device)), on_device(chosen, bench.device)
    codes = []
    for at in range(0, len(vectors), 1 << 17):
        base = unit_rows(on_device(vectors[at : at + (1 << 17)], bench.device))
        query, other = torch.nonzero(queries @ base.T >= FLOOR - 1e-3, as_tuple=True)
        close = (queries[query] * base[other]).sum(1) >= FLOOR
        a, b = rows[query[close]], other[close] + at
        codes.append(((torch.minimum(a, b) << 32) | torch.maximum(a, b)).cpu().numpy())
    true = np.unique(np.concatenate(codes))
    return true[(true >> 32) != (true & 0xFFFFFFFF)]


def recall_of_neighbours(bench: Bench, vectors: np.ndarray, near: np.ndarray, cosine: np.ndarray) -> dict[str, Any]:
    """Return the share of the true nearest of some rows that were found; vectors nearly as near as the k-th count as such."""
    import torch

    from graph.scan_gpu import on_device, unit_rows

    k = near.shape[1]
    chosen = np.sort(np.random.default_rng(2).permutation(len(vectors))[:ASKED])
    queries = unit_rows(on_device(vectors[chosen], bench.device))
    least = torch.full((len(chosen), k + 1), -2.0, device=queries.device)
    for at in range(0, len(vectors), 1 << 18):
        products = queries @ unit_rows(on_device(vectors[at : at + (1 << 18)], bench.device)).T
        least = torch.cat([least, products.topk(min(k + 1, products.shape[1])).values], 1).topk(k + 1).values
    kth = least[:, -1].cpu().numpy() - 1e-5  # the row itself is the nearest
    found = (cosine[chosen] >= kth[:, None]).sum(1)
    return {"recall": float(np.minimum(found, k).mean() / k), "met": float((near >= 0).mean())}


def cpu(bench: Bench, counts: Sequence[int]) -> None:
    """Measure the CPU's join of the same vectors, in one thread."""
    from graph.join import join

    vectors = bench.vectors(counts[0])

    def run() -> dict[str, Any]:
        begin = time.process_time()
        ids = [f"{row:032x}" for row in range(len(vectors))]
        edges = join(vectors=vectors, ids=ids, engine="ivf", min_similarity=FLOOR, nprobe=NPROBE, margin=MARGIN, descend=8)
        return {"vectors": len(vectors), "pairs": edges.num_rows, "cpu_seconds": time.process_time() - begin}

    bench.piece("ivf on one core of the CPU", run)


def with_faiss(bench: Bench, counts: Sequence[int], most_seconds: float, skipped: str) -> None:
    """Measure FAISS's indexes as graph/faiss_index.py builds them: pairs among the 100 nearest of every row."""
    import faiss

    small, large = min(100_000, counts[0]), counts[0]
    lists = {count: max(1, round(count**0.5)) for count in (small, *counts)}
    bench.write({"piece": "faiss", "version": faiss.__version__, "gpus": _gpus(), "cagra": hasattr(faiss, "GpuIndexCagra")})
    plan = [(small, "Flat", 8), (small, f"IVF{lists[small]},Flat", 16), (small, "CAGRA", 8)]
    plan += [(large, f"IVF{lists[large]},Flat", 16), (large, "CAGRA", 8), (large, "Flat", 8)]
    plan += [(count, f"IVF{lists[count]},Flat", 16) for count in counts[1:]]
    for count, factory, nprobe in (some for some in plan if some[1] != skipped):
        bench.piece(f"faiss {factory}", lambda: one_index(bench, count, factory, nprobe, most_seconds))  # noqa: B023


def _gpus() -> int:
    from graph.faiss_index import gpus

    return gpus()


def one_index(bench: Bench, count: int, factory: str, nprobe: int, most_seconds: float) -> dict[str, Any]:
    """Build one index and ask it for the neighbours of as many rows as the time allows."""
    from graph.faiss_index import build, neighbour_pairs
    from graph.selfjoin import unique_pairs

    name = bench.where / f"planted-{count}.npy"
    vectors = np.load(name, mmap_mode="r+") if name.exists() else bench.vectors(max(count, 1_000_000))[:count]
    points, clock = unit(vectors), Clock(bench.device)
    index = build(points, factory=factory, nprobe=nprobe)
    clock.lap("build")
    begin, asked, found, free = time.perf_counter(), 0, [], used_bytes()
    step = 1 << 16
    while asked < count and time.perf_counter() - begin < most_seconds:
        end = min(asked + step, count)
        rows = np.arange(count)
        found.append(neighbour_pairs(index, points, rows, begin=asked, end=end, k=NEIGHBOURS, min_similarity=FLOOR))
        asked = end
    clock.lap("search")
    pairs = unique_pairs(found)
    row = clock.row(count) | {"asked": asked, "nprobe": nprobe, "pairs": len(pairs), "used_gpu_bytes": free}
    row["seconds"] = clock.steps["build"] + clock.steps["search"] * count / asked
    row["seconds_per_million"] = 1e6 * row["seconds"] / count
    del index
    exact = bench.where / f"exact-{count}.npy"
    if not exact.exists() and count <= MOST_EXACT:
        exact_join(bench, vectors)
    true = np.load(exact) if exact.exists() else sampled_pairs(bench, vectors)
    true = true[((true >> 32) < asked) & ((true & 0xFFFFFFFF) < asked)]
    codes = (pairs.row_a << 32) | pairs.row_b
    return row | {"recall": float(np.isin(true, codes).mean()), "true_pairs": len(true)}


def used_bytes() -> int | None:
    import torch

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return total - free


def record(folder: Path) -> None:
    """Write results/join_gpu.json from the lines of one or several runs."""
    lines = [json.loads(line) for path in sorted(folder.rglob("join_gpu.jsonl")) for line in path.read_text().splitlines()]
    facts = [line for line in lines if line["piece"] == "machine"]
    found = {name: facts[0][name] for name in ("date", "device", "cpu", "versions", "command")}
    rows = [line for line in lines if line["piece"] != "machine"]
    RESULTS.write_text(json.dumps(found | {"rows": rows}, indent=1) + "\n")


def machine(device: str) -> dict[str, Any]:
    """Return what is measured on."""
    import torch

    from benchmarks.about import cpu_name

    name = torch.cuda.get_device_name() if device != "cpu" else "cpu (smoke)"
    versions = {package: version(package) for package in ("torch", "numpy")} | {"python": sys.version.split()[0]}
    command = "python -m benchmarks.join_gpu"
    return {"piece": "machine", "date": date.today().isoformat(), "device": name, "cpu": cpu_name(), "versions": versions} | {
        "command": command
    }


def main() -> None:
    """Run one part of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("ours", "faiss", "cpu", "make", "record"))
    parser.add_argument("folder", nargs="?", type=Path, help="record: where the lines are")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--exact", type=int, default=1_000_000, help="compare every pair of so many")
    parser.add_argument("--search-seconds", type=float, default=12.0, help="an index answers for so long at most")
    parser.add_argument("--skip", default="", help="an index that is left out")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--where", type=Path, default=Path("/dev/shm"), help="vectors lie here")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if options.what == "record":
        return record(options.folder)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.out, "cpu" if options.smoke or options.what in ("cpu", "make") else "cuda", options.where)
    if options.what == "make":
        return make(options.counts[0], options.where / f"planted-{options.counts[0]}.npy", max(1, (os.cpu_count() or 2) - 2))
    if options.what == "cpu":
        return cpu(bench, options.counts)
    bench.write(machine(bench.device))
    counts = [6_000, 8_000] if options.smoke else options.counts
    if options.what == "ours":
        return ours(bench, counts, min(options.exact, counts[0]))
    with_faiss(bench, counts, options.search_seconds, options.skip)


if __name__ == "__main__":
    main()
