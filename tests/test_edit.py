"""Editing with references: the latents of diffusers' omni pipeline, from the same noise."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from closed_form import fill
from PIL import Image
from skimage import data
from tiny_pairs import COLOURS, write_tiny_pairs
from tiny_pipeline import CONFIG, text_encoder, vae
from tiny_run import config
from tiny_shards import squares, write_tiny_shards

from benchmarks.byte_tokenizer import byte_tokenizer
from curation.errors import ConfigError, ModelError
from model.config import DataConfig, to_dict
from model.edit import Editor, edit_texts, segments
from model.released import OWN_FIELDS, load_pipeline
from model.siglip import SigLIP
from model.text import HashText
from model.train import train

OMNI = replace(CONFIG, siglip_feat_dim=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImageOmniPipeline, ZImageTransformer2DModel
    from transformers import Siglip2ImageProcessor, Siglip2VisionConfig, Siglip2VisionModel

    fields = {name: value for name, value in to_dict(OMNI).items() if name not in OWN_FIELDS}
    words = byte_tokenizer()
    tower = Siglip2VisionConfig(
        hidden_size=20, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, patch_size=16, num_patches=64
    )
    pipeline = ZImageOmniPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0),
        vae=vae(),
        text_encoder=text_encoder(len(words)),
        tokenizer=words,
        transformer=fill(ZImageTransformer2DModel(**fields)),
        siglip=fill(Siglip2VisionModel(tower)),
        siglip_processor=Siglip2ImageProcessor(patch_size=16, max_num_patches=64),
    )
    made = tmp_path_factory.mktemp("omni") / "pipeline"
    pipeline.save_pretrained(made)
    return made


def references() -> list[np.ndarray]:
    """Two photographs whose sides are no multiples of 16."""
    cat, coffee = (Image.fromarray(picture) for picture in (data.chelsea(), data.coffee()))
    return [np.array(cat.resize((101, 68))), np.array(coffee.resize((70, 97)))]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_latents_of_the_omni_pipeline_are_reproduced(folder: Path, count: int):
    from diffusers import ZImageOmniPipeline

    theirs = ZImageOmniPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    theirs.vae.to(torch.bfloat16)  # the pipeline encodes references in bfloat16, whatever the VAE is
    ours = Editor.open(folder)
    ours.parts.autoencoder.model.to(torch.bfloat16)
    given = references()[:count]
    size = {"width": 64, "height": 96} if count != 2 else {}
    noise = torch.randn(2, 4, 12, 8, generator=torch.Generator().manual_seed(3))
    settings = {"cfg_truncation": 0.5, "cfg_normalization": 1.0}
    wanted = theirs(
        image=[Image.fromarray(pixels) for pixels in given] or None, prompt=["a red hat", "雪"], negative_prompt=["bad", "bad"],
        num_inference_steps=3, guidance_scale=3.0, latents=noise.clone(), output_type="latent", **size, **settings,
    ).images  # fmt: skip
    made = ours.edit_latents(
        ["a red hat", "雪"], given, width_px=size.get("width"), height_px=size.get("height"), num_steps=3, guidance=4.0,
        shift=None, negative_prompt="bad", seed=0, noise=noise.numpy(), **settings,
    )  # fmt: skip
    assert float((made - wanted).abs().max()) < 1e-3 * float(wanted.abs().max())


def test_an_edit_is_an_image_of_the_last_references_size_and_depends_on_prompt_and_reference(folder: Path):
    editor = Editor.open(folder)
    given = references()
    images = editor.edit(["a red hat", "a red hat", "snow"], given, num_steps=2, guidance=2.0, seed=4)
    assert images.shape == (3, 96, 64, 3)
    assert not np.array_equal(images[0], images[1]), "every image has its own noise"
    other = editor.edit(["a red hat"], [given[0], given[1][::-1].copy()], num_steps=2, guidance=2.0, seed=4)
    assert not np.array_equal(images[0], other[0])


def test_a_reference_above_a_megapixel_is_made_smaller(folder: Path):
    from model.edit import _bounded

    large = np.zeros((1200, 2000, 3), np.uint8)
    assert _bounded(large, 1024 * 1024).shape == (793, 1321, 3)
    assert _bounded(large, 512 * 512).shape == (396, 660, 3)
    small = references()[0]
    assert _bounded(small, 64 * 64) is small


def test_segments_stand_around_the_images():
    assert segments("x", 0) == ["<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"]
    assert len(segments("x", 3)) == 5
    assert segments("x", 3)[1:3] == ["<|vision_end|><|vision_start|>"] * 2


def test_what_cannot_be_edited_is_said(folder: Path):
    editor = Editor.open(folder)
    with pytest.raises(ConfigError, match="give width_px and height_px"):
        editor.edit(["a hat"])
    with pytest.raises(ConfigError, match="at least 16"):
        editor.edit(["a hat"], [np.zeros((8, 40, 3), np.uint8)])
    with pytest.raises(ConfigError, match="multiples of 16"):
        editor.edit(["a hat"], references(), width_px=50, height_px=48)
    parts = load_pipeline(folder)
    narrow = SigLIP(folder / "siglip", processor=folder / "siglip_processor")
    narrow.width = 19
    with pytest.raises(ModelError, match="19 wide"):
        Editor(parts, narrow)


def test_the_verb_edits_a_picture_and_refuses_what_does_not_go_together(folder: Path, tmp_path: Path):
    from typer.testing import CliRunner

    from jobs.__main__ import app

    Image.fromarray(references()[0]).save(tmp_path / "cat.png")
    asked = ["sample", str(folder), "--prompt", "a red hat", "--num-steps", "2", "--out", str(tmp_path / "out")]
    reference = ["--reference", str(tmp_path / "cat.png")]
    assert CliRunner().invoke(app, [*asked, *reference], catch_exceptions=False).exit_code == 0
    with Image.open(tmp_path / "out" / "0000.png") as made:
        assert made.size == (96, 64)
    turn = CliRunner().invoke(
        app, [*asked, "--in-turn", "--int8", "--width-px", "64", "--height-px", "32"], catch_exceptions=False
    )
    assert turn.exit_code == 0
    assert "transformer: 0.00 GB" in turn.output
    for wrong, message in ((["--int8"], "--in-turn"), ([*reference, "--in-turn"], "does not edit")):
        with pytest.raises(ConfigError, match=message):
            CliRunner().invoke(app, [*asked, *wrong], catch_exceptions=False)


def test_a_checkpoint_trained_on_pairs_edits_at_its_own_resolution_with_its_own_text_encoder(tmp_path: Path):
    shards, pairs = write_tiny_shards(tmp_path / "images", squares(24)), write_tiny_pairs(tmp_path / "pairs", 24)
    data = DataConfig(resolution_px=16, pairs=str(pairs), pair_share=0.8, instruction_share=1.0)
    checkpoint = train(config(num_steps=40, checkpoint_every=40, data=data), shards=shards, out=tmp_path / "run").checkpoint
    editor = Editor.open(checkpoint)
    for before, after, channel in (("red", "blue", 2), ("blue", "red", 0)):
        large = np.full((40, 40, 3), COLOURS[before], np.uint8)
        (found,) = editor.edit([f"make it {after}"], [large], num_steps=4, guidance=1.0)
        assert found.shape == (16, 16, 3)
        assert found[..., channel].mean() > found[..., 2 - channel].mean() + 50
    settings = json.loads((checkpoint / "config.json").read_text())
    settings["data"]["pairs"] = ""
    (checkpoint / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="was not trained on edit pairs"):
        Editor.open(checkpoint)


def test_texts_stand_where_images_do_not_for_encoders_without_turns():
    assert [edit_texts(HashText(width=8), "x", count) for count in range(3)] == [["x"], ["", "x", ""], ["", "", "x", ""]]
