import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import LEARNING, config
from tiny_shards import squares, write_tiny_shards

from curation.errors import ConfigError
from model.evaluate import caption_class, evaluate, labelled_images
from model.judge import judged, train_judge
from model.plan import Shape
from model.train import train

CLASSES = {"red": "red square", "blue": "blue square"}
PROMPTS = {"red": ["one red square", "a red square"], "blue": ["one blue square"]}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("evaluate"), squares(160))


def test_a_caption_belongs_to_the_one_class_it_names():
    assert caption_class("One Red square.", CLASSES) == "red"
    assert caption_class("a red square and a blue square", CLASSES) is None
    assert caption_class("a redsquare", {"red": "red"}) is None
    assert caption_class("bored square", {"red": "red"}) is None
    assert caption_class("数字三", {"three": ["three", "数字三"]}) == "three"


def test_real_images_are_labelled_and_split_by_id(shards: Path):
    real = labelled_images(shards, CLASSES, shape=Shape(16, 16))
    assert real.images.shape == (160, 3, 16, 16)
    assert list(real.labels) == [i % 2 for i in range(160)]
    assert 0.1 < real.held_out.mean() < 0.3
    with pytest.raises(ConfigError, match=r"class 'green': 0 source captions say \['green square'\]; 10 are needed"):
        labelled_images(shards, {**CLASSES, "green": "green square"}, shape=Shape(16, 16))


def test_a_trained_model_follows_its_prompts_and_the_control_is_at_chance(shards: Path, tmp_path: Path):
    checkpoint = train(LEARNING, shards=shards, out=tmp_path / "run").checkpoint
    result = evaluate(checkpoint, shards=shards, classes=CLASSES, prompts=PROMPTS, num_samples=40, guidance=2.0, out=tmp_path)
    assert result["judge_accuracy"] > 0.95
    assert result["prompt_accuracy"] > 0.9
    assert abs(result["wrong_prompt_accuracy"] - 0.5) <= 0.25
    assert result["chance"] == 0.5
    assert {"precision", "precision_real", "recall", "recall_real", "frechet_distance", "frechet_distance_real"} <= set(result)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == result
    assert all(not isinstance(value, dict | list) for value in result.values())
    assert (tmp_path / "grid.png").is_file()


def test_an_untrained_model_does_not_follow_its_prompts(shards: Path, tmp_path: Path):
    checkpoint = train(config(num_steps=1, checkpoint_every=1), shards=shards, out=tmp_path / "run").checkpoint
    result = evaluate(checkpoint, shards=shards, classes=CLASSES, prompts=PROMPTS, num_samples=40, out=tmp_path)
    assert abs(result["prompt_accuracy"] - 0.5) <= 0.2
    with pytest.raises(ConfigError, match="class 'blue' has no prompt"):
        evaluate(checkpoint, shards=shards, classes=CLASSES, prompts={"red": ["x"]}, out=tmp_path)


def test_the_judge_is_a_function_of_its_inputs():
    images, labels = torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    a, b = (train_judge(images, labels, num_classes=2, seed=3, epochs=2) for _ in range(2))
    assert np.array_equal(judged(a, images)[1], judged(b, images)[1])
