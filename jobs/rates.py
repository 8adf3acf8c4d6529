"""How fast one core of this machine runs the kernel of the join: measured when a plan is asked for, in about a second."""

import time

import numpy as np

from graph import cost
from graph.scan import Dtype, Scanner
from graph.vectors import unit

TILE_ROWS = 1024
BASE_ROWS = 4096


def kernel_rate(*, dimension: int, dtype: Dtype = "auto", repeats: int = 3) -> float:
    """Return floating point operations per CPU second of comparing blocks of random vectors, products and scan, the best of some.

    CPU seconds, so that other programs on the machine do not count; run with one thread, as workers do.
    """
    vectors = unit(np.random.default_rng(0).normal(size=(BASE_ROWS, dimension)))
    scanner = Scanner(threshold=0.9, dtype=dtype, tile_rows=TILE_ROWS)
    scanner.pairs(vectors[:TILE_ROWS], vectors[:TILE_ROWS])  # the first call allocates
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        scanner.pairs(vectors[:TILE_ROWS], vectors)
        seconds.append(time.process_time() - started)
    return cost.flops(TILE_ROWS * BASE_ROWS, dimension) / max(min(seconds), 1e-6)
