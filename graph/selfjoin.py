"""All pairs of vectors of at least a threshold: the edges of the similarity graph, each found once.

Enters: groups of vectors in list order. Leaves: (row_a < row_b, cosine), sorted, no pair twice. `join_blocks` compares two
blocks of rows (all blocks together: the upper triangle, exact); `join_lists` compares, list by list, the rows at home in a
list with one another and with the rows that probe it. A pair (i, j) is met when i probes j's home or j probes i's; where both
do, the list of the smaller number reports it, so results of different tasks need no merging. Rows equal bit for bit are joined
once, through the smallest row; the others are tied to it by edges of similarity 1, so ten thousand equal placeholders cost ten
thousand edges and not fifty million. Of nearly equal ones (recompressed placeholders) a row is reported with its first few only
(graph.scan.MOST_NEAR).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curation import schema
from graph.block import Block, OnDisk, blocks
from graph.lists import Group, Members, at_home, distinct, unit_vectors
from graph.scan import Dtype, Scanner, uncrowded
from graph.vectors import Floats, Rows

if TYPE_CHECKING:
    from graph.scan_gpu import TileScanner

BASE_ROWS = 4096
"""Rows of a list that are compared at a time; a longer list is compared in several sweeps."""
TILE_ROWS = 256
"""Queries compared at a time in a list: of a triangle little more than half is computed."""
HELD_ROWS = 1 << 16
"""Rows of consecutive lists that are held as float32, with their guests."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows with their cosine."""

    row_a: Rows
    row_b: Rows
    similarity: Floats

    def __len__(self) -> int:
        return len(self.row_a)


def join_lists(
    groups: Sequence[Group],
    *,
    first: int,
    last: int,
    min_similarity: float,
    dtype: Dtype = "auto",
    base_rows: int = BASE_ROWS,
    held_rows: int = HELD_ROWS,
    new_from: int = 0,
    device: str = "cpu",
) -> Pairs:
    """Return the pairs that lists `first` to before `last` report: sorted, row_a < row_b, cosine at least min_similarity.

    new_from: only pairs with a row from here on are looked for; those among the rows before are known. device: cpu, or the GPU
    that multiplies, see graph/selfjoin_gpu.py.
    """
    if device != "cpu":
        from graph.selfjoin_gpu import join_lists_on

        return join_lists_on(
            groups,
            first=first,
            last=last,
            min_similarity=min_similarity,
            device=device,
            held_rows=held_rows,
            new_from=new_from,
        )
    scanner = Scanner(threshold=min_similarity, dtype=dtype, tile_rows=min(TILE_ROWS, base_rows))
    found = []
    for begin, end in [(first, last)] if not new_from else _touched(groups, first, last, new_from):
        for lists, block in blocks(groups, first=begin, last=end, held_rows=held_rows):
            found += [pairs for number in lists for pairs in _join_list(block, number, scanner, base_rows, new_from)]
    return _sorted(found)


def _touched(groups: Sequence[Group], first: int, last: int, new_from: int) -> list[tuple[int, int]]:
    """Return the runs [begin, end) of lists between `first` and `last` where a row from `new_from` on lives or visits.

    The vectors of other lists are not read, so a small batch costs the lists it falls into and not the collection.
    """
    touched = np.zeros(last - first + 1, bool)  # and one that ends the last run
    for group in groups:
        for start, visitors in ((group.start, None), (group.guest_start, group.guests)):
            within = slice(*start[[first, last]].tolist())
            rows = group.rows[within] if visitors is None else group.rows[visitors[within]]
            late = np.flatnonzero(rows >= new_from) + within.start
            touched[np.searchsorted(start[first : last + 1], late, side="right") - 1] = True
    cuts = np.flatnonzero(np.diff(touched.astype(np.int8), prepend=0))
    return [(first + int(begin), first + int(end)) for begin, end in zip(cuts[::2], cuts[1::2], strict=True)]


