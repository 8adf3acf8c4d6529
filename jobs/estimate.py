"""What a run will take, before anything runs: tasks, CPU and GPU hours, wall time, bytes and memory of every stage.

Enters: a configuration, a number of images, a cluster, and what an image has cost where somebody measured it. Leaves: one
row per stage. Stages whose work grows with the number of images are multiplied out from measured costs; the similarity graph,
whose work grows faster, is computed from products and a rate (`graph/cost.py`). Every row says which of the two it is.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curation.hashing import ORIENTATIONS
from graph import cost
from graph.hashes import EXACT_ROWS as EXACT_HASHES
from graph.hashes import NPROBE as HASH_PROBES
from graph.hierarchy import HELD_LINKS
from graph.quantiser import ITERATIONS, SAMPLE_PER_LIST, TWO_LEVEL_LISTS, default_lists
from jobs import candidates, communities, duplicates, exact, watermarks
from jobs.adopt import ADOPTED
from jobs.capacity import Capacity
from jobs.config import Config
from jobs.costs import PerImage
from jobs.edges import PAIRS_PER_PART
from jobs.join import COMPARISONS, MOST_TASKS
from jobs.knn import ORDERED_ROWS
from jobs.lists import BYTES_PER_NUMBER
from jobs.nearest import QUERY_ROWS
from jobs.quantise import SPARE
from jobs.runner import Planned
from jobs.stage import Stage

IMBALANCE = 2.0
"""By how much unequal lists are planned to raise the number of products (`graph.cost.imbalance`)."""

EDGES_PER_IMAGE = 10.0
"""Pairs above the threshold per image that are planned for; a run's own number takes its place when there is one."""

PAIRS_PER_NEIGHBOUR = 0.67
"""Pairs of EDGES per entry of NEIGHBOURS: two images that list each other make one pair (demo: 33,534 of 49,960)."""

SORT_SECONDS = 2e-7
"""CPU seconds to sort one edge and make it unique (merging in benchmarks/knn.py)."""

HANDLED_SECONDS = 6e-8
"""CPU seconds to read a number of EMBEDDINGS, convert it, put it in order and write it, beside all products: what `lists` and
`quantise` take more than these in benchmarks/million.py."""

NOT_PLANNED = ("train", "sample", "evaluate", "losses", "report")
"""Stages whose cost does not follow from the number of images."""

READS_PIXELS = ("ingest", "profile", "embed", "ocr", "keypoints", "shard")
"""Stages that read the images' own bytes."""

ONE_TASK = ("exact", "hierarchy", "caption_fit", "quantise", "components", "communities", "duplicates", "placeholders",
            "watermarks", "concepts", "balance", "shares")  # fmt: skip
"""Stages that look at the whole collection in one task."""

HASH_SECONDS = 4e-9
"""CPU seconds to compare two hashes of 256 bits in a list of an inverted file (FAISS, one core of the machine of SOURCE)."""

PROCESS_BYTES = 2e8
"""Resident memory of a worker that has loaded numpy, pyarrow and FAISS and holds nothing yet."""

EDGE_MEMORY = 100.0
"""Memory per edge while a range of them is merged: as read, joined, sorted and as a table."""

LISTED_MEMORY = 80.0 * candidates.LISTED_ROWS
"""Memory per neighbour of an item of `candidates`: as listed, as pairs, sorted."""

FIT_SECONDS, FIT_BYTES = 1.5e-4, 1100.0
"""CPU seconds and memory per image of `caption_fit`, on 100,000 captions of twelve words with 20 neighbours each."""

LINK_BYTES = 300.0
"""Memory per link of the graph of lists: igraph's 190 and the arrays it is made of."""


def held_rows(name: str, config: Config) -> float:
    """Return how many images' columns a stage that goes through the whole collection in one task holds at a time."""
    bins = {
        "exact": exact.ROWS_PER_BIN,
        "components": config.components.images_per_item,
        "communities": communities.ROWS_PER_BIN,
        "duplicates": max(duplicates.ROWS_PER_BIN, config.components.images_per_item),
        "hierarchy": config.hierarchy.max_images,
        "placeholders": config.ingest.part_rows,  # and the captions of one group
        "watermarks": watermarks.IMAGES_PER_BIN,
        "select": config.ingest.part_rows,  # and the ids of pictures that lie inside others
    }
    return bins.get(name, math.inf)


