"""Which rows of two blocks are alike: a matrix product per tile and a scan for what passes the threshold.

Enters: unit float32 rows. Leaves: positions of pairs, and their cosines. The product only proposes: it runs in bfloat16 where
the CPU multiplies it natively (four times faster than float32 on one core) or in int8, and pairs are scanned at a threshold
lowered by more than those formats can err. What is reported is computed again in float32, row by row in one order, so the
pairs and their cosines depend on neither the format, the shape of the tiles nor the number of threads. No top-k: selecting
costs more than the product, and a group larger than k would lose pairs.
"""

import functools
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graph.vectors import Floats, Rows

Dtype = Literal["auto", "bf16", "int8", "fp32"]

SLACK = {"fp32": 1e-5, "bf16": 0.01, "int8": 1e-5}
"""How much lower than asked is scanned. bf16: inputs, result and threshold are rounded by at most 2^-9 of their size each. int8:
added to what the rounding of the tile's vectors can move a cosine."""
NATIVE = {"bf16": {"avx512_bf16", "amx_bf16", "bf16"}, "int8": {"avx512_vnni", "avx_vnni", "amx_int8"}}
"""Instructions, by their names in Linux, of which one multiplies the format."""
NEAR = 0.99
"""From here on two vectors are nearly equal: what both are as close to is within 0.96 of either."""
MOST_NEAR = 64
"""Pairs of nearly equal vectors that a row is reported in per block or list it is compared with. Where rows have more, every row
keeps its first ones, and all of them stay connected (at thresholds up to 0.96): of a row's neighbours that it was not paired
with, each is paired, directly or through others, with one that it was. So a hundred thousand pictures of one kind cost 64 edges
each and not the square."""
RESCORED_ROWS = 256
"""Pairs computed again at a time: two blocks of this many rows stay in the cache."""


def native_dtype() -> Literal["bf16", "fp32"]:
    """Return what `auto` means here: bf16 where this CPU multiplies it natively, else fp32."""
    return "bf16" if native("bf16") else "fp32"


def native(dtype: Dtype) -> bool:
    """Say whether this CPU multiplies `dtype` natively, as its name in Linux tells."""
    return dtype == "fp32" or bool(_instructions() & NATIVE.get(dtype, set()))


