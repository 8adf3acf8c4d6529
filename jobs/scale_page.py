"""docs/scale.md: the arithmetic of deduplication up to a billion images, next to the paper's figure and to what is measured here.

Every number on the page comes out of `graph/cost.py`, the settings' defaults or a benchmark's record, so it cannot drift from
the code; a test compares the page with what this module would write.
"""

import json
import statistics
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

from graph import cost
from graph.lists import Group
from graph.quantiser import ITERATIONS, SAMPLE_PER_LIST, TWO_LEVEL_LISTS, default_lists
from jobs import estimate
from jobs.config_graph import JoinConfig, KnnConfig
from jobs.costs import SHIPPED
from jobs.dry_run import size
from jobs.edges import PAIRS_PER_PART
from jobs.join import COMPARISONS, MOST_TASKS
from jobs.lists import BYTES_PER_NUMBER
from jobs.scale_gpu import exact_rate, gpu_part, run_on_gpu, text

ROOT = Path(__file__).parent.parent

DIMENSION = 512
SIZES = (10**5, 10**6, 10**7, 10**8, 10**9)

PAPER_HOURS, PAPER_GPUS, PAPER_ITEMS = 8.0, 8, 10**9
"""Z-Image, arXiv 2511.22699, section 2.2: index construction and 100-NN querying of a billion items on 8 H800."""

H800_FLOPS = 600e12
"""Attained dense bf16 operations per second that is assumed of an H800; its data sheet says 990e12. Not measured by us."""

ASSUMED_FLOPS = 50e9
"""Operations per second and core where nothing was measured."""

MEASURES = ("cpu_seconds", "peak_bytes", "recall_0.70", "recall_copies_0.70")
"""What the page repeats of RECORD."""

MAPS_PER_PROCESS = 65_530
"""Linux's default of vm.max_map_count: memory-mapped files of one process."""

NODE_BYTES = 512e9
"""Memory of the nodes of the example."""

OF_BASE_BYTES = 28
"""Memory per image of a base: its representative, community and keeper, and the similarity to it."""

FILES_PER_GROUP = len(fields(Group))
"""Arrays of one group of LISTS, each a file that a task of `join` maps."""


RECORD = ROOT / "benchmarks" / "results" / "knn.json"
"""What benchmarks/knn.py measured."""


MILLION = ROOT / "benchmarks" / "results" / "million.json"
"""What benchmarks/million.py measured."""


def measured() -> list[dict[str, Any]]:
    """Return one row per number of vectors and method that RECORD holds, medians over seeds; none without it."""
    if not RECORD.exists():
        return []
    results = json.loads(RECORD.read_text(encoding="utf-8"))["results"]
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["count"], result["method"]), []).append(result)
    return [
        {"count": count, "method": method} | {key: statistics.median(row[key] for row in rows) for key in MEASURES}
        for (count, method), rows in sorted(groups.items())
    ]


def rate() -> float:
    """Return the operations per CPU second of the largest exact join that RECORD holds."""
    exact = [row for row in measured() if row["method"] == "exact"]
    return cost.flops(cost.all_pairs(exact[-1]["count"]), DIMENSION) / exact[-1]["cpu_seconds"] if exact else ASSUMED_FLOPS