def join_blocks(
    groups: Sequence[Group],
    *,
    first: int,
    second: int,
    block_rows: int,
    min_similarity: float,
    dtype: Dtype = "auto",
    device: str = "cpu",
) -> Pairs:
    """Return the pairs of rows between blocks `first` <= `second` of `block_rows` rows, of groups that have a single list."""
    everyone = at_home(groups, 0)
    kept, copies, originals = distinct(everyone)
    a = everyone.take(kept[first * block_rows : (first + 1) * block_rows])
    b = everyone.take(kept[second * block_rows : (second + 1) * block_rows])
    scanner = _scanner(min_similarity, dtype, min(1024, block_rows), device)
    found = [_all_pairs(groups, a, b, scanner) if first != second else _triangle(groups, a, scanner)]
    if first == second and len(a):
        here = np.isin(everyone.rows[originals], a.rows)
        found.append(_stars(everyone, copies[here], originals[here], min_similarity))
    return _sorted(found)


def join_added(
    groups: Sequence[Group],
    *,
    block: int,
    block_rows: int,
    new_from: int,
    min_similarity: float,
    dtype: Dtype = "auto",
    device: str = "cpu",
) -> Pairs:
    """Return the pairs of one block of the rows from `new_from` on with all rows before it and its own, of a single list."""
    everyone = at_home(groups, 0)
    kept, copies, originals = distinct(everyone)
    begin = int(np.searchsorted(everyone.rows[kept], new_from)) + block * block_rows
    mine = everyone.take(kept[begin : begin + block_rows])
    scanner = _scanner(min_similarity, dtype, min(1024, block_rows), device)
    found = [_triangle(groups, mine, scanner)] if len(mine) else []
    for at in range(0, begin if len(mine) else 0, block_rows):
        found.append(_all_pairs(groups, everyone.take(kept[at : min(at + block_rows, begin)]), mine, scanner))
    if block == 0:
        late = everyone.rows[copies] >= new_from
        found.append(_stars(everyone, copies[late], originals[late], min_similarity))
    return _sorted(found)


def _join_list(block: Block | OnDisk, number: int, scanner: Scanner, base_rows: int, new_from: int) -> Iterator[Pairs]:
    everyone = block.at_home(number)
    if not len(everyone):
        return
    kept, copies, originals = distinct(everyone)
    late = everyone.rows[copies] >= new_from
    yield _stars(everyone, copies[late], originals[late], scanner.threshold)
    home, guests = everyone.take(kept), block.visiting(number)
    guests = guests.take(distinct(guests)[0])
    if new_from:  # old rows meet new ones alone
        old, home = home.take(home.rows < new_from), home.take(home.rows >= new_from)
        yield from _sweep(block, number, scanner, base_rows, old, home, guests.take(guests.rows >= new_from))
    yield from _sweep(block, number, scanner, base_rows, home, None, guests)


def _sweep(
    block: Block | OnDisk,
    number: int,
    scanner: Scanner,
    base_rows: int,
    home: Members,
    others: Members | None,
    guests: Members,
) -> Iterator[Pairs]:
    """Yield the pairs of rows at home in a list with `others` at home there (None: with one another), and with guests."""
    rest = home if others is None else others
    # Within one block of the home the scanner keeps to graph.scan.MOST_NEAR by itself.
    near, near_guests = (np.zeros(len(some), np.int64) if len(home) > base_rows else None for some in (rest, guests))
    for at in range(0, len(home), base_rows):
        base = home.take(slice(at, at + base_rows))
        vectors = block.vectors(base)
        if others is None:
            query, other, cosine = scanner.pairs(vectors, vectors, triangle=True)
            few = _few(query, cosine, near, at, base_rows)
            yield Pairs(base.rows[query[few]], base.rows[other[few]], cosine[few])
        for later in range(at + base_rows if others is None else 0, len(rest), base_rows):
            queries = rest.take(slice(later, later + base_rows))
            query, other, cosine = scanner.pairs(block.vectors(queries), vectors)
            few = _few(query, cosine, near, later, base_rows)
            yield Pairs(queries.rows[query[few]], base.rows[other[few]], cosine[few])
        for begin in range(0, len(guests), base_rows):
            queries = guests.take(slice(begin, begin + base_rows))
            query, other, cosine = scanner.pairs(block.vectors(queries), vectors)
            keep = _reported_here(queries, query, base, other, number)
            keep = keep[_few(query[keep], cosine[keep], near_guests, begin, base_rows)]
            yield Pairs(queries.rows[query[keep]], base.rows[other[keep]], cosine[keep])


