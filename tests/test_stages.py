"""The curriculum of examples/stages: each stage has its own mix, starts from an earlier one's weights, and runs."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from tiny_pairs import write_tiny_pairs
from tiny_shards import squares, write_tiny_shards

from jobs.direct import train_config
from model.checkpoint import latest_checkpoint, load_model
from model.config import TrainConfig
from model.train import train
from model.watch import Update

ROOT = Path(__file__).parent.parent
STAGES = ("pretrain", "omni", "sft", "edit")


def stage(name: str) -> TrainConfig:
    return train_config(ROOT / "examples" / "stages" / f"{name}.yaml")


def small(config: TrainConfig, folder: Path, pairs: Path) -> TrainConfig:
    """The stage as it is, with few updates, and its inputs where the test has them."""
    data = dataclasses.replace(config.data, pairs=str(pairs) if config.data.pairs else "", token_budget=400)
    assert config.validation is not None
    assert config.preview is not None
    return dataclasses.replace(
        config, data=data, num_steps=6, batch_size=8, checkpoint_every=6, num_threads=1, warmup_steps=1,
        init=str(folder / Path(config.init).name) if config.init else None,
        validation=dataclasses.replace(config.validation, samples=4, share=0.1, times=(0.5,)),
        preview=dataclasses.replace(config.preview, count=2, num_steps=2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def curriculum(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Update]]]:
    """All four stages in order; returns their folder and what every update of each trained on."""
    folder = tmp_path_factory.mktemp("stages")
    levels = ("tags", "short", "medium", "long", "prompt")
    pictures = [
        dataclasses.replace(
            picture, weight=4.0 if i < 4 else 0.8,
            captions=[(language, level, f"{level} {text}") for language, _, text in picture.captions for level in levels],
        )
        for i, picture in enumerate(squares(48))
    ]  # fmt: skip
    shards, pairs = write_tiny_shards(folder / "data", pictures), write_tiny_pairs(folder / "pairs", 12)
    seen: dict[str, list[Update]] = {}
    for name in STAGES:
        updates = seen.setdefault(name, [])
        watch = lambda update, updates=updates: updates.append(dataclasses.replace(update, state=None)) or {}  # noqa: E731
        train(small(stage(name), folder, pairs), shards=shards, out=folder / name, watches=[watch])
    return folder, seen


def test_every_stage_runs_to_its_end_and_is_watched(curriculum: tuple[Path, dict[str, list[Update]]]):
    folder, _ = curriculum
    for name in STAGES:
        last = json.loads((folder / name / "log.jsonl").read_text().splitlines()[-1])
        assert last["step"] == 6
        assert 0 < last["validation/ema"] < 20
        assert (folder / name / last["samples"]).is_file()


def test_every_stage_begins_with_the_averaged_weights_of_an_earlier_one(curriculum: tuple[Path, dict[str, list[Update]]]):
    folder, _ = curriculum
    assert [stage(name).init for name in STAGES] == [None, "runs/stages/pretrain", "runs/stages/omni", "runs/stages/omni"]
    weights = {}
    for name in STAGES:
        checkpoint = latest_checkpoint(folder / name)
        assert checkpoint is not None
        weights[name] = torch.cat([p.flatten() for p in load_model(checkpoint).parameters()])
    apart = {(a, b): float((weights[a] - weights[b]).norm()) for a in STAGES for b in STAGES}
    fresh = float((weights["pretrain"] - weights["pretrain"].mean()).norm())
    for name, base in (("omni", "pretrain"), ("sft", "omni"), ("edit", "omni")):
        assert 0 < apart[name, base] < 0.2 * fresh  # a few updates away, not drawn anew


def test_held_out_images_are_the_same_in_every_stage(curriculum: tuple[Path, dict[str, list[Update]]]):
    folder, _ = curriculum
    excluded = [json.loads((folder / name / "plan.json").read_text())["excluded"] for name in STAGES]
    assert all(one == excluded[0] for one in excluded)
    assert len({(stage(name).validation.share, stage(name).validation.seed) for name in STAGES}) == 1  # type: ignore[union-attr]


def test_each_stage_trains_on_its_own_mix(curriculum: tuple[Path, dict[str, list[Update]]]):
    _, seen = curriculum
    tasks = {name: Counter(update.batch.task for update in updates) for name, updates in seen.items()}
    levels = {name: {level for u in seen[name] if u.batch.task == "image" for level in u.batch.levels} - {""} for name in STAGES}
    assert set(tasks["pretrain"]) == set(tasks["sft"]) == {"image"}
    assert tasks["omni"]["edit"] >= 1
    assert tasks["edit"]["edit"] >= 1
    assert "prompt" not in levels["pretrain"]
    assert levels["sft"] <= {"prompt", "long"}
    assert {"zh", "en"} <= {language for update in seen["omni"] for language in update.batch.languages}
    shares = [stage(name).data.pair_share for name in ("omni", "edit")]
    assert shares == [0.2, 0.2]  # 4:1
    assert stage("pretrain").data.resolution_px < stage("omni").data.resolution_px
    assert [stage(name).data.use_weights for name in STAGES] == [False, False, True, True]
