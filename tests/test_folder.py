"""Folders of models that are broken: one line that names the file, never weights drawn at random."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file, save_file
from tiny_pipeline import save_pipeline

from curation.errors import ModelError
from model.released import load_pipeline, load_transformer, read_shift

SCHEDULER = "scheduler/scheduler_config.json"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pipeline(tmp_path_factory.mktemp("whole") / "pipeline")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def cut(name: str) -> Callable[[Path], None]:
    """Return what leaves the first half of a file."""

    def half(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return half


def setting(name: str, value: object, file: str = "transformer/config.json") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))

    return change


def weights(name: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    return lambda folder: save_file(change(load_file(folder / name)), folder / name)


def without(key: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda found: {name: x for name, x in found.items() if name != key}


def spoilt(key: str, number: float) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """Return what puts one number at the end of a tensor."""

    def spoil(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found[key].view(-1)[-1] = number
        return found

    return spoil


def in_shards(folder: Path) -> list[Path]:
    """Cut the transformer's weights into shards with an index, and return them."""
    found = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    pattern = "diffusion_pytorch_model{suffix}.safetensors"
    save_torch_state_dict(found, folder / "transformer", filename_pattern=pattern, max_shard_size="200KB")
    return sorted((folder / "transformer").glob("*-of-*"))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a shard is missing": (lambda folder: in_shards(folder)[1].unlink(), r"lacks diffusion_pytorch_model-00002-of-.*index\.json"),
    "weights are cut": (cut(WEIGHTS), "model.safetensors is no safetensors file"),
    "a file is empty": (lambda folder: (folder / WEIGHTS).write_bytes(b""), "is no safetensors file"),
    "weights are whole numbers": (
        weights(WEIGHTS, lambda found: {name: x.int() for name, x in found.items()}), r"stored as torch\.int32; float32",
    ),
    "a key is unknown": (
        weights(WEIGHTS, lambda found: {**found, "extra": torch.zeros(3)}), r"first extra: None expected, \(3,\) found",
    ),
    "a key is missing": (weights(WEIGHTS, without("x_pad_token")), r"first x_pad_token: \(1, 48\) expected, None found"),
    "a setting is unknown": (setting("experts", 8), r"transformer/config\.json: DiTConfig has no 'experts'"),
    "a setting is of another kind": (setting("dim", "wide"), r"dim is 'wide'; a value like 3840"),
    "a list is none": (setting("axes_dims", 16), "axes_dims is 16"),
    "settings do not fit together": (setting("dim", 50), "dim 50 is not a multiple of n_heads 3"),
    "settings are cut": (cut("transformer/config.json"), r"transformer/config\.json cannot be read"),
    "the scheduler is empty": (
        lambda folder: (folder / SCHEDULER).unlink(), r"scheduler_config\.json cannot be read",
    ),
    "the scheduler is another": (
        setting("_class_name", "UniPCMultistepScheduler", SCHEDULER), "UniPCMultistepScheduler is not FlowMatchEuler",
    ),
    "the grid is another": (setting("use_karras_sigmas", True, SCHEDULER), "use_karras_sigmas is True, not False"),
    "the VAE lacks a weight": (
        weights("vae/diffusion_pytorch_model.safetensors", without("decoder.conv_in.weight")),
        r"vae lacks 1 weights, first decoder\.conv_in\.weight",
    ),
    "the VAE is cut": (cut("vae/diffusion_pytorch_model.safetensors"), "vae cannot be loaded"),
    "the text encoder lacks a weight": (
        weights("text_encoder/model.safetensors", without("layers.0.mlp.up_proj.weight")),
        r"text_encoder lacks 1 weights, first layers\.0\.mlp\.up_proj\.weight",
    ),
    "a weight is NaN": (
        weights(WEIGHTS, spoilt("x_pad_token", math.nan)), r"transformer: x_pad_token holds NaN or infinity, 1 of 48 numbers",
    ),
    "the VAE is infinite": (
        weights("vae/diffusion_pytorch_model.safetensors", spoilt("decoder.conv_in.bias", -math.inf)),
        r"vae: decoder\.conv_in\.bias holds NaN",
    ),
    "the text encoder is NaN": (
        weights("text_encoder/model.safetensors", spoilt("layers.0.mlp.up_proj.weight", math.nan)),
        r"text_encoder: layers\.0\.mlp\.up_proj\.weight holds NaN",
    ),
    "the tokenizer is empty": (
        lambda folder: [path.unlink() for path in (folder / "tokenizer").iterdir()], "tokenizer cannot be loaded",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_said_in_one_line(copy: Path, what: str):
    breaks, message = BROKEN[what]
    breaks(copy)
    with pytest.raises(ModelError, match=message) as caught:
        load_pipeline(copy)
    assert "\n" not in str(caught.value)


def test_shards_are_read_as_their_index_says_and_other_variants_are_left_alone(copy: Path):
    wanted = load_transformer(copy).state_dict()
    in_shards(copy)
    save_file({name: torch.zeros_like(x) for name, x in wanted.items()}, copy / "transformer" / "zeros.fp16.safetensors")
    found = load_transformer(copy).state_dict()
    assert all(torch.equal(found[name], x) for name, x in wanted.items())


@pytest.mark.parametrize(("stored", "read"), [(torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)])
def test_float16_weights_are_computed_with_in_float32(copy: Path, stored: torch.dtype, read: torch.dtype):
    weights(WEIGHTS, lambda found: {name: x.to(stored) for name, x in found.items()})(copy)
    assert {x.dtype for x in load_transformer(copy).parameters()} == {read}


def test_the_line_of_a_dynamic_shift_counts_where_it_is_used(copy: Path):
    setting("max_shift", 2.0, SCHEDULER)(copy)
    assert read_shift(copy) == (3.0, False)
    setting("use_dynamic_shifting", True, SCHEDULER)(copy)
    with pytest.raises(ModelError, match=r"max_shift is 2\.0, not 1\.15"):
        read_shift(copy)
