"""Does curation pay? The same model, for the same steps, on a raw pool and on what `imageloom run` makes of it.

    .venv/bin/python -m benchmarks.curation_pays --scratch DIR              # everything that is missing, about 35 minutes
    .venv/bin/python -m benchmarks.curation_pays --scratch DIR --minutes 8  # a part of it; the next call goes on

The pool (benchmarks/curation_pool.py) has planted near duplicates, swapped captions, unbalanced classes and sources, unreadable
and bad pictures. Arms: `raw` trains on every readable image with the caption it came with; `curated` on the shards of `imageloom
run examples/folder.yaml`, which is not changed for the pool; `unchecked` on those of the same run without its rule against
captions that belong to other pictures; `random` on as many images as are curated, drawn from the raw ones, which separates
cleaner from smaller. `true` is the ceiling: raw without bad pictures and swapped captions, by the truth. All arms learn from
source captions alone, so that no arm has more words; only `curated` and `unchecked` have weights, those of the run. Judges know
real pictures, and all classes are asked for equally often. Results go to benchmarks/results/curation_pays.{json,md}.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import yaml

from benchmarks.about import about
from benchmarks.curation_pays_page import write_results
from benchmarks.curation_pool import Planted, pictures, read_truth, write_pool
from benchmarks.learning import JUDGE_IMAGES, SHAPES_CONFIG
from benchmarks.learning_sets import ALL_FACTS, POSITION_TEMPLATES, SIDE_PX, ShapeJudge, shape_pixels
from benchmarks.raw_shards import write_raw_shards
from benchmarks.watch import cpu_seconds
from curation.tables import Run
from jobs.demo_shapes import SHAPES
from model.fidelity import frechet_distance, recall
from model.sampler import Sampler
from model.train import train

ROOT = Path(__file__).parent.parent
CONFIG = "examples/folder.yaml"
ARMS = ("raw", "random", "unchecked", "curated", "true")
SEEDS = (0, 1, 2)
DRAWN = 2600
NUM_STEPS = 900
RULE = "other_caption"
"""The rule of CONFIG that `unchecked` does without."""
GUIDANCE, SAMPLE_STEPS = 3.0, 8
SAMPLES_EACH = 4
"""Samples of every combination of shape, colour and position."""


def main() -> None:
    """Do what is missing in the scratch folder, and write the results once all is there."""
    options = _options()
    torch.set_num_threads(options.threads)
    until = time.monotonic() + 60 * options.minutes
    scratch: Path = options.scratch
    facts = _once(scratch / "about.json", lambda: _about(options))
    truth = _pool(scratch / "pool", options)
    found = _once(scratch / "found.json", lambda: prepare(scratch, truth))
    results: dict[str, dict[str, Any]] = {}
    for seed in options.seeds:
        for arm in options.arms:
            path = scratch / "arms" / f"{arm}-{seed}.json"
            if not path.exists() and time.monotonic() + options.reserve > until:
                print(f"{arm} {seed} is left for the next call")
                return
            results[f"{arm}-{seed}"] = _once(path, lambda arm=arm, seed=seed: run_arm(scratch, arm, seed, options))
    write_results(results, found, facts, draft=options.draft)


def prepare(scratch: Path, truth: list[Planted]) -> dict[str, Any]:
    """Make the shards of every arm and return what became of what was planted."""
    pool, shards = scratch / "pool", scratch / "shards"
    shutil.rmtree(shards, ignore_errors=True)
    images = write_raw_shards(pool, shards / "raw")
    unchecked = _curate(scratch, "unchecked", _without_rule(scratch))
    shutil.copytree(unchecked.root, scratch / "curated", dirs_exist_ok=True)  # only what follows the rule is made again
    curated = _curate(scratch, "curated", CONFIG, "--redo", "select")
    ids = dict(zip(_files(images, pool), images["id"].to_pylist(), strict=True))
    readable = [name for name, error in zip(images["id"].to_pylist(), images["error"].to_pylist(), strict=True) if error is None]
    size = _kept(curated)
    for seed in SEEDS:
        drawn = np.random.default_rng([seed, 21]).permutation(sorted(set(readable)))[:size]
        write_raw_shards(pool, shards / f"random-{seed}", only=set(drawn.tolist()))
    good = {ids[one.file] for one in truth if one.quality == "good" and not one.swapped}
    write_raw_shards(pool, shards / "true", only=good)
    return {
        "pool": {"files": len(truth), "readable": len(readable), **_planted_counts(truth)},
        "kept": {"raw": len(readable), "random": size, "unchecked": _kept(unchecked), "curated": size, "true": len(good)},
        "fate": {"unchecked": _fate(unchecked, pool, truth), "curated": _fate(curated, pool, truth)},
        "classes": _classes(unchecked, curated, pool, truth),
        "caption_check": _check_quality(unchecked, curated, pool, truth),
    }


def run_arm(scratch: Path, arm: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train on the arm's shards, sample every combination and return what the judges say."""
    folders = {name: scratch / name / "shards" for name in ("unchecked", "curated")}
    own = scratch / "shards" / (f"random-{seed}" if arm == "random" else arm)
    data = replace(SHAPES_CONFIG.data, use_weights=arm in folders)
    steps = round(options.steps)
    config = replace(SHAPES_CONFIG, data=data, seed=seed, num_steps=steps, num_threads=options.threads, checkpoint_every=steps)
    started, cpu = time.monotonic(), cpu_seconds()
    trained = train(config, shards=folders.get(arm, own), out=scratch / "training" / f"{arm}-{seed}")
    cost = {"cpu_seconds": round(cpu_seconds() - cpu), "wall_seconds": round(time.monotonic() - started), "steps": steps}
    facts = [one for one in ALL_FACTS for _ in range(SAMPLES_EACH)]
    prompts = [one.caption(POSITION_TEMPLATES[i % len(POSITION_TEMPLATES)]) for i, one in enumerate(facts)]
    samples = Sampler.open(trained.checkpoint).generate(
        prompts, width_px=SIDE_PX, height_px=SIDE_PX, num_steps=SAMPLE_STEPS, guidance=GUIDANCE, seed=1000 + seed, batch_size=128
    )
    shutil.rmtree(trained.checkpoint.parent)
    return {**cost, "loss": round(trained.loss, 4), **judge_samples(samples, np.array([one.labels() for one in facts]))}


