"""What docs/scale.md says of GPUs: what one took at up to ten million vectors, and what its rates make of a billion.

Every figure comes out of benchmarks/results/join_gpu.json (benchmarks/join_gpu.py wrote it) or out of graph/cost.py; where there
is no record, the page says how to use a GPU and nothing more.
"""

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph import cost
from graph.quantiser import ITERATIONS, SAMPLE_PER_LIST, default_lists
from jobs import estimate
from jobs.config_graph import JoinConfig

RECORD = Path(__file__).parent.parent / "benchmarks" / "results" / "join_gpu.json"
"""What benchmarks/join_gpu.py measured on one GPU."""

DIMENSION = 512
BILLION = 10**9

JOINED = "all pairs of at least .70, by lists"
NEAREST = "100 nearest"
OURS = {"ivf": JOINED, "exact": "the same, every pair compared", NEAREST: f"{NEAREST}, by lists"}


def text(words: str) -> str:
    """Return a paragraph in lines of at most 120 characters, with the empty line that ends it."""
    return textwrap.fill(" ".join(words.split()), 120, break_long_words=False, break_on_hyphens=False) + "\n"


def measured_on_gpu() -> list[dict[str, Any]]:
    """Return what RECORD holds of our own pieces and FAISS's, by kind and number of vectors; none without it.

    A piece that was repeated counts as it was the last time, when kernels were loaded. `recall` of a join is added to its row.
    """
    if not RECORD.exists():
        return []
    rows = [row for row in json.loads(RECORD.read_text(encoding="utf-8"))["rows"] if "error" not in row]
    recall = {row["vectors"]: row["recall"] for row in rows if row["piece"] == "ivf recall"}
    last = {(row["piece"], row["vectors"]): row for row in rows if row["piece"] in OURS or row["piece"].startswith("faiss ")}
    found = [({"recall": recall.get(row["vectors"])} if row["piece"] == "ivf" else {}) | row for row in last.values()]
    return sorted(found, key=lambda row: (row["piece"] not in OURS, [*OURS, row["piece"]].index(row["piece"]), row["vectors"]))


def largest(piece: str) -> dict[str, Any]:
    """Return the row of a piece with the most vectors."""
    return max((row for row in measured_on_gpu() if row["piece"] == piece), key=lambda row: row["vectors"])


def run_on_gpu() -> str:
    """Return the part of a sentence that says how many vectors a GPU has seen."""
    most = max((row["vectors"] for row in measured_on_gpu()), default=0)
    return f"on one GPU we have run {most:,} vectors, see below." if most else "nothing either on a GPU."


def exact_rate() -> float | None:
    """Return the operations per second of the largest join of every pair, its pairs taken and sorted; None without a record."""
    if not measured_on_gpu():
        return None
    row = largest("exact")
    return cost.flops(cost.all_pairs(row["vectors"]), DIMENSION) / float(row["steps"]["join"])


def gpu_part(budget_hours: float, cards: str) -> list[str]:
    """Return the lines about GPUs, next to a budget in GPU hours of some cards for a billion items."""
    lines = [
        text(
            """**On a GPU.** `ray.gpus: {lists: 1, join: 1}` gives the stages `lists` and `join` a GPU each, and `join.device:
            auto` uses it: that needs torch and nothing else, and finds the same pairs but for those whose cosine is at the
            threshold to the last bits. The 100 nearest of every vector are a function so far
            (`graph.nearest_gpu.nearest_on`), no stage of a run; it holds all vectors on the GPU. FAISS's own indexes
            (`join.engine: faiss`, `knn.engine: faiss`) search there when the wheel can. The wheels faiss-cpu and faiss-gpu both
            install the module `faiss`, so the first must go and the second be written again:"""
        ),
        "    pip install '.[faiss-gpu]'                # CUDA 12, with libraries of its own beside those of torch",
        "    pip uninstall faiss-cpu",
        "    pip install --force-reinstall --no-deps faiss-gpu\n",
        text(
            """For CAGRA, beside a torch built for CUDA 13: `pip uninstall faiss-cpu faiss-gpu`, then `pip install --no-deps
            faiss-gpu-cuvs libcuvs-cu13==26.6.* libraft-cu13==26.6.* librmm-cu13==26.6.* rapids-logger`. That wheel asks
            for a newer cuBLAS than torch allows, so it cannot be an extra; without its dependencies it ran beside torch
            2.11, and the figures of FAISS below are its."""
        ),
    ]
    return [*lines, *_seconds(), *_billion(budget_hours, cards)] if measured_on_gpu() else lines


def _seconds() -> list[str]:
    about = json.loads(RECORD.read_text(encoding="utf-8"))
    on_cpu = next((row for row in about["rows"] if row["piece"] == "ivf on one core of the CPU"), None)
    beside = f"One core of that machine's CPU took {on_cpu['cpu_seconds']:.0f} s for the first row. " if on_cpu else ""
    lines = [
        text(
            f"""Measured on one {about["device"]}: planted vectors of {DIMENSION} dimensions, from float16 in host memory to pairs
            there; no files, no Ray ([benchmarks/results/gpu.md](../benchmarks/results/gpu.md) has the steps):"""
        ),
        "| | vectors | seconds | us per vector | pairs | recall |",
        "|---|---|---|---|---|---|",
    ]
    for row in measured_on_gpu():
        name = OURS.get(row["piece"]) or f"{row['piece'].replace('faiss', 'FAISS')}, k = 100"
        each = 1e6 * row["seconds"] / row["vectors"]
        recall = 1.0 if row["piece"] == "exact" else row["recall"]
        pairs = f"{row['pairs']:,}" if "pairs" in row and row.get("asked", row["vectors"]) == row["vectors"] else ""
        lines.append(f"| {name} | {row['vectors']:,} | {row['seconds']:.1f} | {each:.2f} | {pairs} | {recall:.4f} |")
    return [
        *lines,
        "",
        text(
            f"""{beside}Recall is of the true pairs of at least .70, for "{NEAREST}" of the true 100 nearest. A FAISS row asks for
            the 100 nearest of every vector and keeps the pairs: planted groups of a million vectors are larger than 100, so even
            its exact index, Flat, cannot have the others. FAISS's seconds include bringing neighbours to the CPU and
            computing cosines there, as graph/faiss_index.py does; where not all vectors were asked, they are scaled up."""
        ),
    ]


