"""What one photograph costs in every stage: CPU seconds, bytes written, memory of the worker. `--plan` falls back on these.

    .venv/bin/python benchmarks/costs.py FOLDER --name "photographs of ..."       # about a hundred; two minutes

Runs the stages to the shards in a temporary folder, each in a process of its own so that its memory is its own, and divides
what the commit records say by the number of images. Writes benchmarks/results/costs.json; `jobs/costs.py` ships the same
numbers, and a test compares the two.
"""

import argparse
import json
import os
import platform
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from curation.tables import Run
from jobs import costs
from jobs.cluster import WORKER_ENVIRONMENT
from jobs.config import read_config
from jobs.pipeline import between, pipeline
from jobs.runner import Planned, code_version, fingerprint_of, record_of
from jobs.stage import items
from jobs.worker import Worker


def main() -> None:
    """Measure and write."""
    os.environ.update(WORKER_ENVIRONMENT)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder of photographs")
    parser.add_argument("--name", required=True, help="what the photographs are, for the record")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="costs-") as scratch:
        settings = read_config(None, {"source": options.source, "out": scratch + "/run", "ingest": {"part_rows": 16}})
        run = Run(settings.out)
        plan = between(pipeline(settings), run, start=None, until="shard")
        peak = {planned.stage.name: _run_stage(run, planned) for planned in plan}
        measured = costs.of_run(run)
        lengths = run.read("images", ["length", "width", "height"]).drop_null().to_pylist()
    record = {
        "about": {
            "date": str(date.today()),
            "images": f"{len(lengths)} {options.name}",
            "mean_bytes": round(sum(row["length"] for row in lengths) / len(lengths)),
            "mean_pixels": round(sum(row["width"] * row["height"] for row in lengths) / len(lengths)),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "imageloom": code_version(),
        },
        "stages": {
            name: {
                "cpu_seconds": round(found.cpu_seconds, 6),
                "written_bytes": round(found.written_bytes),
                "peak_bytes": round(peak[name], -6),
            }
            for name, found in measured.items()
        },
    }
    target = Path(__file__).parent / "results" / "costs.json"
    target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(target)


def _run_stage(run: Run, planned: Planned) -> int:
    """Compute and commit one stage in a fresh process; return the memory of that process at its largest."""
    print_ = fingerprint_of(run, planned)
    work = [(str(run.root), planned, print_, item) for item in items(planned.stage, run, planned.parameters)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        peak = list(process.map(_work, work))
    run.finish(planned.stage.table, record_of(run, planned, print_))
    print(f"{planned.stage.name}: {peak[-1] / 1e6:.0f} MB")
    return peak[-1]


_worker: list[Worker] = []


def _work(task: tuple[str, Planned, str, Any]) -> int:
    root, planned, print_, item = task
    if not _worker:
        _worker.append(Worker(root))
    return int(_worker[0].work(planned.stage, planned.parameters, print_, item)["peak_rss_bytes"])


if __name__ == "__main__":
    main()
