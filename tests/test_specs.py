"""Names in a training's settings that nothing knows are refused before anything runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from curation.errors import ConfigError
from jobs.config import parse_config
from jobs.pipeline import pipeline
from model.specs import check_folders

MODEL = {"dim": 32, "n_heads": 2, "axes_dims": [4, 6, 6], "in_channels": 3, "cap_feat_dim": 32}
FITS = {"autoencoder": "pca:4:3", "text": "hash:32", "model": MODEL}

WRONG: dict[str, tuple[dict[str, object], str]] = {
    "autoencoder": ({"autoencoder": "vae"}, "autoencoder is 'vae'; write pca:<downsample>:<channels> or flux:<folder>"),
    "autoencoder of too many channels": ({"autoencoder": "pca:2:13"}, "blocks of 2 x 2 px have 1 to 12 channels"),
    "autoencoder of no pixels": ({"autoencoder": "pca:0:3"}, "pca:0:3"),
    "text": ({"text": "bert"}, "text is 'bert'; write hash:<width>, minilm or qwen3:<folder>"),
    "text without a width": ({"text": "hash:0"}, "text is 'hash:0'"),
    "text of another width": ({"text": "minilm"}, "model.cap_feat_dim is 32; minilm gives 384"),
    "latents of another width": ({"autoencoder": "pca:4:12"}, "model.in_channels is 3; pca:4:12 gives 12"),
    "device": ({"device": "gpu"}, "device is 'gpu'; it must be cpu, cuda or cuda:<n>"),
    "level": ({"data": {"level_weights": {"brief": 1.0}}}, "data.level_weights names 'brief'; it must be among tags, short"),
    "language": ({"data": {"language_weights": {"english": 1.0}}}, "data.language_weights names 'english'; .* en, zh"),
    "weights": ({"data": {"level_weights": {"short": 0.0}}}, "weights must be 0 or more, and one of them more"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_name_that_nothing_knows_is_refused_before_any_stage(what: str):
    change, message = WRONG[what]
    with pytest.raises(ConfigError, match=message) as caught:
        pipeline(parse_config({"source": "s", "out": "o", "train": FITS | change}, origin="run.yaml"))
    assert "\n" not in str(caught.value)


def test_names_that_fit_are_taken():
    assert "train" in [
        planned.stage.name for planned in pipeline(parse_config({"source": "s", "out": "o", "train": FITS}, origin=""))
    ]


def test_a_run_whose_training_names_a_folder_that_is_not_there_does_not_begin(tmp_path: Path):
    config = tmp_path / "run.yaml"
    train = {"autoencoder": f"flux:{tmp_path}/vae", "text": "minilm", "model": {"cap_feat_dim": 384}}
    config.write_text(json.dumps({"source": str(tmp_path), "out": str(tmp_path / "run"), "train": train}))  # JSON is YAML
    done = subprocess.run([sys.executable, "-m", "jobs", "run", str(config)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [f"imageloom: train.autoencoder names {tmp_path}/vae, which does not exist"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["autoencoder", "text", "siglip", "init"])
def test_folders_that_are_not_there_are_named(name: str, tmp_path: Path):
    lost = str(tmp_path / "lost")
    there = {"autoencoder": f"flux:{tmp_path}", "text": f"qwen3:{tmp_path}", "siglip": "", "init": None}
    check_folders(**there)  # type: ignore[arg-type]
    wrong = there | {name: {"autoencoder": f"flux:{lost}", "text": f"qwen3:{lost}"}.get(name, lost)}
    with pytest.raises(ConfigError, match=f"train.{name} names {lost}, which does not exist"):
        check_folders(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": MODEL | {"n_heads": 0}}, "model.n_heads is 0; it must be finite and greater than 0"),
        ({"model": MODEL | {"rope_theta": -1}}, "model.rope_theta is -1"),
        ({"model": MODEL | {"norm_eps": -1}}, "norm_eps -1.0; both must be 0 or more"),
        ({"model": MODEL | {"all_patch_size": []}}, r"all_patch_size is \[\]"),
        ({"model": MODEL | {"all_patch_size": [0]}}, r"all_patch_size is \[0\]"),
        ({"model": MODEL | {"all_f_patch_size": [2]}}, "the first frame size 1"),
        ({"model": MODEL | {"siglip_feat_dim": -3}}, "model.siglip_feat_dim is -3"),
        ({"data": {"resolution_px": 0}}, "data.resolution_px is 0"),
        ({"data": {"caption_dropout": 2}}, r"data.caption_dropout is 2.0; it must be in \[0, 1\]"),
        ({"data": {"cache_bytes": -1}}, "data.cache_bytes is -1; it must be 0 or more"),
        ({"betas": [1, 1]}, r"betas are \[1.0, 1.0\], in \[0, 1\)"),
        ({"weight_decay": float("nan")}, "weight_decay is nan; it must be 0 or more"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"num_threads": 10**6}, "num_threads is 1000000; it must be at most 1024"),
        ({"seed": -1}, r"seed is -1; it must be in \[0, 2\^63\)"),
        ({"learning_rate": float("inf")}, "learning_rate is inf; it must be finite"),
    ],
)
def test_numbers_out_of_range_are_refused_with_their_name(settings: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        parse_config({"source": "s", "out": "o", "train": FITS | settings}, origin="run.yaml")
