"""What the whole pipeline costs on the demo collection, and how much of it is Ray's.

    .venv/bin/python -m benchmarks.pipeline            # about 12 minutes on two quiet cores
    .venv/bin/python -m benchmarks.pipeline --until shard --skip-plain

Two arms on the same input in the same run: `ray` is `imageloom run`; `plain` drives the same stages and the same commits by
a multiprocessing pool of as many processes. CPU seconds are those of the whole process tree, sampled; memory is the tree's
summed resident set less shared pages (PSS). Useful work is CPU seconds that stages report over wall seconds times cores.
Results go to benchmarks/results/pipeline.md and pipeline.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.watch import watch
from curation.tables import Run
from jobs.config import read_config
from jobs.pipeline import between, pipeline
from jobs.runner import Planned, fingerprint_of, record_of
from jobs.stage import Item, items
from jobs.worker import Worker

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}

_worker: Worker | None = None


def main() -> None:
    """Measure both arms and write the results."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="pipeline-") as scratch:
        source = Path(scratch) / "demo-data"
        subprocess.run([sys.executable, "-m", "jobs", "demo-data", str(source)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        arms = {"ray": lambda out: _ray(source, out, options.until)}
        if not options.skip_plain:
            arms["plain"] = lambda out: _plain(source, out, options.until)
        results = {name: _measure(arm, Path(scratch) / name) for name, arm in arms.items()}
    _write(results, options)


def _measure(arm: Callable[[Path], "subprocess.Popen[bytes]"], out: Path) -> dict[str, Any]:
    process = arm(out)
    cost = watch(process)
    if process.returncode:
        raise SystemExit(f"{out.name} failed with exit code {process.returncode}")
    run = Run(out)
    stages = [manifest for table in _tables(out) if (manifest := run.manifest(table))]
    stages.sort(key=lambda manifest: (run.folder(manifest["table"]) / "_manifest.json").stat().st_mtime_ns)
    return {
        "wall_seconds": cost.wall_seconds,
        "tree_cpu_seconds": cost.cpu_seconds,
        "peak_pss_bytes": float(cost.peak_bytes),
        "stages": [
            {key: m.get(key) for key in ("stage", "rows", "elapsed_seconds", "wall_seconds", "cpu_seconds", "parts")}
            for m in stages
        ],
    }


def _ray(source: Path, out: Path, until: str | None) -> "subprocess.Popen[bytes]":
    arguments = ["run", str(ROOT / "examples/demo.yaml"), "--source", str(source), "--out", str(out)]
    arguments += ["--until", until] if until else []
    return subprocess.Popen([sys.executable, "-m", "jobs", *arguments], cwd=ROOT, env={**os.environ, **ENVIRONMENT})


def _plain(source: Path, out: Path, until: str | None) -> "subprocess.Popen[bytes]":
    arguments = ["-m", "benchmarks.pipeline", "--plain", str(source), str(out), *(["--until", until] if until else [])]
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **ENVIRONMENT})


def run_plain(source: str, out: str, until: str | None) -> None:
    """Run the stages on a multiprocessing pool: the same workers and commits, without Ray."""
    config = read_config(ROOT / "examples/demo.yaml", {"source": source, "out": out})
    run = Run(out)
    with get_context("spawn").Pool(os.cpu_count(), initializer=_start, initargs=(out,)) as pool:
        for planned in between(pipeline(config), run, start=None, until=until):
            started = time.monotonic()
            print_ = fingerprint_of(run, planned)
            work = [(planned, print_, item) for item in items(planned.stage, run, planned.parameters)]
            for _ in pool.imap_unordered(_work, work):
                pass
            run.finish(planned.stage.table, {**record_of(run, planned, print_), "elapsed_seconds": time.monotonic() - started})


def _start(out: str) -> None:
    global _worker
    _worker = Worker(out)


def _work(task: tuple[Planned, str, Item]) -> None:
    planned, print_, item = task
    assert _worker is not None, "the pool's initializer has run"
    _worker.work(planned.stage, planned.parameters, print_, item)


def _tables(out: Path) -> list[str]:
    return sorted(path.parent.name for path in out.glob("*/_manifest.json"))


def _write(results: dict[str, Any], options: argparse.Namespace) -> None:
    cores = os.cpu_count() or 1
    about = {
        "date": date.today().isoformat(),
        "command": "python " + " ".join(["-m benchmarks.pipeline", *sys.argv[1:]]),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("imageloom", "ray", "torch", "faiss-cpu", "pyarrow", "onnxruntime")},
        "machine": f"{platform.machine()}, {cores} cores",
        "load_before": options.load,
    }
    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    folder.joinpath("pipeline.json").write_text(json.dumps({"about": about, **results}, indent=1) + "\n")
    text = _page(results, about, cores)
    folder.joinpath("pipeline.md").write_text(text)
    print(text)


def _page(results: dict[str, Any], about: dict[str, Any], cores: int) -> str:
    lines = [
        "# The pipeline on the demo collection\n",
        f"`{about['command']}`, {about['date']}, {about['machine']}. Load before",
        "",
    ]
    lines[1] += (
        f" {about['load_before']}; Python {about['python']}, "
        + ", ".join(f"{k} {v}" for k, v in about["versions"].items())
        + ".\n"
    )
    lines += ["| | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "wall, s": lambda r: f"{r['wall_seconds']:.0f}",
        "CPU of the process tree, s": lambda r: f"{r['tree_cpu_seconds']:.0f}",
        "CPU inside stages, s": lambda r: f"{_stage_cpu(r):.0f}",
        "CPU outside stages": lambda r: f"{1 - _stage_cpu(r) / r['tree_cpu_seconds']:.0%}",
        "useful share of the cores": lambda r: f"{_stage_cpu(r) / (r['wall_seconds'] * cores):.0%}",
        "peak memory (PSS), MB": lambda r: f"{r['peak_pss_bytes'] / 1e6:.0f}",
    }
    lines += [f"| {name} | " + " | ".join(row(result) for result in results.values()) + " |" for name, row in rows.items()]
    if "plain" in results:
        ratio = results["ray"]["wall_seconds"] / results["plain"]["wall_seconds"]
        lines.append(f"\nRay over plain processes, wall: {ratio:.2f}.")
    lines += ["\n| stage | rows | elapsed s | CPU s | CPU ms per row | rows per s |", "|---|---|---|---|---|---|"]
    for stage in results["ray"]["stages"]:
        elapsed, cpu, rows_ = float(stage["elapsed_seconds"]), float(stage["cpu_seconds"]), int(stage["rows"])
        each = f"{1000 * cpu / max(rows_, 1):.1f} | {rows_ / max(elapsed, 1e-3):.1f}"
        lines.append(f"| {stage['stage']} | {rows_} | {elapsed:.1f} | {cpu:.1f} | {each} |")
    return "\n".join(lines) + "\n"


def _stage_cpu(result: dict[str, Any]) -> float:
    return float(sum(stage["cpu_seconds"] for stage in result["stages"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--until", help="stop after this stage")
    parser.add_argument("--skip-plain", action="store_true", help="measure only the Ray arm")
    parser.add_argument("--plain", nargs=2, metavar=("SOURCE", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.load = f"{os.getloadavg()[0]:.1f}"
    if options.plain:
        run_plain(*options.plain, options.until)
        sys.exit(0)
    return options


if __name__ == "__main__":
    main()
