"""What a block's options change and what they leave alone."""

import dataclasses

import torch
from closed_form import fill, inputs
from test_dit import CONFIG
from torch._dynamo.utils import counters

from model.blocks import prepare_blocks
from model.dit import DiT

MODEL = dataclasses.replace(CONFIG, n_layers=1, n_refiner_layers=0)  # tracing a block takes a second
BATCHES = [((9, 40, 70), (8, 8)), ((7, 33, 33), (16, 8)), ((70, 9, 33), (8, 16))]
"""Lengths of three texts, which give three sequence lengths and two, and the sides of all latents."""


def velocities(model: DiT, texts: tuple[int, ...], size: tuple[int, int]) -> list[torch.Tensor]:
    latents = [inputs(f"x{i}", (4, *size)) for i in range(3)]
    return model(latents, torch.tensor([0.2, 0.7, 0.5]), [inputs(f"c{i}", (n, MODEL.cap_feat_dim)) for i, n in enumerate(texts)])


def test_batches_of_other_lengths_meet_the_graphs_that_are_there():
    torch.compiler.reset()
    plain = fill(DiT(MODEL))
    compiled = prepare_blocks(fill(DiT(MODEL)), recompute=False, compiled=True, backend="eager")  # traces, writes no code
    graphs, before = [], counters["stats"]["unique_graphs"]
    for texts, size in BATCHES:
        found, wanted = velocities(compiled, texts, size), velocities(plain, texts, size)
        assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(found, wanted, strict=True))
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] > before
    assert graphs[1:] == graphs[:1] * (len(BATCHES) - 1)
    torch.compiler.reset()
