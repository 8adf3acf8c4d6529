"""Low-rank adapters: files that diffusers loads to the same result, read back, merged, trained further."""

from pathlib import Path

import numpy as np
import pytest
import torch
from closed_form import fill
from safetensors.torch import load_file, save_file
from tiny_pipeline import CONFIG, save_pipeline
from tiny_shards import squares, write_tiny_shards
from torch import Tensor

from curation.errors import ConfigError, ModelError
from jobs.direct import export_adapters
from model.config import DataConfig, LoraConfig, PreviewConfig, TrainConfig
from model.dit import DiT
from model.flow import times
from model.lora import add_adapters, load_adapters, load_lora, merge, portable, save_lora
from model.released import load_transformer
from model.sampler import Sampler, denoise
from model.train import train

SETTINGS = LoraConfig(rank=4, alpha=6.0)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pipeline(tmp_path_factory.mktemp("lora") / "pipeline")


def trained(model: DiT, *, seed: int = 0) -> dict[str, Tensor]:
    """The adapters of a model as if training had moved them."""
    generator = torch.Generator().manual_seed(seed)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return parameters


def inputs() -> tuple[list[Tensor], Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    latents = [torch.randn(4, 12, 16, generator=generator) for _ in range(2)]
    return latents, torch.tensor([0.3, 0.7]), [torch.randn(length, 24, generator=generator) for length in (5, 9)]


@torch.no_grad()
def velocity(model: DiT) -> Tensor:
    return torch.stack(model(*inputs()))


@pytest.fixture(scope="module")
def adapted(pipeline: Path) -> DiT:
    model = load_transformer(pipeline)
    add_adapters(model, SETTINGS)
    trained(model)
    return model


@pytest.fixture(scope="module")
def file(adapted: DiT, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "lora.safetensors"
    save_lora(portable({n: p for n, p in adapted.named_parameters() if p.requires_grad}, SETTINGS), path)
    return path


def test_fresh_adapters_change_nothing_and_are_all_that_is_trained(pipeline: Path):
    model = load_transformer(pipeline)
    before = velocity(model)
    add_adapters(model, SETTINGS)
    assert torch.equal(velocity(model), before)
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name for name in names)
    assert len(names) == 2 * 7 * (CONFIG.n_layers + 2 * CONFIG.n_refiner_layers)
    again = load_transformer(pipeline)
    add_adapters(again, SETTINGS)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))


def test_a_merged_model_is_the_adapted_one(pipeline: Path, adapted: DiT, file: Path):
    plain = load_transformer(pipeline)
    assert (velocity(adapted) - velocity(plain)).abs().max() > 0.05, "the adapters say something"
    merged = merge(load_transformer(pipeline), load_lora(file))
    assert torch.allclose(velocity(merged), velocity(adapted), atol=1e-4)
    half = merge(load_transformer(pipeline), load_lora(file), strength=0.5)
    weight = "layers.0.attention.to_q.weight"
    expected = (plain.state_dict()[weight] + merged.state_dict()[weight]) / 2
    assert torch.allclose(half.state_dict()[weight], expected, atol=1e-6)


def test_diffusers_loads_the_file_and_paints_the_same_image(pipeline: Path, file: Path):
    from diffusers import ZImagePipeline

    theirs = ZImagePipeline.from_pretrained(pipeline)
    theirs.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(7))

    def painted() -> np.ndarray:
        return theirs(["a cat"], height=96, width=128, num_inference_steps=4, latents=noise.clone(), guidance_scale=0.0,
                      output_type="latent").images.float().numpy()  # fmt: skip

    plain = painted()
    theirs.load_lora_weights(file.parent, weight_name=file.name)
    wanted = painted()
    assert np.abs(wanted - plain).max() > 0.05, "the adapters change the image"
    sampler = Sampler.open(pipeline)
    text, null = sampler.text.encode(["a cat", ""])
    grid = times(4, shift=sampler.parts.step_shift((4, 12, 16)))
    ours = denoise(merge(sampler.model, load_lora(file)), noise, [text], null, grid=grid)
    assert np.abs(ours.numpy() - wanted).max() <= 1e-4