@dataclass(frozen=True)
class Estimate:
    """What one stage will take."""

    stage: str
    does: str
    tasks: int
    cpu_hours: float | None  # None: nobody has measured it
    gpu_hours: float | None  # hours that GPUs are held; None: the stage asks for none, or nobody has measured it
    wall_hours: float | None
    read_bytes: float
    written_bytes: float
    node_bytes: float  # memory on one node when every core has a worker
    basis: str  # "computed", or where the cost per image was measured


@dataclass(frozen=True)
class Cost:
    """What a stage takes whatever the cluster: worker seconds, bytes written, memory of one task."""

    seconds: float | None
    written_bytes: float
    task_bytes: float


@dataclass(frozen=True)
class Graph:
    """The arithmetic of the similarity graph."""

    method: str
    rows: int
    dimension: int
    lists: int
    products: float
    flops: float
    edges: float
    edge_bytes: float
    stored_bytes: float
    parent_bytes: float
    forest_bytes: float
    brute_flops: float


@dataclass(frozen=True)
class Scale:
    """The sizes that everything follows from."""

    images: int  # that are new
    image_bytes: float
    dimension: int
    part_rows: int
    base_images: int = 0  # that come with `base`

    @property
    def all_images(self) -> int:
        """New images and the base's."""
        return self.images + self.base_images

    @property
    def new_pairs(self) -> float:
        """The share of all pairs that have a new image: what a join has to look at."""
        return 1.0 - (self.base_images / self.all_images) ** 2

    def seen_by(self, stage: Stage) -> int:
        """Return how many images a stage works on: the new ones where the base's rows stand as they are."""
        return self.images if stage.table in ADOPTED else self.all_images


@dataclass(frozen=True)
class Rates:
    """Operations per second of one core."""

    fp32: float  # float32 products: training, assigning, nearest neighbours
    join: float  # the join's own format


@dataclass(frozen=True)
class Question:
    """What is asked: these stages with these settings, for so many images, on this cluster, at these costs and rates."""

    config: Config
    stages: Sequence[Planned]
    scale: Scale
    capacity: Capacity
    known: Mapping[str, PerImage]
    rates: Rates


def estimate(asked: Question) -> tuple[list[Estimate], Graph]:
    """Return one row per stage that is asked for, in order, training left out, and the graph's arithmetic."""
    graph = graph_of(asked.config, asked.scale)
    computed = _computed(asked.config, asked.scale, graph, asked.rates)
    rows = []
    written: dict[str, float] = {}
    for planned in asked.stages:
        if planned.stage.name not in NOT_PLANNED:
            rows.append(_stage(planned.stage, asked, graph, computed.get(planned.stage.name), written))
            written[planned.stage.table] = rows[-1].written_bytes
    return rows, graph


def graph_of(config: Config, scale: Scale) -> Graph:
    """Return products, operations, edges and memory of the similarity graph of `config.dedup.method`."""
    rows, dimension = scale.all_images, scale.dimension
    if config.dedup.method == "similarity":
        exact = config.join.engine == "exact" or (config.join.engine == "auto" and rows <= 200_000)
        lists = 1 if exact else config.join.nlist or default_lists(rows)
        joined = cost.join(rows, dimension=dimension, lists=lists, nprobe=1 if exact else config.join.nprobe,
                           imbalance=1.0 if exact else IMBALANCE)  # fmt: skip
        products, stored, edges = joined.products, joined.stored_bytes, rows * EDGES_PER_IMAGE
    else:
        exact = config.knn.engine == "exact" or (config.knn.engine == "auto" and rows <= 200_000)
        lists = 1 if exact else config.knn.nlist or default_lists(rows)
        products = float(rows) * rows * (1.0 if exact else IMBALANCE * config.knn.nprobe / lists)
        stored = rows * dimension * (4.0 if exact else cost.HALF_BYTES)
        edges = rows * config.knn.k * PAIRS_PER_NEIGHBOUR
    joined_rows = cost.Components(rows, edges)
    return Graph(
        method=config.dedup.method,
        rows=rows,
        dimension=dimension,
        lists=lists,
        products=products * scale.new_pairs,
        flops=cost.flops(products * scale.new_pairs, dimension),
        edges=edges,
        edge_bytes=joined_rows.edge_bytes,
        stored_bytes=stored,
        parent_bytes=joined_rows.parent_bytes,
        forest_bytes=joined_rows.forest_bytes,
        brute_flops=cost.flops(cost.all_pairs(rows), dimension),
    )