@functools.cache
def _instructions() -> set[str]:
    """Return the instruction sets that Linux names for this CPU; none elsewhere."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    return {name for line in lines if line.startswith(("flags", "Features")) for name in line.split()}


class Scanner:
    """Holds the memory of one tile; finds pairs of rows of at least `threshold`."""

    def __init__(self, *, threshold: float, dtype: Dtype = "auto", tile_rows: int = 2048) -> None:
        self.threshold, self.tile_rows = threshold, tile_rows
        self.dtype: Literal["bf16", "int8", "fp32"] = native_dtype() if dtype == "auto" else dtype
        self._floor = threshold - SLACK[self.dtype]
        self._tile: Any = None

    def pairs(self, queries: Floats, base: Floats, *, triangle: bool = False) -> tuple[Rows, Rows, Floats]:
        """Return (query, base, cosine) of all pairs of at least the threshold, as positions.

        triangle: both blocks are the same rows, and of every pair only the one with query > base is wanted.
        """
        prepared = self._prepare(base)
        found = [
            self._strip(queries[at : at + self.tile_rows], at, base, prepared, triangle)
            for at in range(0, len(queries), self.tile_rows)
        ]
        query, other, cosine = zip(*found, strict=True) if found else ((), (), ())
        none = np.empty(0, np.int64)
        return np.concatenate([none, *query]), np.concatenate([none, *other]), np.concatenate([np.empty(0, np.float32), *cosine])

    def _strip(self, queries: Floats, at: int, base: Floats, prepared: Any, triangle: bool) -> tuple[Rows, Rows, Floats]:
        width = at + len(queries) if triangle else len(base)
        flat = self._hits(self._prepare(queries), prepared, width)
        query, other = flat // width, flat % width
        if triangle:
            query, other = query[query + at > other], other[query + at > other]
        cosine = cosines(queries, query, base, other)
        keep = cosine >= self.threshold
        query, other, cosine = query[keep], other[keep], cosine[keep]
        if len(query) > MOST_NEAR:
            few = uncrowded(query, cosine, np.zeros(len(queries), np.int64))
            query, other, cosine = query[few], other[few], cosine[few]
        return query + at, other, cosine

    def _prepare(self, rows: Floats) -> Any:
        if self.dtype == "fp32":
            return rows
        import torch

        if self.dtype == "bf16":
            return torch.from_numpy(rows).bfloat16()
        scale = (127 / np.maximum(np.abs(rows).max(1, initial=0), 1e-30)).astype(np.float32)
        levels = np.rint(rows * scale[:, None])
        error = np.linalg.norm(rows - levels / scale[:, None], axis=1).max(initial=0)
        return (torch.from_numpy(levels.astype(np.int8)) if native("int8") else levels), scale, error

    def _hits(self, queries: Any, base: Any, width: int) -> Rows:
        """Return flat positions in the (queries, width) tile of what may pass the threshold."""
        if self.dtype == "bf16":
            return self._bf16_hits(queries, base, width)
        if self.dtype == "int8":
            (levels, scale, error), (base_levels, base_scale, base_error) = queries, base
            # By Cauchy and Schwarz the cosine moves by no more than the two rounding errors together.
            floor = scale[:, None] * (base_scale[:width] * np.float32(self._floor - error - base_error))
            return np.flatnonzero(_integer_product(levels, base_levels[:width]) >= floor)
        tile = self._buffer(len(queries) * width).reshape(len(queries), width)
        np.matmul(queries, base[:width].T, out=tile)
        return np.flatnonzero(tile >= np.float32(self._floor))

    def _bf16_hits(self, queries: Any, base: Any, width: int) -> Rows:
        import torch

        size = len(queries) * width
        if self._tile is None or len(self._tile) < size:
            self._tile = torch.empty(size, dtype=torch.bfloat16)
        tile = self._tile[:size].view(len(queries), width)
        torch.mm(queries, base[:width].T, out=tile)
        # Positive bfloat16 order like their bits read as signed integers, and negative ones lie below all of them.
        code = int(torch.tensor(self._floor, dtype=torch.bfloat16).view(torch.int16)) if self._floor > 0 else None
        return np.flatnonzero(tile.view(torch.int16).numpy() >= code if code else tile.float().numpy() >= self._floor)

    def _buffer(self, size: int) -> Floats:
        if self._tile is None or len(self._tile) < size:
            self._tile = np.empty(size, np.float32)
        return np.asarray(self._tile[:size])


def _integer_product(levels: Any, base: Any) -> NDArray[Any]:
    if isinstance(levels, np.ndarray):
        return np.asarray(levels @ base.T)  # sums stay below 2^24, so float32 holds them exactly
    import torch

    return np.asarray(torch._int_mm(levels, base.T).numpy())


def uncrowded(query: Rows, cosine: Floats, taken: Rows) -> Rows:
    """Return which of some pairs, ordered by query, are reported: all but nearly equal ones beyond a query's MOST_NEAR first.

    taken: (queries,) how many of them each query has been reported in before; counted on in place.
    """
    near = np.flatnonzero(cosine >= np.float32(NEAR))
    of = query[near]
    rank = np.arange(len(near)) - np.searchsorted(of, of)
    fits = taken[of] + rank < MOST_NEAR
    if fits.all():
        np.add.at(taken, of, 1)
        return np.arange(len(query))
    np.add.at(taken, of[fits], 1)
    keep = np.ones(len(query), bool)
    keep[near[~fits]] = False
    return np.flatnonzero(keep)


def cosines(queries: Floats, query: Rows, base: Floats, other: Rows) -> Floats:
    """Return the cosine of every pair of unit rows in float32, at most 1, each summed in the same order."""
    found = np.empty(len(query), np.float32)
    for at in range(0, len(query), RESCORED_ROWS):
        some = slice(at, at + RESCORED_ROWS)
        np.vecdot(queries[query[some]], base[other[some]], out=found[some])
    return np.minimum(found, np.float32(1))
