import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_run import LEARNING, MODEL
from tiny_shards import squares, write_tiny_shards
from torch import Tensor, nn

from curation.errors import ConfigError, ModelError
from curation.schema import SHARDS
from model.attention import Attention
from model.config import Z_IMAGE
from model.contact_sheet import contact_sheet
from model.dit import DiT
from model.flow import times
from model.fused import FusedAttention
from model.sample_losses import LossMeter
from model.sampler import Sampler, cut, denoise, latent_size, sample
from model.shard_reader import read_index
from model.train import train


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampler")
    shards = write_tiny_shards(folder, squares(40))
    return train(LEARNING, shards=shards, out=folder / "out").checkpoint


class TowardsPoint(nn.Module):
    """The exact velocity field of a data set that is one point; counts its calls."""

    def __init__(self, point: Tensor) -> None:
        super().__init__()
        self.point, self.calls = point, []

    def refine_text(self, text: list[Tensor]) -> list[Tensor]:
        return text

    def forward(self, latents: Tensor, t: Tensor, text: list[Tensor], *, copies: int = 1) -> list[Tensor]:
        assert len(text) == copies * len(latents)
        self.calls.append(len(text))
        return list((self.point - latents) / (1 - t)) * copies


@pytest.mark.parametrize(("num_steps", "shift"), [(1, 1.0), (8, 3.0), (50, 1.0)])
def test_euler_reaches_the_data_exactly_on_a_straight_field(num_steps: int, shift: float):
    model = TowardsPoint(torch.full((1, 2, 2), 3.0))
    noise = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    out = denoise(model, noise, [torch.zeros(1, 4)] * 2, torch.zeros(1, 4), grid=times(num_steps, shift=shift))  # type: ignore[arg-type]
    assert torch.allclose(out, torch.full_like(out, 3.0), atol=1e-4)
    assert model.calls == [2] * num_steps


def test_guidance_doubles_the_batch_until_it_is_truncated():
    model = TowardsPoint(torch.zeros(1, 2, 2))
    text, grid = [torch.zeros(1, 4)] * 3, times(4, shift=1.0)
    denoise(model, torch.ones(3, 1, 2, 2), text, text[0], grid=grid, guidance=2.0, cfg_truncation=0.5)  # type: ignore[arg-type]
    assert model.calls == [6, 6, 6, 3]


def test_cached_text_and_plain_calls_give_the_same_image():
    model = DiT(MODEL).initialize(seed=0).eval()
    nn.init.normal_(model.all_final_layer["2-1"].linear.weight, std=0.1)
    noise, text = torch.randn(2, 3, 4, 4), [torch.randn(3, 32), torch.randn(6, 32)]
    fast = denoise(model, noise, text, torch.zeros(1, 32), grid=times(4, shift=3.0))
    x = noise
    with torch.no_grad():
        for t, after in zip(times(4, shift=3.0)[:-1], times(4, shift=3.0)[1:], strict=True):
            x = x + float(after - t) * torch.stack(model(x, torch.full((2,), float(t)), text))
    assert torch.allclose(fast, x, atol=1e-5)


def test_samples_follow_their_prompts(checkpoint: Path):
    prompts = ["one red square", "one blue square", "蓝色的方块"]
    images = Sampler.open(checkpoint).generate(prompts, width_px=16, height_px=16, guidance=2.0).astype(float)
    means = images.mean(axis=(1, 2))
    assert means[0, 0] > means[0, 2] + 40
    assert means[1, 2] > means[1, 0] + 40
    assert means[2, 2] > means[2, 0] + 40


def test_weights_that_are_not_finite_are_named_and_not_sampled(checkpoint: Path, tmp_path: Path):
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    stored = load_file(copy / "ema.safetensors")
    stored["layers.0.ffn_norm1.weight"][3] = float("nan")
    save_file(stored, copy / "ema.safetensors")
    with pytest.raises(ModelError, match=r"copy: layers\.0\.ffn_norm1\.weight holds NaN or infinity, 1 of 32 numbers"):
        Sampler.open(copy)
    Sampler.open(copy, ema=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_here_is_named_and_a_checkpoint_of_one_is_asked_on_the_cpu(checkpoint: Path, tmp_path: Path):
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    stored = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(stored | {"device": "cuda"}))
    assert Sampler.open(copy).device == "cpu"
    index = read_index(checkpoint.parent.parent / "shards", SHARDS).slice(0, 2)
    meter = LossMeter(copy, times=(0.5,), captions=1, share=1.0, batch_size=2, seed=0)
    assert meter(checkpoint.parent.parent / "shards", index)["error"].null_count == 2
    with pytest.raises(ConfigError, match=r"device is cuda:1; PyTorch sees 0 GPUs here\. Take cpu"):
        Sampler.open(checkpoint, device="cuda:1")
    with pytest.raises(ConfigError, match="device is cuda; PyTorch sees 0 GPUs here"):
        train(dataclasses.replace(LEARNING, device="cuda"), shards=checkpoint, out=checkpoint.parent / "gpu")
    with pytest.raises(ConfigError, match="shift is inf; it must be finite"):
        Sampler.open(checkpoint).generate(["a"], width_px=16, height_px=16, shift=float("inf"))