def judge_samples(samples: np.ndarray, asked: np.ndarray) -> dict[str, Any]:
    """Return accuracy and recall of samples, over all and by shape, with the wrong-prompt control and the real floor."""
    judge, real, real_labels = _known()
    other, _ = pictures(len(samples), side_px=SIDE_PX, seed=33)
    shown = judge.labels(samples)
    right = shown == asked
    wrong = asked[np.random.default_rng(34).permutation(len(asked))]
    points, real_points, other_points = (shape_pixels(one) for one in (samples, real, other))
    by_shape = {
        name: {
            "shape": _mean(right[asked[:, 0] == i, 0]),
            "shape_and_colour": _mean(right[asked[:, 0] == i, :2].all(1)),
            "recall": recall(real_points[real_labels[:, 0] == i], points[asked[:, 0] == i]),
        }
        for i, name in enumerate(SHAPES)
    }
    return {
        "shape": _mean(right[:, 0]),
        "colour": _mean(right[:, 1]),
        "position": _mean(right[:, 2]),
        "all_three": _mean(right.all(1)),
        "wrong_prompt_all_three": _mean((shown == wrong).all(1)),
        "judge_all_three": _mean((judge.labels(real) == real_labels).all(1)),
        "recall": recall(real_points, points),
        "recall_real": recall(real_points, other_points),
        "frechet_distance": frechet_distance(points, real_points),
        "frechet_distance_real": frechet_distance(other_points, real_points),
        "by_shape": by_shape,
    }


@lru_cache(maxsize=1)
def _known() -> tuple[ShapeJudge, np.ndarray, np.ndarray]:
    """Return the judges, and real pictures with their labels that no judge has seen: the same for every arm."""
    judge = ShapeJudge(*pictures(JUDGE_IMAGES, side_px=SIDE_PX, seed=31), seed=0)
    return judge, *pictures(960, side_px=SIDE_PX, seed=32)