def _few(query: Rows, cosine: Floats, taken: Rows | None, at: int, base_rows: int) -> Rows | slice:
    """Return which pairs of the queries from `at` on are reported, given how many nearly equal ones they were in before."""
    return slice(None) if taken is None else uncrowded(query, cosine, taken[at : at + base_rows])


def _reported_here(guests: Members, query: Rows, base: Members, other: Rows, number: int) -> Rows:
    """Return which hits of guests are this list's to report: not those that the guest's home meets too and comes before."""
    home = guests.probes[query, 0]
    met_there = (base.probes[other] == home[:, None]).any(1)
    return np.asarray(np.flatnonzero(~met_there | (home > number)))


def _scanner(threshold: float, dtype: Dtype, tile_rows: int, device: str) -> "Scanner | TileScanner":
    if device == "cpu":
        return Scanner(threshold=threshold, dtype=dtype, tile_rows=tile_rows)
    from graph.scan_gpu import TileScanner

    return TileScanner(threshold, device)


def _all_pairs(groups: Sequence[Group], a: Members, b: Members, scanner: "Scanner | TileScanner") -> Pairs:
    if not len(a) or not len(b):
        return _none()
    query, other, cosine = scanner.pairs(unit_vectors(groups, b), unit_vectors(groups, a))
    return Pairs(b.rows[query], a.rows[other], cosine)


def _triangle(groups: Sequence[Group], members: Members, scanner: "Scanner | TileScanner") -> Pairs:
    vectors = unit_vectors(groups, members)
    query, other, cosine = scanner.pairs(vectors, vectors, triangle=True)
    return Pairs(members.rows[query], members.rows[other], cosine)


def _stars(members: Members, copies: Rows, originals: Rows, min_similarity: float) -> Pairs:
    if min_similarity > 1:
        return _none()
    return Pairs(members.rows[originals], members.rows[copies], np.ones(len(copies), np.float32))


def _none() -> Pairs:
    return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def _sorted(found: Sequence[Pairs]) -> Pairs:
    found = [_none(), *found]
    a, b = np.concatenate([pairs.row_a for pairs in found]), np.concatenate([pairs.row_b for pairs in found])
    similarity = np.concatenate([pairs.similarity for pairs in found])
    low, high = np.minimum(a, b), np.maximum(a, b)
    order = pair_order(low, high)
    return Pairs(low[order], high[order], similarity[order])


def pair_order(low: Rows, high: Rows) -> Rows:
    """Return the order that sorts pairs by (low, high)."""
    if not len(high) or high.max() >= 1 << 31:
        return np.asarray(np.lexsort((high, low)), np.int64)
    return np.asarray(np.argsort((low << 32) | high))  # one key, three times faster than two


def edge_rows(found: Sequence[Pairs]) -> pa.Table:
    """Return EDGES of pairs from any number of tasks: sorted, each once."""
    pairs = unique_pairs(found)
    columns = {"row_a": pairs.row_a, "row_b": pairs.row_b, "similarity": pairs.similarity}
    return schema.conform(pa.table(columns), schema.EDGES)


def unique_pairs(found: Sequence[Pairs]) -> Pairs:
    """Return pairs in any order and direction as row_a < row_b, sorted, each once."""
    pairs = _sorted(found)
    fresh = np.ones(len(pairs), bool)
    fresh[1:] = (np.diff(pairs.row_a) != 0) | (np.diff(pairs.row_b) != 0)
    return pairs if fresh.all() else Pairs(pairs.row_a[fresh], pairs.row_b[fresh], pairs.similarity[fresh])