def test_a_latent_that_overflows_is_an_error_with_its_prompt_and_no_black_picture(checkpoint: Path):
    with pytest.raises(ModelError, match="the latent sampled for 'one red square' is not finite"):
        Sampler.open(checkpoint).generate(["one red square"], width_px=16, height_px=16, num_steps=2, guidance=1e38)


def test_an_image_does_not_depend_on_the_batch_size(checkpoint: Path):
    sampler = Sampler.open(checkpoint)
    prompts = ["one red square", "a blue square", "one blue square", "红色的方块"]
    together = sampler.generate(prompts, width_px=16, height_px=16, seed=5)
    alone = sampler.generate(prompts, width_px=16, height_px=16, seed=5, batch_size=1)
    assert np.abs(together.astype(int) - alone).max() <= 1  # float32 sums in another order, then rounding
    assert not np.array_equal(together, sampler.generate(prompts, width_px=16, height_px=16, seed=6))


def test_an_image_has_its_own_seed_wherever_it_stands(checkpoint: Path):
    sampler = Sampler.open(checkpoint)
    prompts = ["one red square", "a blue square", "one red square"]
    made = sampler.generate(prompts, width_px=16, height_px=16, num_steps=2, seed=[7, 8, 7])
    assert np.array_equal(made[0], made[2])
    alone = sampler.generate(prompts[1:2], width_px=16, height_px=16, num_steps=2, seed=[8])
    assert np.abs(made[1].astype(int) - alone[0]).max() <= 1
    with pytest.raises(ConfigError, match="2 seeds for 3 prompts"):
        sampler.generate(prompts, width_px=16, height_px=16, seed=[1, 2])


def test_fused_products_make_the_same_images(checkpoint: Path):
    samplers = [Sampler.open(checkpoint, fused=fused) for fused in (None, False)]
    assert [type(sampler.model.layers[0].attention) for sampler in samplers] == [FusedAttention, Attention]
    made = [sampler.generate(["one red square"], width_px=16, height_px=16).astype(int) for sampler in samplers]
    assert np.abs(made[0] - made[1]).max() <= 1  # float32 sums in another order, then rounding


def test_strength_cuts_the_grid_where_diffusers_does():
    grid = times(8, shift=3.0)
    assert cut(grid, strength=1.0).tolist() == grid.tolist()
    assert cut(grid, strength=0.6).tolist() == grid[3:].tolist()
    assert len(cut(grid, strength=0.1)) == len(cut(grid, strength=0.125)) == 2
    for strength in (0.0, 1e-20, 1.5):
        with pytest.raises(ConfigError, match=f"strength is {strength}"):
            cut(grid, strength=strength)


def test_the_released_model_samples_every_aspect_in_sixteens():
    assert latent_size(Z_IMAGE, 1280, 720, downsample=8) == (16, 90, 160)
    assert latent_size(Z_IMAGE, 528, 2032, downsample=8) == (16, 254, 66)
    with pytest.raises(ConfigError, match="multiples of 16"):
        latent_size(Z_IMAGE, 1288, 720, downsample=8)


def test_sizes_other_than_the_trained_one_are_made_and_wrong_ones_named(checkpoint: Path):
    sampler = Sampler.open(checkpoint)
    assert sampler.generate(["one red square"], width_px=32, height_px=8, num_steps=2).shape == (1, 8, 32, 3)
    with pytest.raises(ConfigError, match="multiples of 8"):
        sampler.generate(["one red square"], width_px=30, height_px=16)


def test_sample_writes_pngs_with_their_settings_and_a_grid(checkpoint: Path, tmp_path: Path):
    paths = sample(
        checkpoint, prompts=["one red square", "红色的方块"], width_px=16, height_px=16, num_steps=4, seed=3, out=tmp_path
    )
    assert [path.name for path in paths] == ["0000.png", "0001.png", "grid.png"]
    with Image.open(paths[1]) as image:
        assert image.size == (16, 16)
        assert image.text["prompt"] == "红色的方块"
        settings = json.loads(image.text["imageloom"])
    assert settings == {"num_steps": 4, "guidance": 3.0, "seed": 3, "checkpoint": "step-000120", "index": 1}
    first = paths[0].read_bytes()
    sample(checkpoint, prompts=["one red square", "红色的方块"], width_px=16, height_px=16, num_steps=4, seed=3, out=tmp_path)
    assert paths[0].read_bytes() == first


def test_a_contact_sheet_shows_every_image_enlarged_with_its_prompt_below():
    images = [np.full((32, 32, 3), 10 * i, np.uint8) for i in range(5)]
    page = np.asarray(contact_sheet(images, ["a short prompt", "很长的中文提示" * 8, "x" * 60, "", "five"], columns=3))
    assert page.shape[1] == 3 * (128 + 12) + 12
    for i in range(5):
        left, top = 12 + i % 3 * 140, 12 + i // 3 * ((page.shape[0] - 12) // 2)
        assert (page[top + 5 : top + 120, left + 5 : left + 120] == 10 * i).all()
        label = page[top + 132 : top + 132 + 40, left : left + 128]
        assert (label < 128).any() == (i != 3)
    assert (page[:, 2 * 140 + 12 + 128 + 2 :] == 255).all(), "a long word stays below its image"
