"""What a small model learns on two CPU cores in eight minutes, with the numbers that show where accuracy alone would fool.

    .venv/bin/python -m benchmarks.learning                        # about 25 minutes on two quiet cores, evaluation included
    .venv/bin/python -m benchmarks.learning --only digits          # one of the two
    .venv/bin/python -m benchmarks.learning --budget 0.02 --draft  # a look at the machinery; writes no results

Each set is written as a folder of captioned files, turned into shards by the shard writer, trained by model.train and sampled by
model.sampler; judges trained on real images (benchmarks/learning_sets.py) name what samples show. Beside every number stand the
same for real images that were not trained on (what a perfect model would get) and, for accuracy, the share of samples that fit
the prompt of another sample (what a model that ignores prompts would get). Intervals are 95 %: Wilson's for shares, the range
over the sampling seeds for distances. Results go to benchmarks/results/learning.{json,md,png}; a run that was cut off goes on
from its last checkpoint when --scratch is the same.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.about import about
from benchmarks.learning_page import page, write_results
from benchmarks.learning_sets import (
    ALL_FACTS,
    DIGIT_SIDE_PX,
    FACTS,
    POSITION_TEMPLATES,
    SIDE_PX,
    TRAIN_DIGITS,
    Digits,
    ShapeFacts,
    ShapeJudge,
    digit_pixels,
    digit_prompts,
    drawings,
    shape_pixels,
    write_shape_folder,
)
from benchmarks.raw_shards import write_raw_shards
from benchmarks.watch import cpu_seconds
from model.checkpoint import latest_checkpoint, read_progress
from model.config import DataConfig, DiTConfig, TrainConfig
from model.fidelity import frechet_distance, precision, recall
from model.sampler import Sampler
from model.train import train

SHAPE_IMAGES = 8000
JUDGE_IMAGES = 2500
STEPS = (1, 2, 4, 8, 50)
GUIDANCES = (1.0, 2.0, 3.0)
NUM_STEPS = 8
"""Steps of every number outside the curves."""
SHAPE_GUIDANCE, DIGIT_GUIDANCE = 3.0, 1.0
DATA = {"use_weights": False, "level_weights": {"source": 1.0}, "language_weights": {"en": 1.0}}

SHAPES_CONFIG = TrainConfig(
    model=DiTConfig(
        dim=128, n_layers=4, n_refiner_layers=1, n_heads=4, n_kv_heads=4, in_channels=12, cap_feat_dim=64,
        axes_dims=(8, 12, 12), axes_lens=(512, 64, 64), pad_to=8,
    ),
    data=DataConfig(resolution_px=SIDE_PX, **DATA),  # type: ignore[arg-type]
    autoencoder="pca:4:12", text="hash:64", num_steps=2400, batch_size=32, learning_rate=2e-3, checkpoint_every=300,
)  # fmt: skip
DIGITS_CONFIG = TrainConfig(
    model=DiTConfig(
        dim=64, n_layers=3, n_refiner_layers=1, n_heads=2, n_kv_heads=2, in_channels=1, cap_feat_dim=64,
        axes_dims=(8, 12, 12), axes_lens=(512, 64, 64), pad_to=8,
    ),
    data=DataConfig(resolution_px=DIGIT_SIDE_PX, **DATA),  # type: ignore[arg-type]
    autoencoder="pca:1:1", text="hash:64", num_steps=1600, batch_size=64, learning_rate=1.5e-3, checkpoint_every=300,
)  # fmt: skip


def main() -> None:
    """Train, sample, judge and write the results."""
    options = _options()
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="learning-") as temporary:
        scratch = options.scratch or Path(temporary)
        parts = {name: part for name, part in (("shapes", shapes), ("digits", digits)) if options.only in (None, name)}
        torch.set_num_threads(options.threads)
        results = {name: part(scratch / name, options) for name, part in parts.items()}
    facts = about("python -m benchmarks.learning", load=load, packages=("torch", "numpy", "scikit-learn", "scipy", "pillow"))
    if options.draft:
        print(page({name: {"about": facts, **result} for name, result in results.items()}))
    else:
        write_results(results, facts)


def shapes(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what the model of the shapes does."""
    sampler, training = _trained(
        folder, SHAPES_CONFIG, options, lambda to: write_shape_folder(to, count=SHAPE_IMAGES, seed=options.seed)
    )
    judge = ShapeJudge(*drawings(JUDGE_IMAGES, seed=options.seed + 1), seed=options.seed)
    real, real_labels = drawings(600, seed=options.seed + 2)

    def judged(facts: Sequence[ShapeFacts], seed: int, num_steps: int, guidance: float) -> tuple[np.ndarray, np.ndarray]:
        prompts = [one.caption(POSITION_TEMPLATES[i % len(POSITION_TEMPLATES)]) for i, one in enumerate(facts)]
        pictures = _generate(sampler, prompts, SIDE_PX, seed, num_steps, guidance)
        return pictures, judge.labels(pictures)

    def score(facts: Sequence[ShapeFacts], seeds: Sequence[int], num_steps: int, guidance: float) -> dict[str, Any]:
        made = [judged(facts, seed, num_steps, guidance) for seed in seeds]
        asked = np.array([one.labels() for one in facts])
        shown = [labels for _, labels in made]
        wrong = _shuffled(asked, options.seed)
        return {
            "n": len(facts) * len(seeds),
            "accuracy": _shape_shares(shown, asked),
            "wrong_prompt": _shape_shares(shown, wrong),
            **_distances([shape_pixels(pictures) for pictures, _ in made], shape_pixels(real)),
        }

    held = [facts for facts in ALL_FACTS if not facts.trained]
    everything = [*ALL_FACTS, *ALL_FACTS]
    few = options.seeds[:1]
    real_shown = judge.labels(real)
    return {
        **training,
        "num_steps": NUM_STEPS,
        "guidance": SHAPE_GUIDANCE,
        "all": score(everything, options.seeds, NUM_STEPS, SHAPE_GUIDANCE),
        "held_out_pairs": score(held * 12, options.seeds, NUM_STEPS, SHAPE_GUIDANCE),
        "real": {
            "n": len(real),
            "accuracy": _shape_shares([real_shown], real_labels),
            "wrong_prompt": _shape_shares([real_shown], _shuffled(real_labels, options.seed)),
            **_distances([shape_pixels(drawings(len(everything), seed=90 + i)[0]) for i in range(3)], shape_pixels(real)),
        },
        "curve": [
            {"num_steps": steps, "guidance": w, **score(everything, few, steps, w)}
            for steps, w in _settings(SHAPE_GUIDANCE, options)
        ],
    }


