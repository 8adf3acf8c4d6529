"""Edits whose targets are known: done, not done, and told what another was told."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tiny_pairs import write_tiny_pairs
from tiny_run import LEARNING, config
from tiny_shards import squares, write_tiny_shards

from model.config import DataConfig, ValidationConfig
from model.evaluate_edits import Edit, evaluate_edits, measured
from model.shard_reader import Caption
from model.train import train

BRIGHTER = Caption("instruction", "en", "brighter")
SETTINGS = {"num_edits": 12, "num_steps": 4, "guidance": 1.0, "seed": 0}


def flat(level: int) -> np.ndarray:
    return np.full((4, 4, 3), level, np.uint8)


def test_an_edit_is_done_when_its_result_is_nearer_to_the_target_than_to_the_source():
    edits = [Edit(flat(0), flat(0), flat(200), BRIGHTER, True), Edit(flat(100), flat(100), flat(200), BRIGHTER, False)]
    made = [np.stack([flat(180), flat(0)]), np.stack([flat(140), flat(200)])]
    found = measured(edits, made, [flat(200), flat(185)])
    assert found == {
        "edits": 2, "edits_held_out": 0.5,
        "edit_accuracy": 0.5, "edit_error": round(80 / 300, 4),  # 20 + 60 of 200 + 100 are left
        "wrong_edit_accuracy": 0.5, "wrong_edit_error": round(200 / 300, 4), "edit_error_autoencoder": 0.05,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("edits")
    write_tiny_shards(made, squares(24))
    write_tiny_pairs(made / "pairs", 40, bases=40, grey=True)
    return made


def test_a_model_that_learned_edits_does_them_as_told_and_not_as_others_were_told(folder: Path, tmp_path: Path):
    data = DataConfig(resolution_px=16, pairs=str(folder / "pairs"), pair_share=0.8, instruction_share=1.0)
    held = ValidationConfig(every=120, share=0.3, samples=4)
    settings = dataclasses.replace(LEARNING, data=data, validation=held)
    checkpoint = train(settings, shards=folder / "shards", out=tmp_path / "run").checkpoint
    found = evaluate_edits(checkpoint, **SETTINGS, out=tmp_path)
    assert 5 <= found["edits"] <= 12
    assert found["edits_held_out"] == 1
    assert found["edit_accuracy"] >= 0.9
    assert found["wrong_edit_accuracy"] <= 0.1  # told to become red, it does not become blue
    assert found["edit_error_autoencoder"] < found["edit_error"] < 0.5 < found["wrong_edit_error"]
    assert (tmp_path / "edits.png").is_file()
    assert evaluate_edits(checkpoint, **SETTINGS, out=tmp_path) == found
    assert evaluate_edits(checkpoint, **SETTINGS | {"num_edits": 0}, out=tmp_path) == {}


def test_a_model_that_was_trained_on_images_alone_has_no_edits_to_judge(folder: Path, tmp_path: Path):
    settings = dataclasses.replace(config(), num_steps=1, checkpoint_every=1)
    checkpoint = train(settings, shards=folder / "shards", out=tmp_path / "run").checkpoint
    assert evaluate_edits(checkpoint, **SETTINGS, out=tmp_path) == {}
