"""What one photograph costs in every stage: CPU seconds, bytes written, memory of the worker. `--plan` falls back on these.

    .venv/bin/python -m benchmarks.costs FOLDER --name "photographs of ..."       # about a hundred; two minutes

Runs the stages to the shards in a temporary folder, each in a process of its own so that its memory is its own, and divides
what the commit records say by the number of images. Writes benchmarks/results/costs.json; `jobs/costs.py` ships the same
numbers, and a test compares the two.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.tiled import tile
from curation.tables import Run
from jobs import costs
from jobs.cluster import WORKER_ENVIRONMENT
from jobs.config import read_config
from jobs.pipeline import TABLES, between, pipeline
from jobs.runner import Planned, code_version, fingerprint_of, record_of
from jobs.stage import items
from jobs.worker import Worker

WHOLE = (
    "exact",
    "quantise",
    "lists",
    "hierarchy",
    "candidates",
    "edges",
    "forests",
    "components",
    "partition",
    "communities",
    "duplicates",
    "placeholders",
    "watermarks",
    "select",
    "concepts",
    "balance",
    "shares",
)
"""Stages whose work on a hundred images is mostly starting: measured on the tables of all, many times over."""
BASE = ("images", "metrics", "embeddings", "scores", "ocr", "tags", "neighbours", "verdicts", "confirmations", "captions")
TIMES = 500
PART_ROWS = 8
"""Images per part here: the cost of an image is the median over parts, so that loading a model does not count."""


def main() -> None:
    """Measure and write."""
    os.environ.update(WORKER_ENVIRONMENT)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder of photographs")
    parser.add_argument("--name", required=True, help="what the photographs are, for the record")
    parser.add_argument("--out", help="run folder to keep and continue; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="costs-") as scratch:
        small, large = Run(options.out or scratch + "/run"), Run(scratch + "/tiled")
        settings = read_config(None, {"source": options.source, "out": str(small.root), "ingest": {"part_rows": PART_ROWS}})
        plan = between(pipeline(settings), small, start=None, until="shard")
        peak = {planned.stage.name: _run_stage(small, planned) for planned in plan}
        _alone(_tile, (str(small.root), str(large.root)))
        whole = [planned for planned in plan if planned.stage.name in WHOLE]
        grown = {planned.stage.name: _run_stage(large, planned) for planned in whole}
        found, images = costs.of_run(small) | _only(costs.of_run(large), WHOLE), int(large.offsets("images")[-1])
        found = _only(found, [*peak])  # two stages may write one table, and only one of them has run
        record = {"about": _about(small, options.name), "stages": {}}
        for name, figures in found.items():
            held = max(0.0, grown[name] - peak[name]) / images if name in grown else 0.0
            record["stages"][name] = {
                "cpu_seconds": float(f"{_per_image(small, large, name, figures):.3g}"),
                "written_bytes": round(_written(small, dict(TABLES)[name])),
                "peak_bytes": round(peak[name], -6),
                "held_bytes": round(held),
            }
    target = Path(__file__).parent / "results" / "costs.json"
    target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(target)


def _per_image(small: Run, large: Run, name: str, figures: costs.PerImage) -> float:
    """Return CPU seconds per image: the median over parts of a table aligned with IMAGES, else those of the whole table."""
    table = dict(TABLES)[name]
    run = large if name in WHOLE else small
    commits = run.commits(table)
    if name in WHOLE or [commit.rows for commit in commits] != [commit.rows for commit in run.commits("images")]:
        return figures.cpu_seconds
    return statistics.median(commit.cpu_seconds / commit.rows for commit in commits)


def _written(run: Run, table: str) -> float:
    """Return bytes per image with all rows in one part: parts of PART_ROWS are mostly Parquet's own frame."""
    images = int(run.offsets("images")[-1])
    files = [size for commit in run.commits(table) for key, (_, size) in commit.files.items() if not key.endswith(".parquet")]
    sink = pa.BufferOutputStream()
    pq.write_table(run.read(table), sink, compression="zstd")
    return (sink.getvalue().size + sum(files)) / images


def _only(found: dict[str, costs.PerImage], names: Sequence[str]) -> dict[str, costs.PerImage]:
    return {name: figures for name, figures in found.items() if name in names}


def _about(run: Run, name: str) -> dict[str, Any]:
    images = run.read("images", ["length", "width", "height"]).drop_null().to_pylist()
    return {
        "date": str(date.today()),
        "images": f"{len(images)} {name}; {', '.join(WHOLE)}: the tables of {TIMES} times as many",
        "mean_bytes": round(sum(row["length"] for row in images) / len(images)),
        "mean_pixels": round(sum(row["width"] * row["height"] for row in images) / len(images)),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "imageloom": code_version(),
    }


def _alone(function: Callable[[Any], Any], argument: Any) -> Any:
    """Return what a fresh process makes of the argument."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, argument).result()


def _tile(roots: tuple[str, str]) -> None:
    small, large = (Run(root) for root in roots)
    tile(small, large, [table for table in BASE if small.has(table)], times=TIMES)


def _run_stage(run: Run, planned: Planned) -> int:
    """Compute and commit one stage in a fresh process; return the memory of that process at its largest.

    What a folder that is kept holds already, by the same settings and inputs, is not computed again.
    """
    print_, kept = fingerprint_of(run, planned), run.root / "peaks.json"
    peaks: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
    key = f"{planned.stage.name} {print_}"
    if key not in peaks or not run.has(planned.stage.table):
        shutil.rmtree(run.folder(planned.stage.table), ignore_errors=True)
        work = [(str(run.root), planned, print_, item) for item in items(planned.stage, run, planned.parameters)]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            peaks[key] = list(process.map(_work, work))[-1]
        run.finish(planned.stage.table, record_of(run, planned, print_))
        kept.write_text(json.dumps(peaks))
    print(f"{planned.stage.name}: {peaks[key] / 1e6:.0f} MB", flush=True)
    return peaks[key]


_worker: list[Worker] = []


def _work(task: tuple[str, Planned, str, Any]) -> int:
    root, planned, print_, item = task
    if not _worker:
        _worker.append(Worker(root))
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak that was inherited from the parent process
    _worker[0].work(planned.stage, planned.parameters, print_, item)
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main()
