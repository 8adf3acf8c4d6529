"""What deduplication of a million vectors costs through the runner: from EMBEDDINGS to DUPLICATES on the cores of this machine.

    .venv/bin/python -m benchmarks.million                         # 1,000,000 x 512, seed 1: some 10 minutes, 3 GB of disk
    .venv/bin/python -m benchmarks.million --counts 100000,1000000 # and the scaling exponent between them
    .venv/bin/python -m benchmarks.million --memory-mb 128         # how little memory it can do with
    .venv/bin/python -m benchmarks.million --counts 100000 --until edges

Planted vectors are written as a run's EMBEDDINGS, part by part; making them is not counted. Then the stages of
`dedup.method: similarity` run as they do for images: Ray, commits, checksums, Parquet. CPU seconds and memory are those of the
whole process tree, sampled (memory counts shared pages once), Ray's own processes included. Beside it, in processes of their
own with one thread: SemDeDup at its settings, and a measured share of what comparing everything with everything by FAISS would
take. Errors are true entities without a survivor plus surplus copies kept. Results go to benchmarks/results/million.md and
million.json.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.about import about, heading
from benchmarks.knn import ENVIRONMENT, RESULTS, ROOT
from benchmarks.planted import Planted, errors, planted, write
from benchmarks.watch import cpu_seconds, run_watched
from curation import schema
from curation.metrics import METRICS_SCHEMA
from curation.tables import Cost, Run

FIRST, LAST = "quantise", "duplicates"
FREE = Cost(0, 0)
PLANTED_RECORD = {"fingerprint": "planted", "parameters": {}, "inputs": {}}
RANGE_QUERIES = 1000
THRESHOLDS = (0.75, 0.8, 0.85)
"""Of SemDeDup; the best is to be compared with."""


def main() -> None:
    """Measure every count and write the results."""
    options = _options()
    if options.one:
        _run_stages(options)
    elif options.baseline:
        print(json.dumps(_baseline(*options.baseline)))
    else:
        scratch = Path(options.scratch or tempfile.mkdtemp(prefix="million-"))
        rows = [_measure(scratch / str(count), count, options) for count in options.counts]
        _write(rows, options)
        if not options.scratch:
            shutil.rmtree(scratch)


def _measure(folder: Path, count: int, options: argparse.Namespace) -> dict[str, Any]:
    truth = planted(count, seed=options.seed)
    run = Run(folder)
    if not run.has("embeddings"):
        _plant(run, truth, options.part_rows)
    for name in (manifest.parent.name for manifest in list(folder.glob("*/_stage.json"))):
        shutil.rmtree(folder / name)  # what an earlier measurement computed
    command = [sys.executable, "-m", "benchmarks.million", "--one", str(folder), *_repeated(options)]
    cost = run_watched(command, cwd=ROOT, log=folder.with_suffix(".log"))
    row = {
        "count": count,
        "seed": options.seed,
        "memory_mb": options.memory_mb,
        "cores": options.cpus,
        "wall_seconds": cost.wall_seconds,
        "cpu_seconds": cost.cpu_seconds,
        "peak_bytes": cost.peak_bytes,
        "edges": int(run.offsets("edges")[-1]),
        "stages": _stages(run),
    }
    if run.has("duplicates"):
        kept = np.array(run.read("duplicates", ["keeper_row"])["keeper_row"].is_null())
        row |= _errors(truth, kept)
    print(json.dumps(row), flush=True)
    if options.baselines:
        row["baselines"] = _baselines(folder, truth)
    return row


def _plant(run: Run, truth: Planted, part_rows: int) -> None:
    """Write IMAGES, METRICS, EXACT and EMBEDDINGS of the planted vectors, as ingest, profile, exact and embed would."""
    there = {commit.part for commit in run.commits("embeddings")}
    for part, begin in enumerate(range(0, len(truth), part_rows)):
        if part in there:  # of an attempt that was ended
            continue
        vectors = truth.vectors(begin, begin + part_rows).astype(np.float16)
        rows = np.arange(begin, begin + len(vectors))
        ids = [f"{row * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128):032x}" for row in rows.tolist()]
        for name, table in _tables(ids, rows, vectors, truth.quality[rows]).items():
            run.commit_part(name, part, table, fingerprint="planted", cost=FREE)
    for name in ("images", "metrics", "exact", "embeddings"):
        run.finish(name, PLANTED_RECORD)


def _tables(ids: list[str], rows: Any, vectors: Any, quality: Any) -> dict[str, pa.Table]:
    count = len(ids)
    images: dict[str, Any] = {"id": ids, "uri": ids, "container": ["file"] * count, "key": ids, "group": ["planted"] * count}
    images |= {"width": np.full(count, 512), "height": np.full(count, 512)}
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    embeddings = {"id": ids, "embedding": embedding, "norm": np.ones(count, np.float32)}
    exact = {"id": ids, "representative": rows, "how": pa.nulls(count, pa.string())}
    return {
        "images": _filled(images, schema.IMAGES),
        "metrics": _filled({"id": ids, "sharpness": quality}, METRICS_SCHEMA),
        "exact": _filled(exact, schema.EXACT),
        "embeddings": _filled(embeddings, schema.embeddings_schema(vectors.shape[1])),
    }


def _filled(columns: dict[str, Any], shape: pa.Schema) -> pa.Table:
    count = len(columns["id"])
    return schema.conform(pa.table({f.name: columns.get(f.name, pa.nulls(count, f.type)) for f in shape}), shape)


def _run_stages(options: argparse.Namespace) -> None:
    """Run the stages in this process, as `imageloom run --from quantise --until duplicates` does."""
    from jobs.config import parse_config
    from jobs.pipeline import between, pipeline
    from jobs.progress import Lines
    from jobs.runner import Limits, run_stages

    values = {
        "source": "/nowhere",
        "out": options.one,
        "dedup": {"method": "similarity"},
        "join": {"engine": options.engine, "memory_mb": options.memory_mb},
        "duplicates": {"keeper": ["sharpness"]},
    }
    run = Run(options.one)
    planned = [stage for stage in pipeline(parse_config(values, origin="benchmark")) if not run.has(stage.stage.table)]
    plan = between(planned, run, start=None, until=options.until)
    first = next(at for at, stage in enumerate(plan) if stage.stage.name == FIRST)
    run_stages(run, plan[first:], limits=Limits(num_cpus=options.cpus), progress=Lines())


def _stages(run: Run) -> list[dict[str, Any]]:
    manifests = [run.manifest(folder.parent.name) for folder in run.root.glob("*/_stage.json")]
    named = [m for m in manifests if m and "stage" in m]
    named.sort(key=lambda m: (run.folder(m["table"]) / "_manifest.json").stat().st_mtime_ns)
    return [{key: m[key] for key in ("stage", "parts", "rows", "elapsed_seconds", "cpu_seconds")} for m in named]


def _errors(truth: Planted, kept: Any) -> dict[str, Any]:
    found = errors(truth, kept)
    return {"errors": found.err, "lost_share": found.lost_share, "residual_share": found.residual_share}


def _baselines(folder: Path, truth: Planted) -> list[dict[str, Any]]:
    path = folder.with_suffix(".npy")
    write(truth, path)
    quality = folder.with_suffix(".quality.npy")
    np.save(quality, truth.quality)
    found = []
    for method, argument in _baseline_settings(len(truth)):
        kept = folder.with_suffix(".kept.npy")
        files = [str(path), str(quality), str(kept)]
        command = [sys.executable, "-m", "benchmarks.million", "--baseline", method, str(argument), *files]
        done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, cwd=ROOT, check=True, stdout=subprocess.PIPE)
        row = {"method": method, "setting": argument, **json.loads(done.stdout)}
        if method == "semdedup":
            found_kept = zip(THRESHOLDS, np.load(kept), strict=True)
            row["errors"] = {f"{threshold:.2f}": _errors(truth, value) for threshold, value in found_kept}
        print(json.dumps(row), flush=True)
        found.append(row)
    path.unlink()
    return found


def _baseline_settings(count: int) -> list[tuple[str, int]]:
    clusters = sorted({round(math.sqrt(count)), max(1, count // 1000)})
    return [*(("semdedup", number) for number in clusters), ("range", RANGE_QUERIES)]


def _baseline(method: str, argument: str, vectors: str, quality: str, kept: str) -> dict[str, float]:
    """Run one baseline in this process with one thread; return its CPU seconds, of `range` those of all rows by proportion."""
    import faiss

    faiss.omp_set_num_threads(1)
    rows = np.load(vectors, mmap_mode="r")
    rows.max()  # read once, so that no method pays for the disk
    started = cpu_seconds()
    if method == "range":
        _range_search(rows, int(argument))
        return {"cpu_seconds": (cpu_seconds() - started) * len(rows) / int(argument)}
    from benchmarks.semdedup import sweep

    found = sweep(rows, quality=np.load(quality), num_clusters=int(argument), thresholds=THRESHOLDS)
    cost = cpu_seconds() - started
    np.save(kept, np.stack([found[threshold] for threshold in THRESHOLDS]))
    return {"cpu_seconds": cost}


def _range_search(rows: NDArray[np.float16], count: int) -> None:
    import faiss

    from graph.vectors import unit

    queries = unit(np.array(rows[:count]))
    for at in range(0, len(rows), 100_000):
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(unit(np.array(rows[at : at + 100_000])))
        index.range_search(queries, 0.7)


def _write(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    command = "python -m benchmarks.million " + " ".join(sys.argv[1:]).replace(f" --scratch {options.scratch}", "")
    facts = about(command, load=options.load, packages=("ray", "faiss-cpu", "numpy", "pyarrow", "igraph"))
    RESULTS.mkdir(exist_ok=True)
    kept = json.loads((RESULTS / "million.json").read_text())["results"] if options.add else []
    measured = {_setting(row) for row in rows}
    rows = sorted(
        [row for row in kept if _setting(row) not in measured] + rows, key=lambda row: (row["count"], -row["memory_mb"])
    )
    (RESULTS / "million.json").write_text(json.dumps({**facts, "results": rows}, indent=1) + "\n")
    (RESULTS / "million.md").write_text(_page(facts, rows))


def _setting(row: dict[str, Any]) -> tuple[int, int, int]:
    return row["count"], row["memory_mb"], row["seed"]


def _page(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    lines = [
        "# A million vectors through the runner",
        "",
        heading(facts),
        "",
        __doc__.split("\n\n")[2].replace("\n", " ").strip(),
        "",
        "| vectors | memory_mb | workers | wall s | CPU s | peak GB | edges | errors | lost | surplus |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        quality = f"{row['errors']:,} | {row['lost_share']:.2%} | {row['residual_share']:.2%}" if "errors" in row else " | | "
        lines.append(
            f"| {row['count']:,} | {row['memory_mb']} | {row['cores']} | {row['wall_seconds']:.0f} | {row['cpu_seconds']:.0f} "
            f"| {row['peak_bytes'] / 1e9:.2f} | {row['edges']:,} | {quality} |"
        )
    lines += ["", *_exponent(rows), *(line for row in rows for line in (*_stage_lines(row), *_baseline_lines(row)))]
    return "\n".join(lines) + "\n"


def _exponent(rows: list[dict[str, Any]]) -> list[str]:
    by_count = sorted({row["count"]: row for row in rows}.values(), key=lambda row: row["count"])
    if len(by_count) < 2:
        return []
    small, large = by_count[0], by_count[-1]
    growth = math.log(large["count"] / small["count"])
    cpu = math.log(_stage_seconds(large) / _stage_seconds(small)) / growth
    return [f"Scaling exponent of the stages' CPU seconds from {small['count']:,} to {large['count']:,}: {cpu:.2f}.", ""]


def _stage_seconds(row: dict[str, Any]) -> float:
    return float(sum(stage["cpu_seconds"] for stage in row["stages"]))


def _stage_lines(row: dict[str, Any]) -> list[str]:
    title = f"## Stages, {row['count']:,} vectors, memory_mb {row['memory_mb']}"
    lines = [title, "", "| stage | parts | rows | wall s | CPU s |", "|---|---|---|---|---|"]
    for stage in row["stages"]:
        costs = f"{stage['elapsed_seconds']:.1f} | {stage['cpu_seconds']:.1f}"
        lines.append(f"| {stage['stage']} | {stage['parts']} | {stage['rows']:,} | {costs} |")
    return [*lines, f"| together | | | | {_stage_seconds(row):.1f} |", ""]


def _baseline_lines(row: dict[str, Any]) -> list[str]:
    title = f"## Beside it, {row['count']:,} vectors"
    lines = [title, "", "| method | CPU s | errors | lost | surplus |", "|---|---|---|---|---|"]
    for baseline in row.get("baselines", ()):
        if baseline["method"] == "range":
            name = f"FAISS Flat range search, {baseline['setting']:,} queries measured, times the rest"
            lines.append(f"| {name} | {baseline['cpu_seconds']:,.0f} | | | |")
            continue
        for threshold, found in baseline["errors"].items():
            name = f"SemDeDup, {baseline['setting']:,} clusters, threshold {threshold}"
            shares = f"{found['errors']:,} | {found['lost_share']:.2%} | {found['residual_share']:.2%}"
            lines.append(f"| {name} | {baseline['cpu_seconds']:.1f} | {shares} |")
    return [*lines, ""] if row.get("baselines") else []


def _repeated(options: argparse.Namespace) -> list[str]:
    names = ("engine", "memory_mb", "cpus", "until")
    return [text for name in names for text in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="1000000", help="numbers of vectors")
    parser.add_argument("--seed", type=int, default=1, help="seed of the planted vectors; we tuned on 0")
    parser.add_argument("--engine", default="ivf", help="join.engine")
    parser.add_argument("--memory-mb", type=int, default=512, help="join.memory_mb")
    parser.add_argument("--cpus", type=int, default=os.cpu_count(), help="worker processes")
    parser.add_argument("--part-rows", type=int, default=16384, help="rows per part of EMBEDDINGS")
    parser.add_argument("--until", default=LAST, help="last stage")
    parser.add_argument("--scratch", help="folder for the runs; vectors that are there are not made again")
    parser.add_argument("--no-baselines", dest="baselines", action="store_false", help="measure only our stages")
    parser.add_argument("--add", action="store_true", help="keep the rows of earlier results with other settings")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--baseline", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.counts = [int(count) for count in options.counts.split(",")]
    options.load = f"{os.getloadavg()[0]:.1f}"
    return options


if __name__ == "__main__":
    main()
