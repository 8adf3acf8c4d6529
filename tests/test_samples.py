"""Edit batches: references, the text that tells the edit, and how they meet the model."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_pairs import write_tiny_pairs
from tiny_shards import squares, write_tiny_shards

from model.autoencoder import PCAAutoencoder, to_signed
from model.config import TINY, DataConfig, DiTConfig, TrainConfig
from model.data import Batches, make_plan
from model.dit import DiT
from model.edit import edit_texts
from model.flow import interpolate, velocity_target
from model.objective import sample_losses
from model.omni import OmniSample
from model.shard_reader import ShardReader
from model.text import HashText, TextCache
from model.train_batch import TrainBatch

SMALL = replace(TINY, dim=32, n_layers=1, n_heads=2, n_kv_heads=2, axes_dims=(4, 6, 6), cap_feat_dim=8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("mixed")
    return write_tiny_shards(folder, squares(24)), write_tiny_pairs(folder / "pairs", 10)


def batches(folders: tuple[Path, Path], *, siglip: str = "", model: DiTConfig = SMALL, **settings: object) -> Batches:
    data = DataConfig(resolution_px=16, pairs=str(folders[1]), pair_share=0.4, **settings)  # type: ignore[arg-type]
    config = TrainConfig(batch_size=6, model=model, siglip=siglip, data=data)
    reader = ShardReader(folders[0])
    images = [to_signed(torch.from_numpy(picture.pixels)[None]) for picture in squares(6)]
    autoencoder = PCAAutoencoder.fit(images, downsample=4, channels=12)
    return Batches(make_plan(config, reader, unit_px=8), reader, autoencoder, TextCache(HashText(width=8)), config, patch=2)


def test_an_edit_batch_holds_reference_and_segments_and_an_image_batch_none(folders: tuple[Path, Path]):
    loader = batches(folders)
    drawn = list(loader.run(0, 0, count=20))
    assert {batch.task for batch in drawn} == {"image", "edit"}
    for batch in drawn:
        if batch.task == "image":
            assert batch.references is None and set(batch.levels) <= {"", "source", "short"}
            continue
        assert batch.references is not None and set(batch.levels) <= {"", "instruction", "caption"}
        for reference, text, caption in zip(batch.references, batch.text, batch.captions, strict=True):
            assert sum(reference.segments) == len(text) and len(reference.segments) == 3
            middle = torch.split(text, list(reference.segments))[1]
            assert torch.equal(middle, loader.text.encode([caption])[0])
            assert reference.latent.shape == batch.latents.shape[1:] and reference.siglip is None


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(1, 13), max_size=3), world=st.integers(1, 3), prefetch=st.integers(1, 4),
       cache=st.sampled_from([0, 3000, 1 << 30]))  # fmt: skip
def test_however_often_a_loader_is_cut_off_its_ranks_hold_the_batches_of_one_that_was_not(
    folders: tuple[Path, Path], cuts: list[int], world: int, prefetch: int, cache: int
):
    straight = list(batches(folders).run(0, 0, count=14))
    parts = list[list[TrainBatch]]()
    for rank in range(world):
        found, place = list[TrainBatch](), (0, 0)
        for until in [*sorted(cuts), 14]:
            loader = batches(folders, prefetch=prefetch, cache_bytes=cache)
            for batch in itertools.islice(loader.run(*place, count=14, rank=rank, world_size=world), until - len(found)):
                found.append(batch)
                place = (batch.epoch, batch.number + 1)
        parts.append(found)
    for whole, *slices in zip(straight, *parts, strict=True):
        assert {(part.epoch, part.number, part.task) for part in slices} == {(whole.epoch, whole.number, whole.task)}
        assert [i for part in slices for i in part.ids] == whole.ids
        for name in ("latents", "noise", "t"):
            assert torch.equal(torch.cat([getattr(part, name) for part in slices]), getattr(whole, name))
        assert [caption for part in slices for caption in part.captions] == whole.captions


def test_the_reference_is_the_source_and_the_latent_the_target_in_both_directions(folders: tuple[Path, Path]):
    loader = batches(folders, caption_dropout=0.0, language_weights={"en": 1.0}, instruction_share=1.0)
    edits = [batch for batch in loader.run(0, 0, count=20) if batch.references is not None]
    seen = set()
    for batch in edits:
        for latent, reference, told in zip(batch.latents, batch.references or (), batch.captions, strict=True):
            red, blue = (
                float(loader.autoencoder.decode(x[None])[0, 0].mean()) > 0 for x in (reference.latent, latent)
            )  # the red channel of source and target
            assert told == ("make it red" if blue else "make it blue") and red != blue
            seen.add(told)
    assert seen == {"make it red", "make it blue"}


def test_instruction_or_caption_is_drawn_with_its_share_and_dropped_with_its(folders: tuple[Path, Path]):
    loader = batches(folders, caption_dropout=0.2, instruction_share=0.75, language_weights={"en": 3.0, "zh": 1.0})
    batches_drawn = list(loader.run(0, 0, count=400))
    drawn = [batch for batch in batches_drawn if batch.task == "edit"]
    levels = Counter(level for batch in drawn for level in batch.levels)
    languages = Counter(language for batch in drawn for language in batch.languages if language)
    total = levels.total()
    assert levels[""] / total == pytest.approx(0.2, abs=0.04)
    assert levels["instruction"] / total == pytest.approx(0.8 * 0.75, abs=0.05)
    assert languages["en"] / languages.total() == pytest.approx(0.75, abs=0.04)
    assert total / (6 * len(batches_drawn)) == pytest.approx(0.4, abs=0.02)


def test_a_mixed_run_goes_on_from_any_batch_and_slices_alike(folders: tuple[Path, Path]):
    straight = list(batches(folders).run(0, 0, count=24))
    for cut in (3, 8, 9, 17, 23):
        again = next(batches(folders).run(straight[cut - 1].epoch, straight[cut - 1].number + 1, count=1))
        assert (again.ids, again.captions, again.task) == (straight[cut].ids, straight[cut].captions, straight[cut].task)
        assert torch.equal(again.latents, straight[cut].latents) and torch.equal(again.noise, straight[cut].noise)
    ranks = [list(batches(folders).run(0, 0, count=24, rank=rank, world_size=4)) for rank in range(4)]
    for number, whole in enumerate(straight):
        parts = [rank[number] for rank in ranks]
        assert [i for part in parts for i in part.ids] == whole.ids
        assert torch.equal(torch.cat([part.latents for part in parts]), whole.latents)


def test_losses_of_edits_are_those_of_the_omni_forward_one_by_one(folders: tuple[Path, Path]):
    loader = batches(folders)
    batch = next(batch for batch in loader.run(0, 0, count=20) if batch.task == "edit")
    model = DiT(SMALL).initialize(seed=0)
    with torch.no_grad():
        torch.nn.init.normal_(model.all_final_layer["2-1"].linear.weight, std=0.1)  # zero at first: every output alike
        losses = sample_losses(model, batch, loader.config)
        assert batch.references is not None
        for slot, reference in enumerate(batch.references):
            x_t = interpolate(batch.latents[slot], batch.noise[slot], batch.t[slot])
            text = torch.split(batch.text[slot], list(reference.segments))
            (velocity,) = model([OmniSample(images=(reference.latent, x_t), text=text)], batch.t[slot : slot + 1])
            alone = (velocity - velocity_target(batch.latents[slot], batch.noise[slot])).square().mean()
            assert float(losses[slot]) == pytest.approx(float(alone), rel=1e-4)
        split = torch.cat([sample_losses(model, part, loader.config) for part in batch.split(4)])
        assert torch.allclose(split, losses, rtol=1e-4)
        darker = tuple(replace(reference, latent=-reference.latent) for reference in batch.references)
        other = replace(batch, references=darker)
        assert not torch.allclose(sample_losses(model, other, loader.config), losses, rtol=1e-3)


def test_a_source_of_another_shape_keeps_its_own_aspect(folders: tuple[Path, Path], tmp_path: Path):
    pairs = write_tiny_pairs(tmp_path / "wide", 8, source_px=(48, 16))
    batch = next(batch for batch in batches((folders[0], pairs)).run(0, 0, count=20) if batch.task == "edit")
    assert batch.references is not None
    assert {tuple(reference.latent.shape) for reference in batch.references} == {(12, 2, 6)}  # 24 x 8 px in blocks of 4
    assert batch.latents.shape[1:] == (12, 4, 4)


def test_a_tower_shows_the_references_to_a_model_with_siglip_features(folders: tuple[Path, Path], tmp_path: Path):
    from transformers import Siglip2ImageProcessor, Siglip2VisionConfig, Siglip2VisionModel

    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "num_patches": 16}
    Siglip2VisionModel(Siglip2VisionConfig(**shape, patch_size=8)).save_pretrained(tmp_path / "siglip")
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(tmp_path / "siglip")
    model = replace(SMALL, siglip_feat_dim=16)
    loader = batches(folders, siglip=str(tmp_path / "siglip"), model=model)
    batch = next(batch for batch in loader.run(0, 0, count=20) if batch.task == "edit")
    assert batch.references is not None
    assert {reference.siglip.shape for reference in batch.references if reference.siglip is not None} == {(4, 4, 16)}
    assert torch.isfinite(sample_losses(DiT(model).initialize(seed=0), batch, loader.config)).all()


def test_other_encoders_than_qwen_get_the_prompt_between_empty_texts():
    assert edit_texts(HashText(width=8), "make it red") == ["", "make it red", ""]


def test_pictures_of_pairs_keep_their_pixels(folders: tuple[Path, Path]):
    loader = batches(folders)
    batch = next(batch for batch in loader.run(0, 0, count=20) if batch.task == "edit")
    rows = {name: row for row, name in enumerate(loader._edits.reader.ids)}  # type: ignore[union-attr]
    shape = loader.plan.batch(batch.epoch, batch.number).shape
    for name, latent in zip(batch.ids, batch.latents, strict=True):
        pixels = loader._edits.reader.target(rows[name], shape)  # type: ignore[union-attr]
        encoded = loader.autoencoder.encode(to_signed(torch.from_numpy(np.ascontiguousarray(pixels))[None]))[0]
        assert torch.equal(encoded, latent)
