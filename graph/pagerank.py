"""PageRank of a link graph that comes in parts, by power iteration over SciPy's sparse product.

    x' = y + (1 - sum y) v,    y = d A^T D^-1 x

A: links, D: their number per source, d: damping, v: where a random jump lands. The last term returns what dangling nodes hold.
Links lie by source as they are read, so nothing is transposed or sorted across parts: A^T is a sequence of CSC blocks, whose
ones all point into one array, and a link costs 4 bytes plus 8 per source; weights above 1, which are rare, are one matrix of
their own. The vector is float64: at seven million nodes the smallest ranks are 1e-8.

Brin & Page 1998, https://doi.org/10.1016/S0169-7552(98)00110-X; dangling nodes: Langville & Meyer 2004,
https://doi.org/10.1080/15427951.2004.10129091
"""

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sparse
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int32]
Links = tuple[Numbers, Numbers, Numbers]
"""Source, target and count of every link."""

BLOCK_LINKS = 1 << 24
"""Links of one product; fewer would spend more on adding up results of all nodes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transition:
    """A link graph in memory: CSC blocks of ones, the columns of each, and the number of links (or weights) per source."""

    blocks: tuple[tuple[Numbers, sparse.csc_array], ...]
    surplus: sparse.csc_array | None  # (nodes, nodes): weights less 1
    strength: Floats  # (nodes,)

    def spread(self, held: Floats) -> Floats:
        """Return A^T D^-1 `held`: what every node is handed by those that link to it."""
        share = np.divide(held, self.strength, out=np.zeros_like(held), where=self.strength > 0)
        given = np.zeros_like(held)
        for sources, links in self.blocks:
            given += links @ share[sources]
        return given if self.surplus is None else given + self.surplus @ share


def pagerank(
    parts: Iterable[pa.Table],
    *,
    num_nodes: int,
    damping: float = 0.85,
    personalisation: Floats | None = None,
    weighted: bool = True,
    tolerance: float = 1e-6,
) -> Floats:
    """Return the stationary probability of every node, float64 (num_nodes,), summing to 1.

    parts: LINKS, read once. A link may stand in several rows, which add up; a node may link to itself.
    personalisation: where jumps and dangling nodes lead, (num_nodes,), not negative, of any sum above 0; default: anywhere.
    weighted: a link counts `count` times; else once per row.
    tolerance: bound on the L1 distance to the fixed point, which a step of length s leaves at most d / (1 - d) s away.
    Raises ValueError for a node outside [0, num_nodes), a count below 1, and arguments out of range.
    """
    if not 0 <= damping < 1 or not tolerance > 0:
        raise ValueError(f"damping = {damping} must lie in [0, 1) and tolerance = {tolerance} above 0")
    jump = _distribution(personalisation, num_nodes)
    if not num_nodes:
        return jump
    return stationary(transition(parts, num_nodes=num_nodes, weighted=weighted), jump, damping=damping, tolerance=tolerance)


def stationary(links: Transition, jump: Floats, *, damping: float, tolerance: float) -> Floats:
    """Return the fixed point of the iteration, started at `jump`."""
    held = jump
    steps, change = 0, math.inf
    while steps < _enough_steps(damping, tolerance) and change * damping > tolerance * (1 - damping):
        given = damping * links.spread(held)
        moved = given + (1 - given.sum()) * jump
        change = float(np.abs(moved - held).sum())
        held, steps = moved, steps + 1
    logger.info("PageRank of %d nodes: %d steps, the last one moved %.1e", len(jump), steps, change)
    return np.asarray(held / held.sum(), np.float64)


def _enough_steps(damping: float, tolerance: float) -> int:
    """Return after how many steps the bound holds for certain: no step is longer than d times the one before, or than 2."""
    if damping == 0:
        return 1
    return max(1, math.ceil(math.log(tolerance * (1 - damping) / (2 * damping)) / math.log(damping)) + 1)


def _distribution(personalisation: Floats | None, num_nodes: int) -> Floats:
    if personalisation is None:
        return np.full(num_nodes, 1 / max(1, num_nodes))
    if personalisation.shape != (num_nodes,):
        raise ValueError(f"personalisation has shape {personalisation.shape}; the graph has {num_nodes} nodes")
    total = float(personalisation.sum()) if num_nodes else 1.0
    if not np.isfinite(personalisation).all() or (personalisation < 0).any() or not 0 < total < math.inf:
        raise ValueError("personalisation must be finite, not negative, and above 0 somewhere")
    return np.asarray(personalisation / total, np.float64)


def transition(parts: Iterable[pa.Table], *, num_nodes: int, weighted: bool, block_links: int = BLOCK_LINKS) -> Transition:
    """Return the link graph of LINKS parts; raises ValueError for nodes out of range and counts below 1."""
    strength = np.zeros(num_nodes)
    blocks: list[tuple[Numbers, Numbers, Numbers]] = []
    extra: list[tuple[Numbers, Numbers, Floats]] = []
    for source, target, weight in _joined(_checked(parts, num_nodes), block_links):
        strength += np.bincount(source, weight if weighted else None, minlength=num_nodes)
        if weighted:
            heavy = np.flatnonzero(weight > 1)
            extra.append((source[heavy], target[heavy], weight[heavy].astype(np.float64) - 1))
        blocks.append(_by_source(source, target))
    ones = np.ones(max((len(targets) for _, _, targets in blocks), default=0))
    matrices = tuple(
        (sources, sparse.csc_array((ones[: len(targets)], targets, start), shape=(num_nodes, len(sources))))
        for sources, start, targets in blocks
    )
    return Transition(matrices, _surplus(extra, num_nodes), strength)


def _checked(parts: Iterable[pa.Table], num_nodes: int) -> Iterator[Links]:
    for part in parts:
        if not part.num_rows:
            continue
        for name in ("source", "target"):
            span = pc.min_max(part.column(name)).as_py()
            if span["min"] < 0 or span["max"] >= num_nodes:
                raise ValueError(f"LINKS.{name} reaches from {span['min']} to {span['max']}; there are {num_nodes} nodes")
        weight = part.column("count").to_numpy()
        if weight.min() < 1:
            raise ValueError(f"LINKS.count is {weight.min()}; a link that is there counts 1 or more")
        source, target = (part.column(name).to_numpy().astype(np.int32) for name in ("source", "target"))
        yield source, target, weight


def _joined(parts: Iterable[Links], block_links: int) -> Iterator[Links]:
    """Join neighbouring parts until there are `block_links` links."""
    held: list[Links] = []
    for part in parts:
        held.append(part)
        if sum(len(source) for source, _, _ in held) >= block_links:
            yield _concatenated(held)
            held = []
    if held:
        yield _concatenated(held)


def _concatenated(held: list[Links]) -> Links:
    source, target, weight = (np.concatenate(column) for column in zip(*held, strict=True))
    return source, target, weight


def _by_source(source: Numbers, target: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return the sources that link, where the targets of each begin, and the targets."""
    if (source[1:] < source[:-1]).any():
        order = np.argsort(source, kind="stable")
        source, target = source[order], target[order]
    first = np.flatnonzero(np.concatenate([[True], source[1:] != source[:-1]]))
    return source[first], np.append(first, len(source)).astype(np.int32), target


def _surplus(extra: list[tuple[Numbers, Numbers, Floats]], num_nodes: int) -> sparse.csc_array | None:
    if not any(len(weights) for _, _, weights in extra):
        return None
    source, target, weight = (np.concatenate(column) for column in zip(*extra, strict=True))
    return sparse.csc_array((weight, (target, source)), shape=(num_nodes, num_nodes))
