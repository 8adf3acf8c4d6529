"""What deduplication costs before it runs: products, bytes and memory as closed forms of the number of images.

Enters: a number of vectors, their dimension and the settings of the join. Leaves: numbers of products (a product of two
vectors of d terms is 2 d floating point operations), bytes on disk and in memory. Nothing is measured here: rates belong to a
machine and come from a benchmark or a run. docs/scale.md and `imageloom run --plan` print what these functions return, and
tests compare them with counts of real joins.
"""

from dataclasses import dataclass

EDGE_BYTES = 20
"""An EDGES row: two int64 and a float32."""

PARENT_BYTES = 8
"""An entry of union-find's parent array: int64, as the global rows are."""

FOREST_BYTES = 16
"""An edge of a spanning forest: two int64."""

HALF_BYTES = 2
"""A float16, as EMBEDDINGS stores it."""


@dataclass(frozen=True)
class Quantiser:
    """The sizes of a coarse quantiser: L lists in C cells (C = 0: one level), trained on `sample` rows."""

    lists: int
    cells: int
    sample: int
    iterations: int

    @property
    def training(self) -> float:
        """Products of k-means: each iteration meets every sampled row with every centroid of its level and cell."""
        one_level = float(self.sample) * self.lists
        two_level = float(self.sample) * (self.cells + self.lists / max(self.cells, 1))
        return self.iterations * (two_level if self.cells else one_level)

    def assigning(self, rows: int, *, descend: int) -> float:
        """Products to find the nearest lists of `rows` vectors; two levels: all cells, then the lists of `descend` of them."""
        if not self.cells:
            return float(rows) * self.lists
        return float(rows) * (self.cells + min(descend, self.cells) * self.lists / self.cells)


def quantiser(rows: int, *, lists: int, sample_per_list: int, iterations: int, two_level_from: int) -> Quantiser:
    """Return the sizes of the quantiser of `lists` lists for `rows` vectors; two levels from `two_level_from` lists on."""
    cells = round(lists**0.5) if lists >= two_level_from else 0
    return Quantiser(lists, cells, min(rows, sample_per_list * lists), iterations)


@dataclass(frozen=True)
class Join:
    """A self-join of `rows` vectors, list by list: products, and bytes that pass through it."""

    rows: int
    dimension: int
    nprobe: int
    at_home: float  # products of rows with rows of their own list
    guests: float  # products of rows with the lists they visit

    @property
    def products(self) -> float:
        """All products."""
        return self.at_home + self.guests

    @property
    def flops(self) -> float:
        """Floating point operations of all products."""
        return flops(self.products, self.dimension)

    @property
    def stored_bytes(self) -> float:
        """The vectors in list order, with row number, place, key, probes and guests of every row."""
        return self.rows * (self.dimension * HALF_BYTES + 8 + 8 + 8 + 4 * self.nprobe + 4 * (self.nprobe - 1))

    @property
    def read_bytes(self) -> float:
        """Every row is read once at home and once in each further list it probes."""
        return float(self.rows) * self.nprobe * self.dimension * HALF_BYTES


def join(rows: int, *, dimension: int, lists: int, nprobe: int, imbalance: float = 1.0) -> Join:
    """Return the cost of joining `rows` vectors over `lists` lists, each row probing `nprobe` of them.

    imbalance: b = L sum |Q(l)| |B(l)| / (P N^2), 1 when lists are equally long. At home only the upper triangle is computed.
    """
    mean = rows / lists
    return Join(
        rows=rows,
        dimension=dimension,
        nprobe=nprobe,
        at_home=imbalance * rows * mean / 2,
        guests=imbalance * rows * mean * (nprobe - 1),
    )


def imbalance(home: list[int], guests: list[int]) -> float:
    """Return b of lists with |B(l)| rows at home and |Q(l)| - |B(l)| guests; 1 for no rows.

    The factor by which unequal lists raise the number of products; Jegou, Douze & Schmid 2010, section 3.3, for one probe.
    """
    rows, queries = sum(home), sum(home) + sum(guests)
    met = sum(b * (b + g) for b, g in zip(home, guests, strict=True))
    return len(home) * met / (rows * queries) if rows else 1.0


def all_pairs(rows: int) -> float:
    """Return the products of an exact self-join: every pair once."""
    return rows * (rows - 1) / 2


def flops(products: float, dimension: int) -> float:
    """Return the floating point operations of products of vectors: a multiplication and an addition per term."""
    return 2.0 * dimension * products


def hours(operations: float, *, per_second: float) -> float:
    """Return how many hours of one unit (core, GPU) `operations` take."""
    return operations / per_second / 3600


@dataclass(frozen=True)
class Components:
    """Connected components: edges on disk, a spanning forest of them, and the parent array of union-find."""

    rows: int
    edges: float

    @property
    def edge_bytes(self) -> float:
        """EDGES uncompressed."""
        return self.edges * EDGE_BYTES

    @property
    def forest_bytes(self) -> float:
        """At most one edge per image and never more than there are."""
        return min(self.edges, float(max(self.rows - 1, 0))) * FOREST_BYTES

    @property
    def parent_bytes(self) -> float:
        """The parent array: the only thing that grows with all images at once."""
        return float(self.rows) * PARENT_BYTES


def truncation(group_size: int, k: int) -> float:
    """Return the density that a group of equal copies has in a k-NN graph: of its pairs, the share that the lists can name.

    Each of s members names k of the s - 1 others, so at most k s of the s (s - 1) / 2 pairs: with CPM at resolution gamma a
    group falls apart once this is below gamma. A threshold graph names all of them.
    """
    return min(1.0, 2 * k / max(group_size - 1, 1))