def _computed(config: Config, scale: Scale, graph: Graph, rates: Rates) -> dict[str, Cost]:
    """Return the cost of the stages of the graph, whose work is no multiple of the number of images."""
    similar = graph.method == "similarity"
    sizes = cost.quantiser(
        scale.all_images,
        lists=graph.lists,
        sample_per_list=SAMPLE_PER_LIST,
        iterations=ITERATIONS,
        two_level_from=TWO_LEVEL_LISTS,
    )
    vector = scale.dimension * HANDLED_SECONDS
    sampled = read_by_quantise(scale.all_images, sizes)
    worker = 1e6 * (config.join.memory_mb if similar else config.knn.memory_mb)
    centroids = (sizes.lists + sizes.cells) * scale.dimension * 4.0
    training = cost.flops(sizes.training if graph.lists > 1 else 0.0, scale.dimension) / rates.fp32
    assigning = cost.flops(sizes.assigning(scale.images, descend=config.join.descend), scale.dimension) / rates.fp32
    stored = graph.stored_bytes * scale.images / scale.all_images
    merging = graph.edges * scale.new_pairs * SORT_SECONDS
    edges = Cost(merging, graph.edge_bytes, worker if similar else PAIRS_PER_PART * EDGE_MEMORY)
    divided = {
        "quantise": Cost(training + sampled * vector, centroids, sizes.sample * scale.dimension * 4.0),
        "lists": Cost(assigning + scale.images * vector, stored, worker + centroids),
        "edges": edges,
    }
    if similar:
        return divided | {"join": Cost(graph.flops / rates.join, graph.edge_bytes, worker)}
    named = scale.images * config.knn.k * 12.0
    found = {"edges": edges, "candidates": _candidates(config, scale, graph)}
    fit = scale.all_images * FIT_SECONDS, scale.all_images * 40.0, 2 * PROCESS_BYTES + scale.all_images * FIT_BYTES
    found["caption_fit"] = Cost(*fit)
    if graph.lists == 1:
        nothing = Cost(0.0, 0.0, PROCESS_BYTES)
        in_memory = Cost(graph.flops / rates.fp32, named, PROCESS_BYTES + 2 * graph.stored_bytes)
        return found | {"quantise": nothing, "lists": nothing, "nearest": nothing, "knn": in_memory}
    asked = QUERY_ROWS * (scale.dimension * 4.0 + 64.0 * config.knn.k)
    ordered = ORDERED_ROWS * config.knn.k * 24.0
    found |= {"nearest": Cost(graph.flops / rates.fp32, named, PROCESS_BYTES + asked)}
    found |= {"knn": Cost(scale.images * config.knn.k * SORT_SECONDS, named, PROCESS_BYTES + ordered)}
    if scale.all_images > config.hierarchy.max_images:
        links = graph.lists * float(HELD_LINKS)
        counted = scale.all_images * config.knn.k * SORT_SECONDS
        found["hierarchy"] = Cost(counted, scale.all_images * 63.0, PROCESS_BYTES + links * LINK_BYTES / 4)
    return divided | found


def read_by_quantise(images: int, sizes: cost.Quantiser) -> int:
    """Return how many vectors are read for a sample: parts of some times its size."""
    return min(images, SPARE * sizes.sample)


def _candidates(config: Config, scale: Scale, graph: Graph) -> Cost:
    """Return the cost of naming pairs: sorting what neighbours name, and the hashes that are compared."""
    answering = min(scale.all_images, candidates.HASH_ROWS)
    blocks = math.ceil(scale.all_images / candidates.HASH_ROWS)
    each = answering if answering <= EXACT_HASHES else (HASH_PROBES + 1) * math.sqrt(answering)
    compared = scale.images * len(ORIENTATIONS) * blocks * each if config.edges.hash_neighbours else 0.0
    seconds = scale.images * config.knn.k * SORT_SECONDS + compared * HASH_SECONDS
    return Cost(
        seconds, graph.edge_bytes, PROCESS_BYTES + max(48.0 * answering + 400.0 * scale.part_rows, LISTED_MEMORY * config.knn.k)
    )