def test_adapters_trained_here_on_a_pipeline_paint_the_same_image_in_diffusers(pipeline: Path, tmp_path: Path):
    from diffusers import ZImagePipeline
    from transformers import AutoTokenizer, Qwen3Model

    Qwen3Model.from_pretrained(pipeline / "text_encoder").save_pretrained(tmp_path / "qwen")
    AutoTokenizer.from_pretrained(pipeline / "tokenizer").save_pretrained(tmp_path / "qwen")
    shards = write_tiny_shards(tmp_path / "data", squares(8, side_px=32))
    config = TrainConfig(
        model=CONFIG, data=DataConfig(resolution_px=32),
        autoencoder=f"flux:{pipeline / 'vae'}", text=f"qwen3:{tmp_path / 'qwen'}", init=str(pipeline),
        lora=LoraConfig(rank=2, alpha=8.0), num_steps=3, batch_size=4, learning_rate=0.05, warmup_steps=1,
        shift=3.0, num_threads=1, preview=PreviewConfig(count=1, num_steps=1, guidance=1.0),
    )  # fmt: skip
    train(config, shards=shards, out=tmp_path / "run")
    kept = load_file(tmp_path / "run" / "step-000003" / "model.safetensors")
    assert all(".lora_" in name for name in kept)
    export_adapters(tmp_path / "run", tmp_path / "mine.safetensors")
    theirs = ZImagePipeline.from_pretrained(pipeline)
    theirs.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(7))

    def painted() -> np.ndarray:
        return theirs(["a red square"], height=96, width=128, num_inference_steps=2, latents=noise.clone(), guidance_scale=0.0,
                      output_type="latent").images.float().numpy()  # fmt: skip

    plain = painted()
    theirs.load_lora_weights(tmp_path, weight_name="mine.safetensors")
    wanted = painted()
    assert np.abs(wanted - plain).max() > 0.01, "three updates have changed the image"
    for folder, adapters in ((tmp_path / "run" / "step-000003", {}), (pipeline, load_lora(tmp_path / "mine.safetensors"))):
        sampler = Sampler.open(folder)
        text, null = sampler.text.encode(["a red square", ""])
        grid = times(2, shift=sampler.parts.step_shift((4, 12, 16)))
        ours = denoise(merge(sampler.model, adapters), noise, [text], null, grid=grid)
        assert np.abs(ours.numpy() - wanted).max() <= 1e-4
    with pytest.raises(ModelError, match="exists"):
        export_adapters(tmp_path / "run", tmp_path / "mine.safetensors")


def test_a_file_written_by_diffusers_and_peft_is_read_with_its_alpha(pipeline: Path, adapted: DiT, tmp_path: Path):
    from diffusers import ZImagePipeline, ZImageTransformer2DModel
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model_state_dict

    theirs = ZImageTransformer2DModel.from_pretrained(pipeline / "transformer")
    theirs.add_adapter(PeftConfig(r=4, lora_alpha=6.0, target_modules=list(SETTINGS.targets)))
    ours = {n.replace(".default.", "."): p for n, p in adapted.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if ".lora_" in name:
                parameter.copy_(ours[name.replace(".default.", ".")])
    ZImagePipeline.save_lora_weights(
        tmp_path, transformer_lora_layers=get_peft_model_state_dict(theirs),
        transformer_lora_adapter_metadata=theirs.peft_config["default"].to_dict(),
    )  # fmt: skip
    merged = merge(load_transformer(pipeline), load_lora(tmp_path / "pytorch_lora_weights.safetensors"))
    assert torch.allclose(velocity(merged), velocity(adapted), atol=1e-4)


def test_kohyas_and_ai_toolkits_names_are_read(file: Path, tmp_path: Path):
    wanted = load_lora(file)
    renamed: dict[str, Tensor] = {}
    for name, tensor in wanted.items():
        layer, _, half = name.rpartition(".lora_")
        renamed[f"diffusion_model.{layer}.lora_{'down' if half[0] == 'A' else 'up'}.weight"] = tensor / (
            2 if half[0] == "B" else 1
        )
        renamed[f"diffusion_model.{layer}.alpha"] = torch.tensor(8.0)  # twice the rank
    save_file(renamed, tmp_path / "other.safetensors")
    found = load_lora(tmp_path / "other.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_file_can_be_trained_further(pipeline: Path, adapted: DiT, file: Path):
    model = load_transformer(pipeline)
    add_adapters(model, SETTINGS)
    load_adapters(model, load_lora(file), SETTINGS)
    assert torch.allclose(velocity(model), velocity(adapted), atol=1e-5)
    with pytest.raises(ModelError, match="rank = 8"):
        other = fill(DiT(CONFIG))
        add_adapters(other, LoraConfig(rank=8))
        load_adapters(other, load_lora(file), LoraConfig(rank=8))


def test_what_does_not_fit_is_named(file: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="no layer is called 'to_qq'"):
        add_adapters(DiT(CONFIG), LoraConfig(targets=("to_qq",)))
    (tmp_path / "text.safetensors").write_text("not a file of tensors")
    with pytest.raises(ModelError, match="no safetensors file"):
        load_lora(tmp_path / "text.safetensors")
    save_file({"transformer.layers.0.attention.to_q.lokr_w1": torch.ones(2, 2)}, tmp_path / "lokr.safetensors")
    with pytest.raises(ModelError, match="no low-rank adapter"):
        load_lora(tmp_path / "lokr.safetensors")
    save_file({"transformer.layers.0.attention.to_q.lora_A.weight": torch.ones(2, 48)}, tmp_path / "half.safetensors")
    with pytest.raises(ModelError, match="needs lora_A"):
        load_lora(tmp_path / "half.safetensors")
    with pytest.raises(ModelError, match="adapter of"):
        merge(DiT(CONFIG), {"layers.9.attention.to_q.lora_A.weight": torch.ones(2, 48),
                            "layers.9.attention.to_q.lora_B.weight": torch.ones(48, 2)})  # fmt: skip
