"""Unit vectors with planted near duplicates and the truth about them: the data on which methods of deduplication are compared.

Background vectors lie in power-law topics and sub-topics around a shared mean. 64 % of the rows are unique; 22 % are planted
groups, a source and copies of it (cosine to the source .75-.99), 2-500 rows; 8 % are hard negatives, series of distinct images
that resemble each other (.5-.85); 3 % are drifting chains (steps of .86-.96; truth: windows of 4, a convention); 3 % are
bridges, two groups joined by collages that resemble both. Any rows can be asked for, and only those are computed: 1M x 512
never has to be in memory. Rows are in random order; the same count and seed always give the same vectors.

    python -m benchmarks.planted 100000 --seed 1 --out /tmp/planted.npy      # float16, as EMBEDDINGS stores them
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

KINDS = ("unique", "group", "hard", "chain", "bridge")
UNIQUE, GROUP, HARD, CHAIN, BRIDGE = range(5)
SHARES = {GROUP: 0.22, HARD: 0.08, CHAIN: 0.03, BRIDGE: 0.03}
WINDOW = 4
"""Images of a chain that count as one: neighbours are copies, distant ones are not, so any truth is a convention."""
NEITHER = -1
"""Entity of a collage: it shows two groups, and keeping or dropping it is right either way."""
BLOCK_ROWS = 4096
SUBTOPICS = 8


@dataclass(frozen=True)
class Planted:
    """The plan of a data set: what every row is; `vectors` computes rows on demand."""

    seed: int
    dimension: int
    entity: Rows  # what the row shows; rows of one entity are copies; NEITHER for collages
    kind: NDArray[np.int8]  # index into KINDS
    quality: Floats  # random and without ties in practice: the keeper of a group, for every method alike
    structure: Rows  # group, series, chain or bridge the row belongs to; unique rows have their own
    position: NDArray[np.int32]  # place inside the structure
    size: Rows  # rows in the structure, by structure
    topics: Floats = field(repr=False)  # (sub-topics, dimension) unit vectors
    popularity: NDArray[np.float64] = field(repr=False)  # cumulative share of the sub-topics

    def __len__(self) -> int:
        return len(self.entity)

    def vectors(self, begin: int = 0, end: int | None = None) -> Floats:
        """Return float32 unit vectors (end - begin, dimension) of the rows from `begin` to before `end`."""
        end = len(self) if end is None else min(end, len(self))
        blocks = range(begin // BLOCK_ROWS, -(-end // BLOCK_ROWS))
        rows = np.empty((max(0, end - begin), self.dimension), np.float32)
        for block in blocks:
            low, high = max(begin, block * BLOCK_ROWS), min(end, (block + 1) * BLOCK_ROWS)
            rows[low - begin : high - begin] = self._block(block)[low - block * BLOCK_ROWS : high - block * BLOCK_ROWS]
        return rows

    def parts(self, rows_per_part: int = 65536) -> Iterator[Floats]:
        """Yield the vectors in order, `rows_per_part` at a time."""
        for begin in range(0, len(self), rows_per_part):
            yield self.vectors(begin, begin + rows_per_part)

    def _block(self, block: int) -> Floats:
        begin, end = block * BLOCK_ROWS, min(len(self), (block + 1) * BLOCK_ROWS)
        noise = _unit(_generator(self.seed, 1, block).standard_normal((end - begin, self.dimension), np.float32))
        kind = self.kind[begin:end]
        unique = np.flatnonzero(kind == UNIQUE)
        generator = _generator(self.seed, 2, block)
        centre, loading = self._place(generator, len(unique))
        rows = noise
        rows[unique] = _mix(centre, noise[unique], loading)
        for at in np.flatnonzero(kind != UNIQUE):
            rows[at] = self._member(int(self.structure[begin + at]), int(self.position[begin + at]), int(kind[at]), noise[at])
        return rows

    def _place(self, generator: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        """Return sub-topic centres for background vectors, and their squared cosine to them."""
        chosen = np.searchsorted(self.popularity, generator.random(count))
        loading = 0.15 + 0.65 * generator.beta(2.4, 1.5, count)
        return self.topics[chosen], loading.astype(np.float32)

    def _member(self, structure: int, position: int, kind: int, noise: Floats) -> Floats:
        generator, own = _generator(self.seed, 3, structure), _generator(self.seed, 4, structure * 1024 + position)
        centre, loading = self._place(generator, 1)
        source = _mix(centre, _unit(generator.standard_normal((1, self.dimension), np.float32)), loading)[0]
        if kind == GROUP:
            return _copy(source, position, own, noise)
        if kind == HARD:
            shared = generator.uniform(0.5, 0.85)
            return np.asarray(_step(source, noise, np.sqrt(shared)))
        if kind == CHAIN:
            for _ in range(position):
                source = _step(source, _normal(generator, self.dimension), generator.uniform(0.86, 0.96))
            return source
        return _bridge(source, position, int(self.size[structure]), generator, own, noise)


def planted(count: int, *, seed: int, dimension: int = 512) -> Planted:
    """Return the plan of `count` rows."""
    generator = _generator(seed, 0, 0)
    kinds, sizes = _structures(generator, count)
    begin = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    structure = np.repeat(np.arange(len(sizes)), sizes)
    position = np.arange(len(structure)) - begin[structure]
    kind = np.repeat(kinds, sizes).astype(np.int8)
    key = structure * (1 << 20) + _entity_in_structure(kind, position, sizes[structure])
    entity = np.unique(key, return_inverse=True)[1].astype(np.int64)
    entity[(kind == BRIDGE) & (position < _collages(sizes[structure]))] = NEITHER
    order = generator.permutation(count)
    topics, popularity = _topics(generator, count, dimension)
    return Planted(
        seed=seed,
        dimension=dimension,
        entity=entity[order],
        kind=kind[order],
        quality=generator.random(count, np.float32),
        structure=structure[order].astype(np.int64),
        position=position[order].astype(np.int32),
        size=sizes,
        topics=topics,
        popularity=popularity,
    )


def _structures(generator: np.random.Generator, count: int) -> tuple[Rows, Rows]:
    """Return the kind and the size of every structure; the sizes add up to `count`."""
    power = np.arange(2, 501) ** -2.35
    draws = {
        GROUP: lambda n: generator.choice(np.arange(2, 501), n, p=power / power.sum()),
        HARD: lambda n: generator.integers(2, 12, n),
        CHAIN: lambda n: generator.integers(8, 33, n),
        BRIDGE: lambda n: generator.integers(6, 18, n),
    }
    kinds, sizes = [], []
    for kind, share in SHARES.items():
        wanted = int(count * share)
        drawn = draws[kind](max(1, wanted // 2))
        drawn = drawn[: int(np.searchsorted(np.cumsum(drawn), wanted, side="right"))]
        kinds.append(np.full(len(drawn), kind))
        sizes.append(drawn)
    unique = count - sum(int(some.sum()) for some in sizes)
    return np.concatenate([*kinds, np.full(unique, UNIQUE)]), np.concatenate([*sizes, np.ones(unique, np.int64)]).astype(np.int64)


def _entity_in_structure(kind: NDArray[np.int8], position: Rows, size: Rows) -> Rows:
    inside = np.zeros(len(kind), np.int64)
    inside[kind == HARD] = position[kind == HARD]
    inside[kind == CHAIN] = position[kind == CHAIN] // WINDOW
    bridge = kind == BRIDGE
    inside[bridge] = (position[bridge] - _collages(size[bridge])) % 2
    return inside


def _collages(size: Rows | int) -> Rows | int:
    return 1 + size // 10


def _topics(generator: np.random.Generator, count: int, dimension: int) -> tuple[Floats, NDArray[np.float64]]:
    num_topics = max(4, int(np.sqrt(count)))
    mean = _normal(generator, dimension)
    topic = _unit(generator.standard_normal((num_topics, dimension), np.float32))
    own = _unit(generator.standard_normal((num_topics * SUBTOPICS, dimension), np.float32))
    centres = np.sqrt(0.23) * mean + np.sqrt(0.45) * np.repeat(topic, SUBTOPICS, 0) + np.sqrt(0.32) * own
    share = np.repeat((np.arange(num_topics) + 5.0) ** -0.8, SUBTOPICS) * np.tile(
        (np.arange(SUBTOPICS) + 1.0) ** -0.8, num_topics
    )
    return _unit(centres.astype(np.float32)), np.cumsum(share) / share.sum()


def _copy(source: Floats, position: int, own: np.random.Generator, noise: Floats) -> Floats:
    """Return the source itself at position 0, elsewhere a copy at a cosine of .75-.99 (median about .935) to it."""
    if position == 0:
        return source
    return _step(source, noise, 0.99 - 0.24 * own.beta(1.1, 3.0))


def _bridge(
    source: Floats, position: int, size: int, generator: np.random.Generator, own: np.random.Generator, noise: Floats
) -> Floats:
    """Return a collage of two sources (.75-.9 to both) at the first positions, then copies of either, in turns."""
    similarity = generator.uniform(0.3, 0.62)
    other = _step(source, _normal(generator, len(source)), similarity)
    collages = int(_collages(size))
    if position < collages:
        both = np.sqrt((1 + similarity) / 2)
        middle = (source + other) / np.linalg.norm(source + other)
        return _step(middle, noise, own.uniform(0.75, both) / both)
    chosen, place = (source, other)[(position - collages) % 2], (position - collages) // 2
    return _copy(chosen, place, own, noise)


def _step(x: Floats, noise: Floats, cosine: float) -> Floats:
    """Return a unit vector at exactly `cosine` to x, in the direction of `noise`."""
    aside = noise - (noise @ x) * x
    return np.asarray(cosine * x + np.sqrt(1 - cosine**2) / np.linalg.norm(aside) * aside, np.float32)


def _mix(centre: Floats, noise: Floats, loading: Floats) -> Floats:
    return _unit(np.sqrt(loading)[:, None] * centre + np.sqrt(1 - loading)[:, None] * noise)


def _normal(generator: np.random.Generator, dimension: int) -> Floats:
    return _unit(generator.standard_normal((1, dimension), np.float32))[0]


def _unit(x: Floats) -> Floats:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def _generator(seed: int, purpose: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed * 16 + purpose, number]))


@dataclass(frozen=True)
class Errors:
    """What a method got wrong."""

    lost: int  # true entities without a survivor
    surplus: int  # kept rows beyond one per entity
    lost_share: float  # of all entities
    residual_share: float  # surplus, of all removable rows
    lost_by_kind: dict[str, float]  # share of the entities of that kind

    @property
    def err(self) -> int:
        """Distinct images lost plus surplus copies kept."""
        return self.lost + self.surplus


def errors(truth: Planted, kept: NDArray[np.bool_]) -> Errors:
    """Return how far the rows `kept` are from one survivor per entity."""
    counted = truth.entity != NEITHER
    count = int(truth.entity.max()) + 1
    exists = np.bincount(truth.entity[counted], minlength=count)
    survivors = np.bincount(truth.entity[counted & kept], minlength=count)
    kind = np.full(count, -1)
    kind[truth.entity[counted]] = truth.kind[counted]
    lost = (survivors == 0) & (exists > 0)
    surplus = int(np.maximum(survivors - 1, 0).sum())
    return Errors(
        lost=int(lost.sum()),
        surplus=surplus,
        lost_share=float(lost.sum() / (exists > 0).sum()),
        residual_share=surplus / max(1, int(np.maximum(exists - 1, 0).sum())),
        lost_by_kind={name: float(lost[kind == i].mean()) for i, name in enumerate(KINDS) if (kind == i).any()},
    )


def main() -> None:
    """Write a data set as a float16 .npy, with its truth beside it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    truth = planted(arguments.count, seed=arguments.seed)
    write(truth, arguments.out)
    np.savez(arguments.out.with_suffix(".truth.npz"), entity=truth.entity, kind=truth.kind, quality=truth.quality)
    print(json.dumps({name: int((truth.kind == i).sum()) for i, name in enumerate(KINDS)}))


def write(truth: Planted, path: Path) -> None:
    """Write the vectors as a float16 .npy, a part at a time."""
    with path.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(truth), truth.dimension)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in truth.parts():
            file.write(part.astype(np.float16).tobytes())


if __name__ == "__main__":
    main()