@dataclass(frozen=True)
class Hours:
    """GPU hours of a billion vectors by the rates of one GPU, step by step."""

    lists: int
    training: float
    assigning: float
    joining: float  # for the 100 nearest: with selecting them
    pairs: float
    copying: float

    @property
    def together(self) -> float:
        """All steps."""
        return self.training + self.assigning + self.joining + self.pairs + self.copying


def hours_of_join(rows: int) -> Hours:
    """Return what the join of `rows` vectors would take at the measured rates, with the settings' defaults."""
    run, exact, settings = largest("ivf"), largest("exact"), JoinConfig()
    joined = cost.join(rows, dimension=DIMENSION, lists=default_lists(rows), nprobe=settings.nprobe, imbalance=estimate.IMBALANCE)
    products = exact["steps"]["join"] / cost.all_pairs(exact["vectors"])
    pairs = run["steps"]["join"] / run["pairs"]  # its products are in it too
    seconds = joined.products * products, rows * estimate.EDGES_PER_IMAGE * pairs
    return _hours(rows, run, default_lists(rows), *seconds, joined.read_bytes)


def hours_of_nearest(rows: int) -> Hours:
    """Return what the 100 nearest of `rows` vectors would take at the measured rates, from sqrt(rows) lists."""
    run = largest(NEAREST)
    lists = round(rows**0.5)
    per_product = run["steps"]["nearest"] / (run["vectors"] ** 2 / run["lists"])
    read = rows * run["probes"] * DIMENSION * cost.HALF_BYTES
    return _hours(rows, run, lists, rows**2 / lists * per_product, 0.0, read)


def _hours(rows: int, run: dict[str, Any], lists: int, joining: float, pairs: float, read: float) -> Hours:
    """Return hours from seconds of joining and of pairs, and bytes that are read; the rest at the rates of `run`."""

    def training(count: int, of: int) -> float:
        sizes = cost.quantiser(of, lists=count, sample_per_list=SAMPLE_PER_LIST, iterations=ITERATIONS, two_level_from=count + 1)
        return sizes.training

    steps, size = run["steps"], DIMENSION * cost.HALF_BYTES
    trained = steps["train"] * training(lists, rows) / training(run["lists"], run["vectors"])
    assigned = steps["probe"] * rows * lists / (run["vectors"] * run["lists"])
    copied = steps["copy"] * (rows * size + read) / (run["vectors"] * size)
    return Hours(lists, *(seconds / 3600 for seconds in (trained, assigned, joining, pairs, copied)))


def _billion(budget_hours: float, cards: str) -> list[str]:
    both = hours_of_join(BILLION), hours_of_nearest(BILLION)
    words = (
        ("training centroids", "training"),
        ("comparing every vector with every centroid", "assigning"),
        ("multiplying in the lists", "joining"),
        ("taking, checking and sorting pairs", "pairs"),
        ("copying vectors to the GPU, once per probe", "copying"),
        ("together", "together"),
    )
    body = [f"| {name} | " + " | ".join(_hour(getattr(one, key)) for one in both) + " |" for name, key in words]
    run, near = largest("ivf"), largest(NEAREST)
    return [
        text(
            f"""**A billion on such a GPU, computed, not run.** GPU hours: every step's measured seconds times how much more of it
            there is (formulae above; {estimate.EDGES_PER_IMAGE:g} pairs per image, where the planted {run["vectors"]:,} had
            {run["pairs"] / run["vectors"]:.0f}; "{NEAREST}" with {near["probes"]:.0f} of sqrt(N) lists probed, as measured):"""
        ),
        f"| GPU hours for a billion | {JOINED} | {NEAREST}, by lists |",
        "|---|---|---|",
        f"| lists | {both[0].lists:,} | {both[1].lists:,} |",
        *body,
        f"| the paper | | {budget_hours:g} on {cards} |",
        "",
        text(
            f"""Not measured, and not in it: reading files and writing them, gathering the visitors of a list in host memory,
            Ray, several GPUs beside one another. Nor is recall at that size: that of the {NEAREST} was {_recalls()}.
            {BILLION * DIMENSION * cost.HALF_BYTES / 1e12:.1f} TB of vectors fit on no GPU. `join` goes through the lists in
            pieces, tested on small ones only; for the {NEAREST} such pieces are not written. So products and pairs of a
            billion are hours of one GPU by these rates, and nobody has seen imageloom do it."""
        ),
    ]


def _recalls() -> str:
    rows = [row for row in measured_on_gpu() if row["piece"] == NEAREST]
    return ", ".join(f"{row['recall']:.2f} with {row['probes']:.0f} lists probed at {row['vectors']:,}" for row in rows)


def _hour(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
