import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import MODEL, config
from tiny_shards import squares, write_tiny_shards

from curation.errors import ConfigError, ModelError, StaleInput
from model.checkpoint import load_model, read_base
from model.config import LoraConfig, TrainConfig
from model.dit import DiT
from model.initial import digest_of, find_base, initial_model
from model.released import save_released
from model.schedule import learning_rate
from model.train import train

LORA = LoraConfig(rank=2, alpha=4.0, targets=("to_q", "w2"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("initial"), squares(24))


@pytest.fixture(scope="module")
def base(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(num_steps=6, checkpoint_every=6), shards=shards, out=tmp_path_factory.mktemp("base")).checkpoint


@pytest.fixture(scope="module")
def adapted(shards: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapted")
    train(config(init=str(base), lora=LORA, num_steps=8), shards=shards, out=out)
    return out


def test_training_begins_with_the_averaged_weights_and_the_autoencoder_of_a_checkpoint(shards: Path, base: Path, tmp_path: Path):
    found = find_base(str(base.parent))
    assert found is not None and found.path == str(base)
    started = initial_model(config(init=str(base)), found).state_dict()
    assert all(torch.equal(started[name], tensor) for name, tensor in load_file(base / "ema.safetensors").items())
    result = train(
        config(init=str(base.parent), num_steps=2), shards=write_tiny_shards(tmp_path, squares(12, seed=3)), out=tmp_path
    )
    assert (result.checkpoint / "autoencoder.safetensors").read_bytes() == (base / "autoencoder.safetensors").read_bytes()
    assert read_base(result.checkpoint) == found


def test_a_training_of_all_weights_goes_on_without_its_base(shards: Path, base: Path, tmp_path: Path):
    shutil.copytree(base, tmp_path / "base")
    settings = config(init=str(tmp_path / "base"), num_steps=4)
    train(settings, shards=shards, out=tmp_path / "run")
    shutil.rmtree(tmp_path / "base")
    assert train(settings, shards=shards, out=tmp_path / "run").step == 4


def test_training_begins_with_released_weights_and_a_siglip_branch_is_drawn(tmp_path: Path):
    settings = TrainConfig(model=replace(MODEL, pad_to=32), init=str(tmp_path / "released"))
    weights = DiT(settings.model).initialize(seed=5)
    save_released(weights, tmp_path / "released")
    omni = TrainConfig(model=replace(MODEL, pad_to=32, siglip_feat_dim=8), init=settings.init)
    started = initial_model(omni, find_base(omni.init)).state_dict()
    assert all(torch.equal(started[name], tensor) for name, tensor in weights.state_dict().items())
    assert started["siglip_pad_token"].abs().max() > 0


def test_a_distilled_checkpoint_is_refused_unless_asked_for(base: Path, tmp_path: Path):
    shutil.copytree(base, tmp_path / "turbo")
    path = tmp_path / "turbo" / "transformer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_is_distilled": True}))
    manifest = tmp_path / "turbo" / "manifest.json"
    files = {name: digest for name, digest in json.loads(manifest.read_text()).items() if name != "transformer.json"}
    manifest.write_text(json.dumps(files))
    found = find_base(str(tmp_path / "turbo"))
    with pytest.raises(ConfigError, match="is distilled to few steps"):
        initial_model(config(init=found.path), found)
    initial_model(config(init=found.path, init_distilled=True), found)


def test_a_base_of_another_architecture_is_refused_by_the_field_that_differs(base: Path, tmp_path: Path):
    found = find_base(str(base))
    for changes, said in (({"dim": 64, "axes_dims": (8, 12, 12)}, "dim 32"), ({"rope_theta": 100.0}, "rope_theta 256.0")):
        with pytest.raises(ModelError, match=f"init: .* has {said}, train.model"):
            initial_model(config(init=str(base), model=replace(MODEL, **changes)), found)
    heads = replace(MODEL, n_heads=4, n_kv_heads=4, axes_dims=(2, 4, 2))
    with pytest.raises(ModelError, match=r"has n_heads 2, train\.model\.n_heads is 4"):
        initial_model(config(init=str(base), model=heads), found)


def test_what_is_no_checkpoint_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match="is no checkpoint, holds none"):
        find_base(str(tmp_path))
    with pytest.raises(ConfigError, match="lora adapts given weights"):
        config(lora=LORA)


def test_a_checkpoint_of_adapters_holds_nothing_else_and_opens_as_a_whole_model(base: Path, adapted: Path):
    for name in ("model", "ema"):
        assert all(".lora_" in key for key in load_file(adapted / "step-000008" / f"{name}.safetensors"))
    moments = load_file(adapted / "step-000008" / "optimizer.safetensors")
    assert all(".lora_" in key for key in moments)
    merged, plain = load_model(adapted / "step-000008"), load_model(base)
    assert merged.state_dict().keys() == plain.state_dict().keys()
    changed = {name for name, x in merged.state_dict().items() if not torch.equal(x, plain.state_dict()[name])}
    assert changed == {name for name in plain.state_dict() if name.endswith(("to_q.weight", "w2.weight"))}


def test_training_of_adapters_goes_on_to_the_same_bits(shards: Path, base: Path, adapted: Path, tmp_path: Path):
    shutil.copytree(adapted, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "step-000008")
    train(config(init=str(base), lora=LORA, num_steps=8), shards=shards, out=tmp_path / "run")
    files = [(out / "step-000008" / "model.safetensors").read_bytes() for out in (adapted, tmp_path / "run")]
    assert files[0] == files[1]


def test_adapters_without_their_base_are_refused(shards: Path, base: Path, adapted: Path, tmp_path: Path):
    shutil.copytree(base, tmp_path / "base")
    result = train(config(init=str(tmp_path / "base"), lora=LORA, num_steps=2), shards=shards, out=tmp_path / "run")
    assert digest_of(tmp_path / "base") == digest_of(base)
    shutil.copy(base / "model.safetensors", tmp_path / "base" / "ema.safetensors")
    with pytest.raises(StaleInput, match="has changed since"):
        load_model(result.checkpoint)
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(StaleInput, match="is gone"):
        load_model(result.checkpoint)


def test_schedules_warm_up_and_end_as_their_names_say():
    common = {"num_steps": 100, "warmup_steps": 10, "learning_rate": 1.0, "constant_share": 0.5, "final_lr_share": 0.1}
    constant, cosine = (TrainConfig(schedule=name, **common) for name in ("constant", "cosine"))
    assert [learning_rate(step, constant) for step in (0, 9, 99)] == pytest.approx([0.1, 1, 1])
    assert [learning_rate(step, cosine) for step in (0, 49, 74, 99)] == pytest.approx([0.1, 1, 0.55, 0.1])
    with pytest.raises(ConfigError, match="schedule is 'exponential'"):
        TrainConfig(schedule="exponential")


def test_old_checkpoints_without_the_new_settings_go_on(shards: Path, base: Path, tmp_path: Path):
    shutil.copytree(base.parent, tmp_path / "run")
    folder = tmp_path / "run" / base.name
    values = json.loads((folder / "config.json").read_text())
    for name in ("accumulation", "shard", "schedule", "compile", "gradient_checkpointing", "init", "init_distilled"):
        del values[name]
    (folder / "config.json").write_text(json.dumps(values))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["config.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert train(config(num_steps=6, checkpoint_every=6), shards=shards, out=tmp_path / "run").step == 6
