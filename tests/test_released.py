"""Pipelines in diffusers' layout: its images are ours, and ours are its, from the same noise."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from closed_form import fill
from PIL import Image
from tiny_pipeline import CONFIG, save_pipeline

from curation.errors import ConfigError, ModelError
from model.autoencoder import to_signed
from model.checkpoint import Progress, save_checkpoint
from model.config import DiTConfig, TrainConfig, to_dict
from model.dit import DiT
from model.released import export_pipeline, load_pipeline, load_released, save_released
from model.sampler import Sampler

PROMPTS = ["a cat", "a dog in the rain, 下雨"]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pipeline(tmp_path_factory.mktemp("theirs") / "pipeline")


@pytest.fixture(scope="module")
def checkpoint(theirs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of ours that uses the VAE and the text encoder of the pipeline."""
    from transformers import AutoTokenizer, Qwen3Model

    folder = tmp_path_factory.mktemp("ours")
    Qwen3Model.from_pretrained(theirs / "text_encoder").save_pretrained(folder / "qwen")
    AutoTokenizer.from_pretrained(theirs / "tokenizer").save_pretrained(folder / "qwen")
    config = TrainConfig(model=CONFIG, autoencoder=f"flux:{theirs / 'vae'}", text=f"qwen3:{folder / 'qwen'}", shift=3.0)
    weights = dict(DiT(CONFIG).initialize(seed=3).state_dict())
    weights["all_final_layer.2-1.linear.weight"] = torch.randn(16, 48, generator=torch.Generator().manual_seed(0)) * 0.2
    sampler = Sampler.open(theirs)
    return save_checkpoint(
        folder / "checkpoints", progress=Progress(1, 0, 1, "plan"), config=config, weights=weights, ema=weights, optimizer={},
        autoencoder=sampler.autoencoder,
    )  # fmt: skip


def same_images(ours: Sampler, folder: Path, **settings: float) -> None:
    from diffusers import ZImagePipeline

    pipeline = ZImagePipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(7))
    guidance = settings.get("guidance", 1.0)
    wanted = pipeline(  # it writes its turns into the list of prompts
        list(PROMPTS), height=96, width=128, num_inference_steps=4, latents=noise.clone(), output_type="np",
        guidance_scale=guidance - 1, negative_prompt=["blurry", "blurry"],
        cfg_truncation=settings.get("cfg_truncation", 1.0), cfg_normalization=settings.get("cfg_normalization", 0.0),
    ).images  # fmt: skip
    made = ours.generate(
        PROMPTS, height_px=96, width_px=128, num_steps=4, noise=noise.numpy(), negative_prompt="blurry",
        **{"guidance": 1.0, **settings},
    )  # fmt: skip
    assert wanted.std() > 0.02, "the picture shows something"
    assert np.abs(made / 255 - wanted).max() <= 0.5 / 255 + 1e-3  # rounded to 8 bits, then 1e-3


@pytest.mark.parametrize("settings", [{}, {"guidance": 4.0}, {"guidance": 5.0, "cfg_truncation": 0.2, "cfg_normalization": 1.0}])
def test_a_pipeline_of_diffusers_makes_the_same_images_here(theirs: Path, settings: dict[str, float]):
    same_images(Sampler.open(theirs), theirs, **settings)


@pytest.mark.parametrize(("steps", "strength"), [(4, 0.6), (8, 0.3), (3, 1.0)])
def test_an_image_is_the_start_of_the_same_images_as_in_diffusers(theirs: Path, steps: int, strength: float):
    from diffusers import ZImageImg2ImgPipeline

    pipeline = ZImageImg2ImgPipeline.from_pretrained(theirs)
    pipeline.set_progress_bar_config(disable=True)
    ours = Sampler.open(theirs)
    pixels = (np.random.default_rng(0).random((48, 80, 3)) * 255).astype(np.uint8)
    latent = ours.autoencoder.encode(to_signed(torch.from_numpy(pixels)[None]))  # the mode: diffusers would draw
    noise = torch.randn(1, 4, 6, 10, generator=torch.Generator().manual_seed(3))
    wanted = pipeline(
        ["a cat"], image=latent, strength=strength, height=48, width=80, num_inference_steps=steps, guidance_scale=2.0,
        negative_prompt=["bad"], generator=torch.Generator().manual_seed(3), output_type="np",
    ).images  # fmt: skip
    made = ours.generate(
        ["a cat"], image=pixels, strength=strength, width_px=80, height_px=48, num_steps=steps, guidance=3.0,
        negative_prompt="bad", noise=noise.numpy(),
    )  # fmt: skip
    assert wanted.std() > 0.02, "the picture shows something"
    assert np.abs(made / 255 - wanted).max() <= 0.5 / 255 + 1e-3  # rounded to 8 bits, then 1e-3


