"""PageRank of a power-law link graph of English Wikipedia's size, and of a tenth of it beside igraph and networkit.

    .venv/bin/python -m benchmarks.pagerank --networkit PYTHON             # a tenth: 0.7M nodes, 20M links, three programs
    .venv/bin/python -m benchmarks.pagerank --full                         # 7M nodes, 200M links, ours alone

Links are written as LINKS parts of a run folder (zstd Parquet, as `imageloom knowledge build` writes them), which is not
counted. Then each program runs in a process of its own: ours reads those parts, the others an edge list in memory-mapped NumPy
files. `read` is from links on disk to the graph in memory, `rank` the iteration to an L1 distance of 1e-6 (networkit: its
own tolerance; igraph: PRPACK's). Peak memory is the process's own maximum. PYTHON is an interpreter with networkit installed.
Results are merged into benchmarks/results/pagerank.json and pagerank.md.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.about import about, heading
from benchmarks.knn import RESULTS, ROOT
from curation.schema import LINKS, conform
from curation.tables import Cost, Run

SMALL, FULL = (700_000, 20_000_000), (7_000_000, 200_000_000)
PART_LINKS = 5_000_000
DANGLING, REPEATED = 0.1, 0.12
"""Share of nodes without links, and of links that stand more than once in their page."""
SKEW = 3.0
"""A target is node n u^SKEW, u uniform: in-degrees fall with rank^(1/SKEW - 1)."""


def main() -> None:
    """Measure what is asked for and merge it into the results."""
    options = _options()
    if options.one:
        print(json.dumps(ONE[options.one](Path(options.scratch))))
        return
    load = os.getloadavg()[0]
    scratch = Path(options.scratch or tempfile.mkdtemp(prefix="pagerank-"))
    nodes, links = FULL if options.full else SMALL
    written = make(scratch, nodes, links, arrays=not options.full)
    programs = ["imageloom"] if options.full else ["imageloom", "igraph", *(["networkit"] if options.networkit else [])]
    rows = [_measured(name, scratch, options.networkit) | {"nodes": nodes, "links": written} for name in programs]
    if not options.full:
        for row in rows[1:]:
            row["distance"] = _difference(scratch, row["program"])
    _write(rows, "full" if options.full else "tenth", load)
    if not options.scratch:
        shutil.rmtree(scratch)


def make(scratch: Path, nodes: int, links: int, *, arrays: bool) -> int:
    """Write LINKS parts (and, for other programs, NumPy files), and return how many links there are."""
    random = np.random.default_rng(0)
    name = random.permutation(nodes)
    run = Run(scratch / "kb")
    degrees = np.floor(links / nodes / (1 - DANGLING) * (random.pareto(2.0, nodes) + 1) / 2 + random.random(nodes)).astype(
        np.int64
    )
    degrees = np.where(random.random(nodes) < DANGLING, 0, np.minimum(degrees, 5000))
    ends = np.searchsorted(np.cumsum(degrees), np.arange(PART_LINKS, degrees.sum() + PART_LINKS, PART_LINKS))
    kept: list[list[np.ndarray]] = [[], []]
    first = 0
    for part, last in enumerate(np.minimum(ends + 1, nodes).tolist()):
        source = np.repeat(np.arange(first, last), degrees[first:last])
        target = name[(nodes * random.random(len(source)) ** SKEW).astype(np.int64)]
        count = np.where(random.random(len(source)) < REPEATED, 1 + random.geometric(0.6, len(source)), 1)
        table = conform(pa.table({"source": source, "target": target, "count": count.astype(np.int32)}), LINKS)
        run.commit_part("links", part, table, fingerprint="synthetic", cost=Cost(0, 0))
        if arrays:
            kept[0].append(source.astype(np.int32))
            kept[1].append(target.astype(np.int32))
        first = last
    (scratch / "nodes").write_text(str(nodes))
    for stem, pieces in zip(("source", "target"), kept, strict=True):
        if arrays:
            np.save(scratch / f"{stem}.npy", np.concatenate(pieces))
    return int(degrees.sum())


def _measured(program: str, scratch: Path, python: str | None) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    executable = python if program == "networkit" else sys.executable
    assert executable is not None
    command = [executable, "-c", PEER, str(scratch)] if program == "networkit" else [
        executable, "-m", "benchmarks.pagerank", "--one", program, "--scratch", str(scratch)
    ]  # fmt: skip
    found = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return {"program": program} | json.loads(found.stdout.splitlines()[-1])


def ours(scratch: Path) -> dict[str, Any]:
    """Rank the parts of LINKS, counting repeated links, or not where others cannot."""
    from graph.pagerank import stationary, transition

    run, nodes = Run(scratch / "kb"), int((scratch / "nodes").read_text())
    alone = not (scratch / "source.npy").is_file()
    clock = Clock()
    graph = transition((run.read_part("links", part) for part in range(run.num_parts("links"))), num_nodes=nodes, weighted=alone)
    clock.mark("read")
    rank = stationary(graph, np.full(nodes, 1 / nodes), damping=0.85, tolerance=1e-6)
    clock.mark("rank")
    np.save(scratch / "imageloom.npy", rank)
    return clock.figures()


def igraph_rank(scratch: Path) -> dict[str, Any]:
    """Rank the same links by igraph's PRPACK."""
    import igraph

    nodes = int((scratch / "nodes").read_text())
    clock = Clock()
    edges = np.stack([np.load(scratch / f"{stem}.npy", mmap_mode="r") for stem in ("source", "target")], axis=1)
    graph = igraph.Graph(n=nodes, edges=edges, directed=True)
    clock.mark("read")
    rank = np.array(graph.pagerank(damping=0.85))
    clock.mark("rank")
    np.save(scratch / "igraph.npy", rank)
    return clock.figures()


