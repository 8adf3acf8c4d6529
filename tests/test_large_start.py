"""How large models begin and are written: no process holds a whole one. One process of sixteen is real, its partners are not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from one_of_sixteen import CONFIG, MODEL
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from model import sharded
from model.autoencoder import PCAAutoencoder
from model.checkpoint import Progress, save_checkpoint
from model.dit import DiT
from model.drawn import drawn_weights
from model.released import save_released
from model.stored import StoredWeights

RANK = 3
WHOLE_BYTES = 70_318_768
"""The weights of MODEL in float32; a state is twice that when it begins and four times when it goes on."""


def moments(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What AdamW may have remembered, another number for every tensor and kind."""
    kinds = {"exp_avg": 2.0, "exp_avg_sq": 3.0}
    found = {f"{kind}/{name}": weight * factor for kind, factor in kinds.items() for name, weight in weights.items()}
    return found | {f"step/{name}": torch.tensor(5.0) for name in weights}


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Weights that no training here would draw."""
    return {name: tensor + 1 for name, tensor in DiT(MODEL).initialize(seed=3).state_dict().items()}


@pytest.fixture(scope="module")
def started(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process of sixteen held and needed: drawn, from a released folder, from a checkpoint of one process."""
    out = tmp_path_factory.mktemp("large")
    model = DiT(MODEL)
    model.load_state_dict(weights)
    save_released(model, out / "released", max_shard="30MB")
    pca = PCAAutoencoder.fit([torch.rand(4, 3, 16, 16)], downsample=4, channels=3)
    checkpoint = save_checkpoint(
        out / "run", progress=Progress(5, 0, 5, ""), config=CONFIG, weights=weights,
        ema={name: weight * 5 for name, weight in weights.items()}, optimizer=moments(weights), autoencoder=pca,
    )  # fmt: skip
    command = [sys.executable, "-W", "ignore", "tests/one_of_sixteen.py", out / "released", checkpoint, out, str(RANK)]
    subprocess.run(
        command, check=True, env=os.environ | {"PYTHONPATH": ".", "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[1]
    )
    return out


def part(whole: Tensor) -> Tensor:
    """The rows of the process: torch.chunk, and nothing once there are no rows left."""
    chunks = whole.chunk(16)
    return chunks[RANK] if RANK < len(chunks) else whole[:0]


@pytest.mark.parametrize("start", ["drawn", "released", "resumed"])
def test_a_process_needs_memory_for_its_part_and_never_for_the_whole_model(started: Path, start: str):
    found = json.loads((started / "bytes.json").read_text())
    assert sum(tensor.numel() * 4 for tensor in DiT(MODEL).parameters()) == WHOLE_BYTES
    copies = 4 if start == "resumed" else 2
    assert found[start] == pytest.approx(copies * WHOLE_BYTES / 16, rel=0.1)
    assert found[f"{start} peak"] < found[start] + WHOLE_BYTES / 5
    assert found["drawn peak"] > 0.9 * found["drawn"], "what is there is measured"  # later ones reuse what the first let go


def test_a_process_holds_its_rows_of_drawn_released_and_resumed_weights_to_the_bit(started: Path, weights: dict[str, Tensor]):
    shapes = [(name, tuple(tensor.shape)) for name, tensor in DiT(MODEL).named_parameters()]
    drawn = dict(drawn_weights(shapes, seed=CONFIG.seed))
    for start, expected in (("drawn", drawn), ("released", weights), ("resumed", weights)):
        found = load_file(started / f"{start}.safetensors")
        factor = 5 if start == "resumed" else 1
        assert all(torch.equal(found[f"model/{name}"], part(tensor)) for name, tensor in expected.items())
        assert all(torch.equal(found[f"ema/{name}"], part(tensor * factor)) for name, tensor in expected.items())
    for name, tensor in moments(weights).items():
        assert torch.equal(found[f"optimizer/{name}"], tensor if name.startswith("step/") else part(tensor))


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("limit", [1, 40, 1 << 30])
def test_whole_weights_are_put_together_in_portions_to_the_bytes_of_safetensors(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
):
    sizes = {"b.weight": (3, 5), "a": (7,), "c.10": (2, 2, 2), "c.9": (1,)}
    tensors = {name: torch.randn(*size) for name, size in sizes.items()}
    stored = {f"model/{name}": tensor for name, tensor in tensors.items()} | {"ema/a": torch.ones(3)}
    save(stored, storage_writer=FileSystemWriter(tmp_path / "sharded"), no_dist=True)
    monkeypatch.setattr(sharded, "WHOLE_BYTES", limit)
    sharded.write_whole(tmp_path / "sharded", "model/", tmp_path / "ours")
    save_file(tensors, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_rows_of_a_stored_tensor_are_those_of_the_tensor(tmp_path: Path):
    tensor = torch.randn(5, 4).bfloat16()
    save_file({"a": tensor}, tmp_path / "one")
    save_file({"b": tensor[0]}, tmp_path / "two")
    stored = StoredWeights([tmp_path / "one", tmp_path / "two"])
    assert stored.shapes == {"a": (5, 4), "b": (4,)}
    assert torch.equal(stored.read("a", slice(1, 3)), tensor[1:3])
    assert torch.equal(stored.read("b", slice(3, 4)), tensor[0][3:4])
    assert torch.equal(stored.read("a"), tensor)
