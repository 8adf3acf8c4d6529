"""`imageloom run --plan`: the arithmetic of a run, printed instead of run. Nothing is started, made or written."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from curation.errors import ConfigError
from curation.sources import list_source
from curation.tables import Run
from jobs import estimate as arithmetic
from jobs.capacity import capacity
from jobs.config import Config
from jobs.costs import SOURCE, known
from jobs.rates import kernel_rate
from jobs.runner import Planned

DIMENSIONS = {"efficientnet-lite0": 1280}
"""Width of an embedder's vectors where it is known without loading it; 512 is assumed of others."""

MEAN_IMAGE_BYTES = 200_000
"""Length assumed of an image that nobody has listed."""


def images_of(text: str) -> int:
    """Return a number of images written as 1000000, 1_000_000 or 1e6; raises ConfigError for anything else or below 1."""
    try:
        number = float(text)
    except ValueError:
        raise ConfigError(f"--images {text}: a number is wanted, such as 1000000 or 1e9") from None
    if not 1 <= number < 1e15 or number != int(number):
        raise ConfigError(f"--images {text}: it must be a whole number of at least 1 and below 1e15")
    return int(number)


def dry_run(config: Config, run: Run, stages: Sequence[Planned], *, images: str | None, cluster: str | None) -> dict[str, Any]:
    """Return the plan of running `stages` as JSON values.

    images: their number; None lists the source. cluster: see `jobs.capacity.capacity`; None is this machine.
    Raises SourceError when the source has to be listed and cannot be, ConfigError for a wrong number or cluster.
    """
    begun = bool(run.num_parts("images"))
    number = images_of(images) if images is not None else list_source(config.source, part_rows=config.ingest.part_rows).num_items
    scale = arithmetic.Scale(
        images=number,
        image_bytes=_mean_bytes(run) if begun else MEAN_IMAGE_BYTES,
        dimension=_dimension(config, run),
        part_rows=config.ingest.part_rows,
        base_images=_base_images(config),
    )
    offered = capacity(cluster, num_cpus=config.ray.num_cpus)
    rates = arithmetic.Rates(*(kernel_rate(dimension=scale.dimension, dtype=kind) for kind in ("fp32", config.join.dtype)))
    asked = arithmetic.Question(config, stages, scale, offered, known(run if begun else None, method=config.dedup.method), rates)
    return arithmetic.as_json(asked)


def show(plan: dict[str, Any]) -> None:
    """Print a plan for a person."""
    console = Console(width=None if Console().is_terminal else 130)
    cluster = ", ".join(f"{kind['nodes']} x {kind['name']} ({_offers(kind)})" for kind in plan["cluster"])
    console.print(f"{plan['images']:,} images on {cluster}. Nothing has been run.", highlight=False)
    console.print(_stages(plan))
    for line in _graph(plan["graph"]) + _closing(plan):
        console.print(line, highlight=False)


def _offers(kind: dict[str, Any]) -> str:
    said = [f"{kind['cores']} cores"] + ([f"{kind['gpus']:g} GPUs"] if kind["gpus"] else [])
    return ", ".join(said + ([f"{kind['memory_bytes'] / 1e9:.0f} GB"] if kind["memory_bytes"] else []))


def _stages(plan: dict[str, Any]) -> Table:
    columns = ("stage", "tasks", "CPU h", "GPU h", "wall h", "read", "written", "memory per node", "basis")
    table = Table(*columns, box=None, pad_edge=False)
    limit = min((kind["memory_bytes"] for kind in plan["cluster"] if kind["memory_bytes"]), default=float("inf"))
    for row in plan["stages"]:
        memory = size(row["node_bytes"]) + ("  TOO MUCH" if row["node_bytes"] > limit else "")
        hours = [duration(row[key]) for key in ("cpu_hours", "gpu_hours", "wall_hours")]
        table.add_row(
            row["stage"], f"{row['tasks']:,}", *hours, size(row["read_bytes"]), size(row["written_bytes"]), memory, row["basis"]
        )
    total = plan["totals"]
    hours = [duration(total[key]) for key in ("cpu_hours", "gpu_hours", "wall_hours")]
    table.add_row("total", "", *hours, "", size(total["written_bytes"]), size(total["largest_node_bytes"]), "")
    return table


def _graph(graph: dict[str, Any]) -> list[str]:
    lists = f"{graph['lists']:,} lists" if graph["lists"] > 1 else "no lists, every pair"
    return [
        f"The graph ({graph['method']}): {lists}; {graph['products']:.3g} products of {graph['dimension']} terms = "
        f"{graph['flops']:.3g} FLOP; comparing every pair once would be {graph['brute_flops']:.3g}.",
        f"Vectors in working order {size(graph['stored_bytes'])}; {graph['edges']:.3g} edges = {size(graph['edge_bytes'])}, "
        f"reduced to forests of at most {size(graph['forest_bytes'])}; union-find's parents {size(graph['parent_bytes'])}.",
    ]


def _closing(plan: dict[str, Any]) -> list[str]:
    rates = " and ".join(dict.fromkeys(f"{rate / 1e9:.0f}" for rate in plan["rates"].values()))
    lines = [
        "Measured: rows whose basis names a run or a file, multiplied by the number of images. Computed: rows that say so, from "
        f"operations and {rates} GFLOP/s per core, measured on this machine just now. Wall time assumes idle machines and "
        "storage that keeps up.",
    ]
    if any(row["basis"] == SOURCE for row in plan["stages"]):
        lines.append(f"Figures of {SOURCE} are of photographs; a run of a thousand of your own gives better ones.")
    if plan["base"]:
        lines.append(
            f"The number is that of the new images; stages that look at the whole collection also see the "
            f"{plan['scale']['base_images']:,} of {plan['base']}."
        )
    if plan["totals"]["unknown"]:
        lines.append(f"Not measured by anyone, and not in the totals: {', '.join(plan['totals']['unknown'])}.")
    return lines


def size(value: float) -> str:
    """Return bytes with three digits and a unit."""
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f} B" if value else ""


def duration(hours: float | None) -> str:
    """Return hours, or seconds below a hundredth of an hour."""
    if not hours:
        return ""
    if hours < 0.01:
        return f"{3600 * hours:.2g} s"
    return f"{hours:,.2f}" if hours < 100 else f"{hours:,.0f}"


def print_plan(
    config: Config, run: Run, stages: Sequence[Planned], *, images: str | None, cluster: str | None, as_json: bool
) -> None:
    """Print the plan of running `stages` as text or as one JSON value."""
    plan = dry_run(config, run, stages, images=images, cluster=cluster)
    plan["base"] = config.base
    print(json.dumps(plan, indent=1)) if as_json else show(plan)


def _base_images(config: Config) -> int:
    """Return how many images come with the base; raises ConfigError when it is no run."""
    if config.base is None:
        return 0
    base = Run(config.base)
    if not base.has("images"):
        raise ConfigError(f"base {config.base} is not a finished run: it has no complete images/")
    return int(base.offsets("images")[-1])


def _mean_bytes(run: Run) -> float:
    lengths = run.read("images", ["length"])["length"].drop_null()
    return float(sum(lengths.to_pylist()) / len(lengths)) if len(lengths) else MEAN_IMAGE_BYTES


def _dimension(config: Config, run: Run) -> int:
    if run.has("embeddings"):
        return int(run.read_part("embeddings", 0, ["embedding"]).schema.field("embedding").type.list_size)
    return DIMENSIONS.get(config.embed.model, 512)
