"""GPU kernels whose results do not depend on the order in which threads finish: a resumed training then has the same bits.

On a CPU everything here is so anyway. What it costs on a GPU: slower scatter additions and attention's backward pass in its
deterministic form (flash in bf16, plain products in float32). See https://docs.pytorch.org/docs/stable/notes/randomness.html
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
"""Kernels of attention that may be used; the backward passes of the others add in any order."""


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Allow only deterministic kernels while it lasts, if `wanted`; an operation that has none raises RuntimeError."""
    if not wanted:
        yield
        return
    os.environ.setdefault(WORKSPACE, ":4096:8")  # read when cuBLAS starts; without it PyTorch refuses its products
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with sdpa_kernel(ATTENTION):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