def sizes(rows: int) -> dict[str, float]:
    """Return every quantity of the similarity route for `rows` vectors of DIMENSION with default settings."""
    join_settings = JoinConfig()
    lists = default_lists(rows)
    quantiser = cost.quantiser(
        rows, lists=lists, sample_per_list=SAMPLE_PER_LIST, iterations=ITERATIONS, two_level_from=TWO_LEVEL_LISTS
    )
    joined = cost.join(rows, dimension=DIMENSION, lists=lists, nprobe=join_settings.nprobe, imbalance=estimate.IMBALANCE)
    components = cost.Components(rows, rows * estimate.EDGES_PER_IMAGE)
    assigning = cost.flops(quantiser.assigning(rows, descend=join_settings.descend), DIMENSION)
    training = cost.flops(quantiser.training, DIMENSION)
    handled = (rows + estimate.read_by_quantise(rows, quantiser)) * DIMENSION * estimate.HANDLED_SECONDS
    seconds = (training + assigning + joined.flops) / rate() + handled
    return {
        "vectors": float(rows * DIMENSION * cost.HALF_BYTES),
        "stored": joined.stored_bytes,
        "read": joined.read_bytes,
        "lists": lists,
        "centroids": (lists + quantiser.cells) * DIMENSION * 4.0,
        "training": training,
        "assigning": assigning,
        "joining": joined.flops,
        "brute": cost.flops(cost.all_pairs(rows), DIMENSION),
        "handled": handled,
        "core_hours": seconds / 3600,
        "groups": -(-rows // group_rows()),
        "join_tasks": min(max(1.0, joined.products / COMPARISONS), float(MOST_TASKS)),
        "edges": components.edges,
        "edge_bytes": components.edge_bytes,
        "edge_parts": max(1.0, components.edges / PAIRS_PER_PART),
        "forest": components.forest_bytes,
        "parent": components.parent_bytes,
    }


def group_rows() -> int:
    """Return how many vectors of DIMENSION are in a group of LISTS by default."""
    return (JoinConfig().memory_mb << 20) // (BYTES_PER_NUMBER * DIMENSION)


ROWS: tuple[tuple[str, str, str], ...] = (
    ("EMBEDDINGS, float16", "vectors", "bytes"),
    ("the same in list order (LISTS)", "stored", "bytes"),
    ("read from LISTS by all joins, at most", "read", "bytes"),
    ("lists", "lists", "count"),
    ("CENTROIDS, float32, in every worker", "centroids", "bytes"),
    ("training the quantiser, FLOP", "training", "power"),
    ("assigning every vector, FLOP", "assigning", "power"),
    ("joining, FLOP", "joining", "power"),
    ("every pair once instead, FLOP", "brute", "power"),
    ("all three steps with reading and writing, core hours", "core_hours", "hours"),
    ("tasks of `lists`", "groups", "count"),
    ("tasks of `join`", "join_tasks", "count"),
    ("edges", "edges", "power"),
    ("EDGES, uncompressed", "edge_bytes", "bytes"),
    ("tasks of `edges`", "edge_parts", "count"),
    ("forests of the edges, at most", "forest", "bytes"),
    ("union-find's parents, in one place", "parent", "bytes"),
)
"""What the table shows: words, key of `sizes`, and how a value is written."""


def scale_page() -> str:
    """Return docs/scale.md."""
    return "\n".join([*_opening(), *_table(), *_paper(), *_measured(), *_limits(), *_own(), ""])


def _opening() -> list[str]:
    return [
        "# Scale\n",
        text(
            """Written by `python -m jobs.document` from `jobs/scale_page.py`. What deduplication by
            `dedup.method: similarity` takes from a hundred thousand images to a billion: quantiser, lists,
            join, edges, components. **The table is arithmetic, not a measurement**; what was measured follows
            below it. For your own number of images and cluster:"""
        ),
        "    imageloom run my-run.yaml --plan --images 1e9 --cluster nodes=8,cores=64,memory_gb=512\n",
    ]


def _points(*points: str) -> list[str]:
    lines = [
        textwrap.fill("- " + " ".join(point.split()), 120, subsequent_indent="  ", break_on_hyphens=False) for point in points
    ]
    return [*lines, ""]


def _table() -> list[str]:
    columns = [sizes(rows) for rows in SIZES]
    head = "| " + " | ".join(["images", *(f"{rows:.0e}".replace("+0", "") for rows in SIZES)]) + " |"
    body = ["| " + " | ".join([words, *(_written(column[key], kind) for column in columns)]) + " |" for words, key, kind in ROWS]
    settings = JoinConfig()
    origin = "the rate of the largest exact join measured below" if measured() else "which nobody has measured yet"
    return [
        "## The arithmetic\n",
        head,
        "|---|" + "---|" * len(SIZES),
        *body,
        "",
        text(
            f"""Assumed: {DIMENSION} dimensions; `join` at its defaults (at most {settings.nprobe} lists per vector,
            descend {settings.descend}, {settings.memory_mb} MB per worker); unequal lists raise the products by
            {estimate.IMBALANCE:g}; {estimate.EDGES_PER_IMAGE:g} edges per image; {rate() / 1e9:.0f} GFLOP/s per core in float32,
            {origin}; {1e9 * estimate.HANDLED_SECONDS:g} ns to read a number, convert it, put it in order and write it. A
            CPU that multiplies bfloat16 natively is some times faster at the join. A product of two vectors of d terms is
            2 d FLOP. Formulae: `graph/cost.py`."""
        ),
    ]


def _paper() -> list[str]:
    billion = sizes(PAPER_ITEMS)
    gpu_seconds = PAPER_HOURS * 3600 * PAPER_GPUS
    budget = gpu_seconds * H800_FLOPS
    work = billion["training"] + billion["assigning"] + billion["joining"]
    per_item = 1e6 * gpu_seconds / PAPER_ITEMS
    us_per_item = 3.6e9 * billion["core_hours"] / PAPER_ITEMS
    most = max((row["count"] for row in measured()), default=0)  # recall is not measured by benchmarks/million.py
    minutes = billion["read"] / 2e9 / PAPER_GPUS / 60
    return [
        "## Next to the paper\n",
        text(
            f"""Z-Image (arXiv 2511.22699, section 2.2) reports about {PAPER_HOURS:g} hours for a billion items on
            {PAPER_GPUS} H800, index construction and 100-NN queries; embedding and communities are not said
            to be inside, and neither dimension nor embedder is named. We have run nothing at that size;
            {run_on_gpu()} The arithmetic says:"""
        ),
        "| | a billion items |",
        "|---|---|",
        f"| the paper's budget | {PAPER_HOURS * PAPER_GPUS:g} GPU hours = {per_item:.0f} us of one GPU per item |",
        f"| what that budget could compute at {H800_FLOPS / 1e12:.0f} TFLOP/s attained (assumed) | {_power(budget)} FLOP |",
        f"| every pair once at {DIMENSION} dimensions | {_power(billion['brute'])} FLOP = "
        f"{cost.hours(billion['brute'], per_second=H800_FLOPS * PAPER_GPUS):.0f} hours on {PAPER_GPUS} such GPUs |",
        *_exact_on_gpu(billion["brute"]),
        f"| our three steps | {_power(work)} FLOP = {100 * work / billion['brute']:.3f} % of that |",
        f"| our three steps on CPU cores | {billion['core_hours']:.0f} core hours, {us_per_item:.0f} us of one core per item, "
        "storage not counted |",
        f"| reading LISTS once per probe at 2 GB/s per node, {PAPER_GPUS} nodes (assumed) | {minutes:.0f} minutes |",
        "",
        text(
            f"""So the paper's time is no limit of arithmetic: lists leave out all but a small share of the
            products, and what remains is reading. The two results differ, though. Theirs is each item's 100
            nearest; ours is every pair above a threshold that the lists bring together, which keeps groups of
            more than 100 copies whole: in a graph of k nearest neighbours a group of s copies has at most 2 k
            / (s - 1) of its pairs ({100 * cost.truncation(500, 100):.0f} % for s = 500 and k = 100), and a
            method that asks for density divides it. The share of true pairs that lists
            miss is measured up to {most:,} vectors only."""
        ),
    ]


def _exact_on_gpu(brute: float) -> list[str]:
    rate = exact_rate()
    words = "the same at {:.0f} TFLOP/s, which our exact join attained on one GPU, see below"
    said = words.format((rate or 0) / 1e12)
    return [f"| {said} | {cost.hours(brute, per_second=rate * PAPER_GPUS):.0f} hours on {PAPER_GPUS} |"] if rate else []


def _limits() -> list[str]:
    billion = sizes(10**9)
    maps = FILES_PER_GROUP * billion["groups"]
    held = ", ".join(f"`{name}` {SHIPPED[name][3]:,.0f} bytes" for name in ("exact", "components", "duplicates", "select"))
    pairs = 1e9 * KnnConfig().k * estimate.PAIRS_PER_NEIGHBOUR
    most_images = MAPS_PER_PROCESS // FILES_PER_GROUP * group_rows()
    return [
        "## Where it would stop\n",
        "Known from the arithmetic and the code, not from running it:\n",
        *_points(
            f"""Every worker of `join` and every task of `nearest` maps {FILES_PER_GROUP} files per group of LISTS, `partition`
            one. A billion images at the default `join.memory_mb` make {billion["groups"]:,.0f} groups and {maps:,.0f} maps;
            Linux allows {MAPS_PER_PROCESS:,} per process, which are used up at {_power(most_images)} images. Twice the
            `join.memory_mb` (or `knn.memory_mb`) makes half as many.""",
            f"CENTROIDS are held by every worker of `lists`: {size(billion['centroids'])} each at a billion.",
            f"""Stages that look at all images go through them in bins of a fixed number of rows, in one task each: an
            image of a bin costs {held} (tiled tables, benchmarks/costs.py).""",
            f"""Still in one memory, so that a node of {NODE_BYTES / 1e9:.0f} GB is full at the images in brackets: {_whole()};
            `caption_fit`, when a rule asks for it, {estimate.FIT_BYTES:,.0f} bytes per image
            ({_power(NODE_BYTES / estimate.FIT_BYTES)}). `partition` over a `base` holds
            {OF_BASE_BYTES} bytes for each of its images in every worker, `knn.engine: exact` and `faiss` all vectors, and
            `placeholders` the captions of one group. `--plan` marks what a node cannot hold as TOO MUCH.""",
            f"""`verify` reads whole parts of KEYPOINTS for the few images it needs of each. A billion images at
            {KnnConfig().k} neighbours are {pairs:.2g} pairs; their keypoints alone, read once per pair, are
            {size(pairs * SHIPPED["keypoints"][1])}, and most of what is read with them is thrown away: the bandwidth of
            the storage decides how long it takes. Method `similarity` has no such step, `fast` compares hashes only.""",
            """A part is one file with one commit record; a billion images in parts of 256 are four million files
            per table. Raise `ingest.part_rows` to some ten thousand before a run of that size, and
            `verify.pairs_per_item` to a hundred thousand: its parts are read again by one task of `components`. Such
            tasks run for hours; `ray.item_timeout_seconds` must allow them.""",
            "The run folder is a file system that all nodes mount; its bandwidth is not in the table.",
        ),
    ]


def _whole() -> str:
    """Return what the stages of whole columns hold per image, and where a node ends."""
    names = [name for name in ("concepts", "balance", "shares") if SHIPPED.get(name, (0.0,) * 4)[3]]
    said = [f"`{name}` {SHIPPED[name][3]:,.0f} bytes per image ({_power(NODE_BYTES / SHIPPED[name][3])})" for name in names]
    return ", ".join(said) or "`concepts`, `balance` and `shares` (not measured)"


def _own() -> list[str]:
    return [
        "## What `--plan` measures and what it computes\n",
        text(
            """A stage whose work is a multiple of the number of images is *measured*: CPU seconds and bytes per
            image come from the commit records of the run folder where there are any, else from
            `benchmarks/results/costs.json`. The stages of the similarity graph are *computed* from products
            and the rates above. A stage that nobody has measured is named and left out of the totals. It takes
            no figure of a GPU from this page: a measured stage needs a run of yours with `ray.gpus`, and `lists` and
            `join` are computed as on CPU cores even where they get a GPU."""
        ).rstrip(),
    ]


def _measured() -> list[str]:
    lines = [*_joins(), *_whole_route()] or ["Nothing yet: neither benchmarks/knn.py nor benchmarks/million.py has been run.\n"]
    return ["## What is measured here\n", *lines, *gpu_part(PAPER_HOURS * PAPER_GPUS, f"{PAPER_GPUS} H800")]


def _joins() -> list[str]:
    if not measured():
        return []
    about = json.loads(RECORD.read_text(encoding="utf-8"))
    return [
        text(
            f"""**Joins.** Pairs of at least .70 among planted vectors of {DIMENSION} dimensions, one thread, {about["cpu"]};
            medians over seeds ([benchmarks/results/knn.md](../benchmarks/results/knn.md)). *Computed*
            is what the formulae above say of the same number of vectors at the same rate; it leaves out reading, sorting and
            start-up."""
        ),
        "| vectors | method | CPU s | computed | us per vector | recall | recall of copies | peak MB |",
        "|---|---|---|---|---|---|---|---|",
        *(_measurement(row) for row in measured()),
        "",
    ]


def _whole_route() -> list[str]:
    """Return what benchmarks/million.py measured of the whole route through the runner."""
    if not MILLION.exists():
        return []
    about = json.loads(MILLION.read_text(encoding="utf-8"))
    rows = sorted(about["results"], key=lambda row: (row["count"], row["memory_mb"]))
    lines = [
        text(
            f"""**The whole route**, from EMBEDDINGS to DUPLICATES through the runner: Ray, commits, checksums, Parquet;
            {rows[0]["cores"]} cores, {about["cpu"]}
            ([benchmarks/results/million.md](../benchmarks/results/million.md)). *Computed* is training, assigning and joining
            by the formulae above at the rates above, with reading and writing, for the stages quantise, lists and join; it leaves
            out starting workers."""
        ),
        "| vectors | memory_mb | wall s | CPU s | CPU us per vector | quantise, lists, join: CPU s | computed | peak GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        found = sizes(row["count"])
        work = 3600 * found["core_hours"]
        graph = sum(stage["cpu_seconds"] for stage in row["stages"] if stage["stage"] in ("quantise", "lists", "join"))
        lines.append(
            f"| {row['count']:,} | {row['memory_mb']} | {row['wall_seconds']:.0f} | {row['cpu_seconds']:.0f} | "
            f"{1e6 * row['cpu_seconds'] / row['count']:.0f} | {graph:.0f} | {work:.0f} | {row['peak_bytes'] / 1e9:.2f} |"
        )
    return [*lines, ""]


def _measurement(row: dict[str, Any]) -> str:
    found = sizes(row["count"])
    work = {"ivf": found["training"] + found["assigning"] + found["joining"], "exact": found["brute"]}.get(row["method"])
    computed = "" if work is None else f"{work / rate():.1f}"
    cells = [
        f"{row['count']:,}",
        row["method"],
        f"{row['cpu_seconds']:.1f}",
        computed,
        f"{1e6 * row['cpu_seconds'] / row['count']:.0f}",
        f"{row['recall_0.70']:.4f}",
        f"{row['recall_copies_0.70']:.4f}",
        f"{row['peak_bytes'] / 1e6:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _written(value: float, kind: str) -> str:
    if kind == "bytes":
        return size(value)
    if kind == "power":
        return _power(value)
    if kind == "hours":
        return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
    return f"{value:,.0f}"


def _power(value: float) -> str:
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"