def _stage(stage: Stage, asked: Question, graph: Graph, computed: Cost | None, written: Mapping[str, float]) -> Estimate:
    images, capacity = asked.scale.seen_by(stage), asked.capacity
    tasks = tasks_of(stage, asked.config, asked.scale, graph)
    share = asked.config.ray.gpus.get(stage.name, 0.0)
    measured = asked.known.get(stage.name)
    basis = ("computed as on CPU cores" if share else "computed") if computed else measured.source if measured else "not measured"
    found = computed or _measured(measured, images, share, min(images / tasks, held_rows(stage.name, asked.config)))
    if found.seconds is None and measured is not None:
        basis = f"not measured on a GPU ({basis} used none)"
    slots = max(1, int(capacity.gpus / share) if share else capacity.cores)
    pixels = asked.scale.image_bytes if stage.name in READS_PIXELS else 0.0
    hours = None if found.seconds is None else found.seconds / 3600
    return Estimate(
        stage=stage.name,
        does=stage.does,
        tasks=tasks,
        cpu_hours=hours,
        gpu_hours=hours * share if share and hours is not None else None,
        wall_hours=None if found.seconds is None else wall_hours(found.seconds, tasks=tasks, slots=slots),
        read_bytes=images * pixels + sum(written.get(table, 0.0) for table in (*stage.inputs, *stage.optional)),
        written_bytes=found.written_bytes,
        node_bytes=found.task_bytes * min(capacity.node_cores, tasks),
        basis=basis,
    )


def _measured(found: PerImage | None, images: int, share: float, held: float) -> Cost:
    """Return the cost of a stage from the cost of an image; a figure without a GPU says nothing of one with a GPU.

    held: images whose columns one task holds at a time.
    """
    if found is None:
        return Cost(None, 0.0, 0.0)
    seconds = found.wall_seconds if share else found.cpu_seconds
    usable = bool(found.gpus) == bool(share)
    memory = found.peak_bytes + found.held_bytes * held
    return Cost(seconds * images if usable else None, found.written_bytes * images, memory)


def wall_hours(cpu_seconds: float, *, tasks: int, slots: int) -> float:
    """Return the wall time of equal tasks on `slots` workers: full waves, so one task too many costs a whole wave."""
    return math.ceil(tasks / slots) * cpu_seconds / tasks / 3600


def tasks_of(stage: Stage, config: Config, scale: Scale, graph: Graph) -> int:
    """Return how many units of work a stage is cut into."""
    images = scale.seen_by(stage)
    parts = images / scale.part_rows
    edges = graph.edges * scale.new_pairs
    divided = graph.method == "similarity" or graph.lists > 1
    memory_mb = config.join.memory_mb if graph.method == "similarity" else config.knn.memory_mb
    hashed = math.ceil(images / candidates.ASKED_ROWS) * math.ceil(scale.all_images / candidates.HASH_ROWS)
    by_name: dict[str, Callable[[], float]] = {
        "verify": lambda: edges / config.verify.pairs_per_item,
        "confirm": lambda: images / config.components.images_per_item,
        "shard": lambda: max(images * scale.image_bytes / config.shard.max_bytes, images / config.shard.max_samples),
        "lists": lambda: images * scale.dimension * BYTES_PER_NUMBER / (memory_mb << 20) if divided else 1,
        "join": lambda: min(graph.products / COMPARISONS, MOST_TASKS),
        "nearest": lambda: images / QUERY_ROWS if divided else 1,
        "knn": lambda: images / ORDERED_ROWS if divided else parts,
        "candidates": lambda: images / candidates.LISTED_ROWS + (hashed if config.edges.hash_neighbours else 0),
        "edges": lambda: edges / PAIRS_PER_PART,
        "forests": lambda: edges / (PAIRS_PER_PART if graph.method == "similarity" else config.verify.pairs_per_item),
        "partition": lambda: images / config.components.images_per_item,
        "select": lambda: parts if config.select.contained == "keep" else 1,
    }
    if stage.name in by_name:
        return max(1, math.ceil(by_name[stage.name]()))
    if stage.name in ONE_TASK:
        return 1
    return max(1, math.ceil(parts))


def totals(rows: Sequence[Estimate]) -> dict[str, Any]:
    """Return the sums over stages; a stage that nobody has measured is named in `unknown` and not counted."""
    return {
        "cpu_hours": sum(row.cpu_hours or 0.0 for row in rows),
        "gpu_hours": sum(row.gpu_hours or 0.0 for row in rows),
        "wall_hours": sum(row.wall_hours or 0.0 for row in rows),
        "written_bytes": sum(row.written_bytes for row in rows),
        "largest_node_bytes": max((row.node_bytes for row in rows), default=0.0),
        "unknown": [row.stage for row in rows if row.cpu_hours is None],
    }


def as_json(asked: Question) -> dict[str, Any]:
    """Return question and answer as one JSON object."""
    rows, graph = estimate(asked)
    return {
        "images": asked.scale.images,
        "scale": asdict(asked.scale),
        "cluster": [asdict(kind) for kind in asked.capacity.kinds],
        "rates": asdict(asked.rates),
        "stages": [asdict(row) for row in rows],
        "graph": asdict(graph),
        "totals": totals(rows),
    }