def test_an_exported_checkpoint_makes_the_same_images_in_diffusers(checkpoint: Path, tmp_path: Path):
    exported = export_pipeline(checkpoint, tmp_path / "exported", max_shard="100KB")
    assert len(list((exported / "transformer").glob("*-of-*.safetensors"))) > 1
    same_images(Sampler.open(checkpoint), exported, guidance=3.0)
    assert load_pipeline(exported).shift == 3.0
    with pytest.raises(ModelError, match="exists"):
        export_pipeline(checkpoint, exported)


@pytest.mark.parametrize("sharded", [False, True])
def test_a_folder_saved_by_diffusers_loads_with_equal_weights(tmp_path: Path, sharded: bool):
    from diffusers import ZImageTransformer2DModel

    fields = to_dict(CONFIG)
    for own in ("pad_to", "scrambled_siglip", "shifted_text_positions"):
        del fields[own]
    theirs = ZImageTransformer2DModel(**fields)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    theirs.save_pretrained(tmp_path, max_shard_size="60KB" if sharded else "1GB")
    assert len(list(tmp_path.glob("*.safetensors"))) == (1 if not sharded else len(list(tmp_path.glob("*-of-*.safetensors"))))
    ours = load_released(tmp_path)
    assert ours.config.pad_to == 32
    assert all(torch.equal(x, theirs.state_dict()[name]) for name, x in ours.state_dict().items())


def test_weights_that_do_not_fit_are_named(tmp_path: Path):
    from safetensors.torch import save_file

    weights = DiT(CONFIG).initialize(seed=0).state_dict()
    save_file({k: v for k, v in weights.items() if k != "x_pad_token"}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(to_dict(CONFIG)))
    with pytest.raises(ModelError, match=r"1 weights .* first x_pad_token: \(1, 48\) expected, None found"):
        load_released(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(to_dict(DiTConfig())))
    with pytest.raises(ModelError, match="do not fit"):
        load_released(tmp_path)


def test_a_transformer_alone_is_written_for_diffusers_and_padding_it_does_not_know_is_refused(tmp_path: Path):
    from diffusers import ZImageTransformer2DModel

    model = fill(DiT(CONFIG))
    save_released(model, tmp_path / "transformer")
    read = ZImageTransformer2DModel.from_pretrained(tmp_path / "transformer").state_dict()
    assert all(torch.equal(x, read[name]) for name, x in model.state_dict().items())
    with pytest.raises(ModelError, match="pad_to: 32"):
        save_released(DiT(DiTConfig(**{**vars(CONFIG), "pad_to": 8})), tmp_path / "other")


def test_a_folder_without_a_part_is_named(theirs: Path, tmp_path: Path):
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ModelError, match="no folder transformer/"):
        load_pipeline(tmp_path)


def test_the_verbs_sample_a_pipeline_folder_and_export_a_checkpoint(theirs: Path, checkpoint: Path, tmp_path: Path):
    from typer.testing import CliRunner

    from jobs.__main__ import app

    run = CliRunner().invoke
    made = [*shlex.split(f"sample {theirs} --prompt 'a cat' --prompt 'a dog' --num-steps 2"), "--out", str(tmp_path / "images")]
    assert run(app, [*made, *shlex.split("--width-px 32 --height-px 48")], catch_exceptions=False).exit_code == 0
    start = shlex.split(f"--image {tmp_path}/images/0000.png --strength 0.5 --seed 4 --seed 9 --negative-prompt bad")
    made[-1] = str(tmp_path / "changed")
    assert run(app, [*made, *start], catch_exceptions=False).exit_code == 0
    with Image.open(tmp_path / "changed" / "0001.png") as image:
        assert image.size == (32, 48)
        settings = json.loads(image.text["imageloom"])
    assert settings == {
        "num_steps": 2, "guidance": 3.0, "seed": 9, "index": 0, "image": "0000.png", "strength": 0.5, "negative_prompt": "bad",
        "cfg_truncation": 1.0, "cfg_normalization": 0.0, "attention": "sdpa", "in_turn": False, "int8": False,
        "checkpoint": "pipeline",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="--strength belongs to --image"):
        run(app, [*made, "--strength", "0.5"], catch_exceptions=False)
    with pytest.raises(ConfigError, match="--negative-prompt has no effect with --guidance 1"):
        run(app, [*made, "--guidance", "1", "--negative-prompt", "bad"], catch_exceptions=False)
    with pytest.raises(ConfigError, match="one of sdpa, varlen, flash2, flash3"):
        run(app, [*made, "--attention", "flash1"], catch_exceptions=False)
    assert run(app, ["export", str(checkpoint), "--out", str(tmp_path / "whole")], catch_exceptions=False).exit_code == 0
    alone = ["export", str(checkpoint), "--out", str(tmp_path / "alone"), "--transformer-only"]
    assert run(app, alone, catch_exceptions=False).exit_code == 0
    assert load_released(tmp_path / "alone").config == load_pipeline(tmp_path / "whole").model.config == CONFIG