def digits(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what the model of the digits does."""
    known = Digits.load(seed=options.seed)
    sampler, training = _trained(folder, DIGITS_CONFIG, options, lambda to: known.write_folder(to, seed=options.seed))
    judge = known.judge()
    test, test_labels = digit_pixels(known.pictures[TRAIN_DIGITS:]), known.labels[TRAIN_DIGITS:]
    labels, prompts = (list(column) for column in zip(*digit_prompts(len(test)), strict=True))
    asked = np.array(labels)

    def score(seeds: Sequence[int], num_steps: int, guidance: float) -> dict[str, Any]:
        made = [digit_pixels(_generate(sampler, prompts, DIGIT_SIDE_PX, seed, num_steps, guidance)) for seed in seeds]
        shown = [judge.predict(pixels) for pixels in made]
        return {
            "n": len(asked) * len(seeds),
            "accuracy": {"class": shares([one == asked for one in shown])},
            "wrong_prompt": {"class": shares([one == _shuffled(asked, options.seed) for one in shown])},
            **_distances(made, test),
        }

    generator = np.random.default_rng([options.seed, 9])
    trained = [digit_pixels(known.pictures[generator.permutation(TRAIN_DIGITS)[: len(test)]]) for _ in options.seeds]
    shown = judge.predict(test)
    return {
        **training,
        "num_steps": NUM_STEPS,
        "guidance": DIGIT_GUIDANCE,
        "all": score(options.seeds, NUM_STEPS, DIGIT_GUIDANCE),
        "real": {
            "n": len(test),
            "accuracy": {"class": shares([shown == test_labels])},
            "wrong_prompt": {"class": shares([shown == _shuffled(test_labels, options.seed)])},
            **_distances(trained, test),
        },
        "curve": [
            {"num_steps": steps, "guidance": w, **score(options.seeds[:1], steps, w)}
            for steps, w in _settings(DIGIT_GUIDANCE, options)
        ],
    }


def _trained(
    folder: Path, config: TrainConfig, options: argparse.Namespace, write: Callable[[Path], None]
) -> tuple[Sampler, dict[str, Any]]:
    """Make the set, its shards and the model, whatever of them is missing; return a sampler and what training cost."""
    shards = folder / "shards"
    if not shards.exists():
        write(folder / "raw")
        write_raw_shards(folder / "raw", shards, min_side_px=config.data.resolution_px)
    config = replace(
        config, seed=options.seed, num_threads=options.threads, num_steps=round(config.num_steps * options.budget) or 1
    )
    for key, value in options.set:
        config = replace(config, **{key: value})
    before = latest_checkpoint(folder / "training")
    done = read_progress(before).step if before else 0
    started, cpu = time.monotonic(), cpu_seconds()
    result = train(config, shards=shards, out=folder / "training")
    cost = folder / "cost.json"
    if not cost.exists():
        whole = config.num_steps / max(1, config.num_steps - done)  # of a resumed training only the rest was measured
        measured = {"wall_seconds": time.monotonic() - started, "cpu_seconds": cpu_seconds() - cpu}
        costs = {name: round(whole * seconds) for name, seconds in measured.items()}
        cost.write_text(json.dumps({**costs, "loss": round(result.loss, 4), "parameters": result.num_parameters}))
    about_training = {"steps": config.num_steps, "batch_size": config.batch_size, **json.loads(cost.read_text())}
    return Sampler.open(result.checkpoint), about_training


def _generate(sampler: Sampler, prompts: Sequence[str], side_px: int, seed: int, num_steps: int, guidance: float) -> np.ndarray:
    return sampler.generate(
        prompts, width_px=side_px, height_px=side_px, num_steps=num_steps, guidance=guidance, seed=seed, batch_size=128
    )


def _settings(guidance: float, options: argparse.Namespace) -> list[tuple[int, float]]:
    """Pairs of steps and guidance: all steps without guidance and with 3, and all guidances at 8 steps; a draft has fewer."""
    if options.draft:
        return [(NUM_STEPS, w) for w in GUIDANCES]
    pairs = [(steps, w) for w in sorted({1.0, guidance, 3.0}) for steps in STEPS]
    return pairs + [(NUM_STEPS, w) for w in GUIDANCES if (NUM_STEPS, w) not in pairs]


def _shuffled(labels: np.ndarray, seed: int) -> np.ndarray:
    """The labels dealt anew among the samples, as the control."""
    return np.asarray(labels[np.random.default_rng([seed, 10]).permutation(len(labels))])


def _shape_shares(shown: Sequence[np.ndarray], asked: np.ndarray) -> dict[str, dict[str, float]]:
    right = [labels == asked for labels in shown]
    each = {fact: shares([one[:, i] for one in right]) for i, fact in enumerate(FACTS)}
    return each | {"shape_and_colour": shares([one[:, :2].all(1) for one in right])}


def shares(right: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the share of true values with Wilson's 95 % interval. Wilson 1927, https://doi.org/10.2307/2276774"""
    hits = np.concatenate(list(right))
    n, p, z = len(hits), float(hits.mean()), 1.96
    middle, half = p + z * z / (2 * n), z * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    scale = 1 + z * z / n
    return {"value": round(p, 4), "low": round((middle - half) / scale, 4), "high": round((middle + half) / scale, 4)}


def _distances(sets: Sequence[np.ndarray], real: np.ndarray) -> dict[str, dict[str, float]]:
    """Return Frechet distance, precision and recall of each set against `real`: mean and range."""
    measures = {
        "frechet_distance": [frechet_distance(points, real) for points in sets],
        "precision": [precision(real, points) for points in sets],
        "recall": [recall(real, points) for points in sets],
    }
    return {
        name: {"value": round(float(np.mean(found)), 4), "low": round(min(found), 4), "high": round(max(found), 4)}
        for name, found in measures.items()
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("shapes", "digits"))
    parser.add_argument("--scratch", type=Path, help="folder that keeps sets, shards and checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of data, training and controls; settings were chosen on another")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of sampling")
    parser.add_argument("--budget", type=float, default=1.0, help="share of the training steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--draft", action="store_true", help="print, and write no results")
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("KEY", "JSON"), help="a TrainConfig field")
    options = parser.parse_args()
    options.set = [(key, json.loads(value)) for key, value in options.set]
    return options


if __name__ == "__main__":
    main()