def _pool(folder: Path, options: argparse.Namespace) -> list[Planted]:
    if folder.with_suffix(".csv").exists():  # written last
        return read_truth(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return write_pool(folder, count=options.drawn, seed=options.pool_seed)


def _curate(scratch: Path, name: str, config: Path | str, *more: str) -> Run:
    out = scratch / name
    command = [sys.executable, "-m", "jobs", "run", str(config), "--source", str(scratch / "pool"), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with (scratch / f"{name}.log").open("w") as log:
        subprocess.run([*command, "--until", "shard", *more], check=True, cwd=ROOT, env=environment, stdout=log, stderr=log)
    return Run(out)


def _without_rule(scratch: Path) -> Path:
    settings = yaml.safe_load((ROOT / CONFIG).read_text())
    settings["select"]["rules"] = [rule for rule in settings["select"]["rules"] if rule["name"] != RULE]
    config = scratch / "unchecked.yaml"
    config.write_text(yaml.safe_dump(settings))
    return config


def _files(images: pa.Table, pool: Path) -> list[str]:
    return [str(Path(uri.removeprefix("file://")).relative_to(pool.absolute())) for uri in images["uri"].to_pylist()]


def _kept(run: Run) -> int:
    return int(run.read("selection")["keep"].to_numpy().sum())


def _by_file(run: Run, pool: Path) -> dict[str, str]:
    """Return by file `kept`, or why it is not there."""
    selection = run.read("selection").to_pylist()
    return {
        name: "kept" if row["keep"] else row["reason"] or row["status"]
        for name, row in zip(_files(run.read("images"), pool), selection, strict=True)
    }


def _kinds(one: Planted) -> list[str]:
    kinds = [one.quality] if one.quality != "good" else []
    kinds += ["near duplicate"] if one.copy_of else []
    kinds += ["swapped caption"] if one.swapped else []
    return kinds or ["nothing planted"]


def _fate(run: Run, pool: Path, truth: list[Planted]) -> dict[str, dict[str, int]]:
    """Return by kind of fault how many files had which end."""
    ends = _by_file(run, pool)
    fate: dict[str, Counter[str]] = {}
    for one in truth:
        for kind in _kinds(one):
            fate.setdefault(kind, Counter())[ends[one.file]] += 1
    return {kind: dict(sorted(counts.items())) for kind, counts in sorted(fate.items())}


def _planted_counts(truth: list[Planted]) -> dict[str, int]:
    return dict(Counter(kind for one in truth for kind in _kinds(one)))


def _classes(unchecked: Run, curated: Run, pool: Path, truth: list[Planted]) -> dict[str, dict[str, float]]:
    """Return by arm how much of what is trained shows each shape, and how much of it has the caption of another."""
    shares = {}
    for name, run in (("raw", None), ("unchecked", unchecked), ("curated", curated)):
        weights = {one.file: float(one.quality != "corrupt") for one in truth} if run is None else _weights(run, pool)
        total = sum(weights.values())
        shares[name] = {
            shape: round(sum(weights.get(one.file, 0.0) for one in truth if one.facts.shape == shape) / total, 4)
            for shape in SHAPES
        } | {"swapped": round(sum(weights.get(one.file, 0.0) for one in truth if one.swapped) / total, 4)}
    return shares


def _weights(run: Run, pool: Path) -> dict[str, float]:
    keep = run.read("selection")["keep"].to_numpy()
    weight = run.read("balance")["weight"].to_pylist()
    return {
        name: float(value or 0.0) if kept else 0.0
        for name, value, kept in zip(_files(run.read("images"), pool), weight, keep, strict=True)
    }


def _check_quality(unchecked: Run, curated: Run, pool: Path, truth: list[Planted]) -> dict[str, float]:
    """Return how well the ranks of captions, and the rule, tell those that say something untrue, among images kept without it."""
    place = {name: row for row, name in enumerate(_files(curated.read("images"), pool))}
    keep = unchecked.read("selection")["keep"].to_numpy()
    dropped = np.array([reason == RULE for reason in curated.read("selection")["reason"].to_pylist()])
    fit = curated.read("caption_fit", ["rank"])["rank"].to_numpy()
    rows = np.array([place[one.file] for one in truth if keep[place[one.file]]])
    untrue = np.array([not _true(one) for one in truth if keep[place[one.file]]])
    rank, flagged = np.nan_to_num(fit[rows]), dropped[rows]
    pairs = rank[untrue][:, None] - rank[~untrue]
    return {
        "captions": len(rank),
        "untrue": int(untrue.sum()),
        "flagged": int(flagged.sum()),
        "precision": _mean(untrue[flagged]),
        "recall": _mean(flagged[untrue]),
        "area_under_curve": round(float((pairs > 0).mean() + (pairs == 0).mean() / 2), 4),
    }


def _true(one: Planted) -> bool:
    """Whether the caption says nothing untrue: shape and colour are always named, the position not always."""
    elsewhere = [facts.position for facts in ALL_FACTS if facts.position != one.facts.position and facts.position in one.caption]
    return one.facts.shape in one.caption and one.facts.colour in one.caption and not elsewhere


def _mean(right: np.ndarray) -> float:
    return round(float(np.mean(right)), 4) if len(right) else float("nan")


def _once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what is in the file, which is made when it is not there."""
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".partial").write_text(json.dumps(made, indent=1) + "\n")
        path.with_suffix(".partial").replace(path)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _about(options: argparse.Namespace) -> dict[str, Any]:
    packages = ("torch", "numpy", "scikit-learn", "ray", "faiss-cpu", "pillow")
    return about("python -m benchmarks.curation_pays", load=round(os.getloadavg()[0], 1), packages=packages)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the pool, the runs and what is done")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no arm that may not be done by then")
    parser.add_argument("--reserve", type=float, default=150.0, help="seconds an arm takes at most, for --minutes")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", choices=SEEDS, default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=NUM_STEPS)
    parser.add_argument("--drawn", type=int, default=DRAWN, help="pictures of the pool without their near duplicates")
    parser.add_argument("--pool-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--draft", action="store_true", help="print, and write no results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
