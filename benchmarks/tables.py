"""The results of benchmarks/dedup.py as one page and one JSON file: medians over seeds, recall by alteration."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.background import Recalls, page

if TYPE_CHECKING:
    from benchmarks.compare import Row

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SECOND_LOOK = ("profile", "keypoints", "verify", "confirm")
VERSIONS = ("imageloom", "torch", "faiss-cpu", "opencv-contrib-python", "pillow", "numpy")


def write_results(rows: list["Row"], counts: dict[int, dict[str, int]], among: Recalls) -> None:
    """Write dedup.json and dedup.md; called after every seed, so that an interrupted run leaves what it has."""
    about = {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.dedup " + " ".join(_public(argument) for argument in sys.argv[1:]),
        "commit": _commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in VERSIONS),
    }
    RESULTS.mkdir(exist_ok=True)
    record = {"about": about, "sets": counts, "background": among, "rows": [asdict(row) for row in rows]}
    RESULTS.joinpath("dedup.json").write_text(json.dumps(record, indent=1) + "\n")
    RESULTS.joinpath("dedup.md").write_text("\n".join(_page(rows, counts, about) + _among(among)) + "\n")


def _among(among: Recalls) -> list[str]:
    if not among:
        return []
    return [
        "\n## Are copies among the nearest neighbours in a large collection?\n",
        "The first set planted among embeddings of other pictures (distinct crops of other packages' pictures), searched as the "
        "product does. A pair is a candidate when either picture is among the first k of the other; recall of all pairs of "
        "copies / of pairs of an original and its copy. The default k is 20.\n",
        *page(among),
    ]


def _public(argument: str) -> str:
    """Return an argument without the folders of the machine it ran on."""
    return Path(argument).name if argument.startswith("/") else argument


def _commit() -> str:
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


def _page(rows: list["Row"], counts: dict[int, dict[str, int]], about: dict[str, str]) -> list[str]:
    of = {tool: [row for row in rows if row.tool == tool] for tool in dict.fromkeys(row.tool for row in rows)}
    return [
        "# Deduplication on altered photographs\n",
        f"`{about['command']}`, {about['date']}, commit {about['commit']}, {about['machine']}; {about['versions']}.\n",
        *(f"- Set of seed {seed}: " + ", ".join(f"{n} {name}" for name, n in count.items()) for seed, count in counts.items()),
        "\nPhotographs and ranges of alteration were not used in development; what is a pair says benchmarks/truth.py, what is "
        "done to pictures benchmarks/altered.py. Medians over the sets. CPU is without imports: for imageloom the sum of its "
        "stages, for the methods on our embeddings with reading and embedding. Wrong drops: images dropped for one that shows "
        "something else.\n",
        "| | setting | pair precision | pair recall | distinct images lost | duplicates left | wrong drops | CPU s | peak MB |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_summary(tool, found) for tool, found in of.items()),
        "",
        *_stages(of),
        "## Recall by alteration\n",
        "Share of altered copies joined with their original; weak / strong.\n",
        *_kinds({tool: found for tool, found in of.items() if found[0].score is not None}),
        "\n## False pairs by kind, all sets\n",
        *_false(of),
    ]


def _summary(tool: str, rows: list["Row"]) -> str:
    pair = ["-", "-"]
    if rows[0].score is not None:
        pair = [f"{median(getattr(row.score, name) for row in rows):.3f}" for name in ("precision", "recall")]
    names = ("distinct_lost", "duplicates_left", "wrong_drops")
    outcome = [f"{median(getattr(row.survivors, name) for row in rows):.0f}" for name in names]
    memory = median([row.peak_bytes for row in rows if row.peak_bytes] or [0])  # 0: not known
    cost = [f"{median(row.cpu_seconds for row in rows):.1f}", f"{memory / 1e6:.0f}" if memory else "-"]
    return "| " + " | ".join([tool, rows[0].setting, *pair, *outcome, *cost]) + " |"


def _stages(of: dict[str, list["Row"]]) -> list[str]:
    lines = []
    for tool, rows in of.items():
        if not rows[0].stages:
            continue
        seconds = {name: median(row.stages.get(name, 0.0) for row in rows) for name in rows[0].stages}
        listed = ", ".join(f"{name} {spent:.1f}" for name, spent in seconds.items())
        look = {name: median(_look(row, name) / row.stages["embed"] for row in rows) for name in ("profile", "hashing")}
        alone = median(row.hashing_seconds for row in rows)
        ratio = (
            f"Hashing, keypoints and verification take {look['hashing']:.2f} times the embedding: decoding and hashing are "
            f"{alone:.1f} s of profile. With all of profile it is {look['profile']:.2f} times."
        )
        lines.append(f"CPU seconds of {tool} by stage: {listed}. {ratio}\n")
    return lines


def _look(row: "Row", first: str) -> float:
    """Return the CPU seconds of the second look; first: `profile`, or `hashing`, which is what the look needs of it."""
    hashes = row.stages["profile"] if first == "profile" else row.hashing_seconds
    return hashes + sum(row.stages.get(name, 0.0) for name in SECOND_LOOK[1:])


def _kinds(of: dict[str, list["Row"]]) -> list[str]:
    cells: dict[str, dict[str, tuple[int, int]]] = {}
    for tool, rows in of.items():
        for row in rows:
            for name, (joined, total) in row.score.by_kind.items() if row.score else ():
                old = cells.setdefault(name, {}).get(tool, (0, 0))
                cells[name][tool] = (old[0] + joined, old[1] + total)
    kinds = list(dict.fromkeys(name.rsplit(" ", 1)[0] for name in cells))
    lines = ["| | " + " | ".join(of) + " |", "|---" * (len(of) + 1) + "|"]
    for kind in kinds:
        strengths = [name for name in (f"{kind} weak", f"{kind} strong", f"{kind} ") if name in cells]
        shown = [" / ".join(_share(cells[name].get(tool)) for name in strengths) for tool in of]
        lines.append(f"| {kind} | " + " | ".join(shown) + " |")
    return lines


def _share(cell: tuple[int, int] | None) -> str:
    return f"{cell[0] / cell[1]:.2f}" if cell else "-"


def _false(of: dict[str, list["Row"]]) -> list[str]:
    lines = []
    for tool, rows in of.items():
        total: dict[str, int] = {}
        for row in rows:
            for name, count in row.score.false_by_kind.items() if row.score else ():
                total[name] = total.get(name, 0) + count
        top = sorted(total.items(), key=lambda item: -item[1])[:6]
        if rows[0].score is not None:
            lines.append(f"- {tool}: " + (", ".join(f"{name} {count}" for name, count in top) or "none"))
    return lines
