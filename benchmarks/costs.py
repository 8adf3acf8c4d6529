"""What one photograph costs in every stage: CPU seconds, bytes written, memory of the worker. `--plan` falls back on these.

    .venv/bin/python benchmarks/costs.py FOLDER        # a folder of about a hundred photographs; two minutes

Runs the pipeline to the shards in a temporary folder and divides what the commit records say by the number of images. Writes
benchmarks/results/costs.json; `jobs/costs.py` ships the same numbers, and a test compares the two.
"""

import argparse
import json
import os
import platform
import tempfile
from datetime import date
from pathlib import Path

from curation.tables import Run
from jobs import costs
from jobs.config import read_config
from jobs.pipeline import between, pipeline
from jobs.progress import Lines
from jobs.runner import Limits, code_version, run_stages


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder of photographs")
    parser.add_argument("--name", required=True, help="what the photographs are, for the record")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="costs-") as scratch:
        settings = read_config(None, {"source": options.source, "out": scratch + "/run", "ingest": {"part_rows": 16}})
        run = Run(settings.out)
        plan = between(pipeline(settings), run, start=None, until="shard")
        outcomes = run_stages(run, plan, limits=Limits(num_cpus=1), progress=Lines())
        measured = costs.of_run(run)
        peak = {outcome.name: outcome.peak_rss_bytes for outcome in outcomes}
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


if __name__ == "__main__":
    main()
