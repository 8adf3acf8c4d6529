"""What a CUDA device computes beside the CPU, at toy size: the model, its kernels, compilation, training, sampling."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closed_form import fill, inputs
from tiny_pipeline import save_pipeline
from tiny_run import CONFIG, weights_of
from tiny_shards import squares, write_tiny_shards

from curation.errors import ModelError
from model.attention import VARLEN, use_attention, varlen_kernel
from model.blocks import prepare_blocks
from model.config import DiTConfig
from model.dit import DiT
from model.fused import fuse
from model.in_turn import sample_in_turn
from model.sampler import Sampler
from model.train import train

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

MODEL = DiTConfig(dim=128, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, in_channels=4, cap_feat_dim=24,
                  axes_dims=(16, 24, 24))  # fmt: skip
BATCH = ([inputs(f"x{i}", (4, *size)) for i, size in enumerate([(16, 16), (8, 24), (10, 6)])],
         torch.tensor([0.2, 0.5, 0.9]), [inputs(f"c{i}", (n, 24)) for i, n in enumerate([5, 40, 33])])  # fmt: skip


def on_gpu():
    latents, t, text = BATCH
    return [x.cuda() for x in latents], t.cuda(), [x.cuda() for x in text]


def flat(tensors) -> torch.Tensor:
    return torch.cat([x.detach().float().cpu().reshape(-1) for x in tensors])


def away(found, wanted) -> float:
    return float((flat(found) - flat(wanted)).norm() / flat(wanted).norm())


@pytest.fixture(scope="module")
def exact() -> list[torch.Tensor]:
    with torch.no_grad():
        return fill(DiT(MODEL))(*BATCH)


def test_float32_is_that_of_the_cpu_split_and_fused(exact: list[torch.Tensor]):
    model = fill(DiT(MODEL)).cuda()
    with torch.no_grad():
        assert away(model(*on_gpu()), exact) < 1e-5
        assert away(fuse(model)(*on_gpu()), exact) < 1e-5


def test_gradients_are_those_of_the_cpu():
    gradients = []
    for device, batch in (("cpu", BATCH), ("cuda", on_gpu())):
        model = fill(DiT(MODEL)).train().to(device)
        sum(x.square().mean() for x in model(*batch)).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert away(gradients[1], gradients[0]) < 1e-4


def test_bf16_stays_near_float32(exact: list[torch.Tensor]):
    with torch.no_grad():
        assert 0 < away(fuse(fill(DiT(MODEL)).lower().cuda())(*on_gpu()), exact) < 0.03


@pytest.mark.parametrize("backend", VARLEN)
def test_flash_attention_is_near_sdpa_with_its_gradients(backend: str):
    try:
        varlen_kernel(backend)
    except ModelError as error:
        pytest.skip(str(error))
    values, gradients = [], []
    for kernel in ("sdpa", backend):
        model = use_attention(fill(DiT(MODEL)).lower().cuda(), kernel)
        values.append(model(*on_gpu()))
        sum(x.float().square().mean() for x in values[-1]).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert away(values[1], values[0]) < 0.02
    assert away(gradients[1], gradients[0]) < 0.04


@pytest.mark.parametrize("recompute", [False, True])
def test_compiled_blocks_have_the_values_and_gradients_of_plain_ones(recompute: bool):
    values, gradients = [], []
    for compiled in (False, True):
        model = prepare_blocks(fill(DiT(MODEL)).train().cuda(), recompute=compiled and recompute, compiled=compiled)
        found = model(*on_gpu())
        sum(x.square().mean() for x in found).backward()
        values.append(found)
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert away(values[1], values[0]) < 1e-5
    assert away(gradients[1], gradients[0]) < 1e-4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_deterministic_training_resumes_with_the_bits_of_the_straight_run(tmp_path: Path, precision: str):
    shards = write_tiny_shards(tmp_path, squares(44))
    config = dataclasses.replace(CONFIG, device="cuda", precision=precision, deterministic=True)
    straight = train(config, shards=shards, out=tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        train(config, shards=shards, out=tmp_path / "cut", progress=stop_after(6))
    again = train(config, shards=shards, out=tmp_path / "cut")
    assert again.step == straight.step
    assert losses(tmp_path / "cut") == losses(tmp_path / "straight")
    assert weights_of(again.checkpoint) == weights_of(straight.checkpoint)
    on_cpu = train(dataclasses.replace(config, device="cpu"), shards=shards, out=tmp_path / "cpu")
    assert losses(tmp_path / "cpu")[0] == pytest.approx(
        losses(tmp_path / "straight")[0], rel=1e-5 if precision == "fp32" else 0.02
    )
    assert on_cpu.loss == pytest.approx(straight.loss, rel=0.05)


def stop_after(step: int):
    def progress(record: dict) -> None:
        if record["step"] == step:
            raise KeyboardInterrupt

    return progress


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def test_samples_are_those_of_the_cpu_whole_and_in_turn(tmp_path: Path):
    folder = save_pipeline(tmp_path / "pipeline")
    settings = {"width_px": 64, "height_px": 48, "num_steps": 3, "guidance": 3.0, "seed": 5}
    prompts = ["a cat", "two birds in the rain"]
    wanted = Sampler.open(folder).generate(prompts, **settings).astype(int)
    whole = Sampler.open(folder, device="cuda").generate(prompts, **settings)
    turns = sample_in_turn(folder, prompts, **settings, device="cuda")
    small = sample_in_turn(folder, prompts, **settings, device="cuda", dtype=torch.bfloat16, int8=True)
    for made in (whole, turns):  # convolutions run in TF32 there
        assert np.abs(made - wanted).max() <= 8 and np.abs(made - wanted).mean() < 0.2
    assert np.abs(small - wanted).mean() < 12