ONE = {"imageloom": ours, "igraph": igraph_rank}


class Clock:
    """Wall and CPU seconds between marks, and the process's peak memory."""

    def __init__(self) -> None:
        self._at = time.perf_counter(), time.process_time()
        self._found: dict[str, float] = {}

    def mark(self, name: str) -> None:
        """Note what passed since the last mark."""
        now = time.perf_counter(), time.process_time()
        self._found |= {f"{name}_seconds": now[0] - self._at[0], f"{name}_cpu_seconds": now[1] - self._at[1]}
        self._at = now

    def figures(self) -> dict[str, float]:
        """Return everything that was noted."""
        return self._found | {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


PEER = """
import json, resource, sys, time
import networkit, numpy as np
scratch = sys.argv[1]
networkit.setNumberOfThreads(1)
def now(): return time.perf_counter(), time.process_time()
start = now()
nodes = int(open(scratch + "/nodes").read())
source, target = (np.load(f"{scratch}/{stem}.npy").astype(np.uint64) for stem in ("source", "target"))
graph = networkit.GraphFromCoo((source, target), n=nodes, directed=True)
read = now()
found = networkit.centrality.PageRank(
    graph, damp=0.85, tol=1e-9, distributeSinks=networkit.centrality.SinkHandling.DistributeSinks
)
found.run()
rank = np.array(found.scores())
end = now()
np.save(scratch + "/networkit.npy", rank)
print(json.dumps({
    "read_seconds": read[0] - start[0], "read_cpu_seconds": read[1] - start[1],
    "rank_seconds": end[0] - read[0], "rank_cpu_seconds": end[1] - read[1],
    "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "version": networkit.__version__,
}))
"""
"""Ranks the same links by networkit, in an interpreter that has it and need not have us."""


def _difference(scratch: Path, program: str) -> float:
    """Return the L1 distance of a program's ranks from ours."""
    one, other = np.load(scratch / "imageloom.npy"), np.load(scratch / f"{program}.npy")
    return float(np.abs(one - other / other.sum()).sum())


def _write(rows: list[dict[str, Any]], size: str, load: float) -> None:
    command = "python -m benchmarks.pagerank" + (" --full" if size == "full" else " --networkit PYTHON")
    path = RESULTS / "pagerank.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    known[size] = {"about": about(command, load=load, packages=("scipy", "numpy", "igraph")), "rows": rows}
    path.write_text(json.dumps(known, indent=1) + "\n")
    (RESULTS / "pagerank.md").write_text(_page(known))


def _page(known: dict[str, Any]) -> str:
    lines = ["# PageRank of a link graph\n"]
    for size in ("full", "tenth"):
        if size not in known:
            continue
        lines += [
            heading(known[size]["about"]),
            "",
            "| program | nodes | links | read s (CPU) | rank s (CPU) | peak GB | L1 distance from ours |",
            "|---|---|---|---|---|---|---|",
            *(_line(row) for row in known[size]["rows"]),
            "",
        ]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    named = row["program"] + (f" {row['version']}" if "version" in row else "")
    cells = [named, f"{row['nodes']:,}", f"{row['links']:,}"]
    cells += [f"{row[f'{step}_seconds']:.1f} ({row[f'{step}_cpu_seconds']:.1f})" for step in ("read", "rank")]
    apart = row.get("distance")
    return "| " + " | ".join([*cells, f"{row['peak_bytes'] / 1e9:.2f}", "" if apart is None else f"{apart:.1e}"]) + " |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="7M nodes and 200M links, ours alone")
    parser.add_argument("--networkit", metavar="PYTHON", help="interpreter that has networkit")
    parser.add_argument("--scratch", help="folder of the links; kept")
    parser.add_argument("--one", choices=sorted(ONE), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
