"""Does the model follow its prompts? Judged by a classifier trained on the real captioned images of the same shards.

Beside the accuracy on samples stand the judge's own accuracy on held-out real images (the ceiling), the accuracy when each sample
is scored against the prompt of another (the control: chance, if prompts are what decides), and precision, recall and Frechet
distance with their values between two sets of real images (the floor).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curation.errors import ConfigError
from model.autoencoder import to_signed
from model.checkpoint import read_config
from model.contact_sheet import contact_sheet
from model.evaluate_edits import evaluate_edits
from model.fidelity import frechet_distance, precision, recall
from model.judge import FEATURE_DIM, Judge, judged, train_judge
from model.plan import Shape, training_shape
from model.sampler import Sampler
from model.shard_reader import ShardReader

HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class LabelledImages:
    """Real images of one shape with the class found in their source caption."""

    images: Tensor  # float32 (N, 3, H, W) in [-1, 1]
    labels: np.ndarray  # int64 (N,)
    held_out: np.ndarray  # bool (N,), by a hash of the id
    captions: list[str]


def caption_class(caption: str, classes: Mapping[str, str | Sequence[str]]) -> str | None:
    """Return the one class of which a phrase stands in `caption` as whole words, or None if none or several do."""
    found = [name for name, phrases in classes.items() if any(_says(caption, phrase) for phrase in _phrases(phrases))]
    return found[0] if len(found) == 1 else None


def labelled_images(
    shards: Path, classes: Mapping[str, str | Sequence[str]], *, shape: Shape, groups: Sequence[str] = ()
) -> LabelledImages:
    """Return the images of `groups` (empty: all) whose source caption names exactly one of the classes.

    Raises ConfigError if a class has fewer than 10 images.
    """
    reader = ShardReader(shards)
    names = list(classes)
    rows, labels, captions = list[int](), list[int](), list[str]()
    for row, group in enumerate(reader.index.column("group").to_pylist()):
        source = next((c.text for c in reader.captions(row) if c.level == "source"), "")
        name = caption_class(source, classes) if not groups or group in groups else None
        if name is not None:
            rows.append(row)
            labels.append(names.index(name))
            captions.append(source)
    few = [name for i, name in enumerate(names) if labels.count(i) < 10]
    if few:
        count = labels.count(names.index(few[0]))
        raise ConfigError(f"class {few[0]!r}: {count} source captions say {_phrases(classes[few[0]])}; 10 are needed")
    pixels = torch.from_numpy(np.stack([reader.pixels(row, shape) for row in rows]))
    held_out = np.array([int(reader.ids[row][:8], 16) / 2**32 < HELD_OUT_SHARE for row in rows])
    return LabelledImages(to_signed(pixels), np.array(labels), held_out, captions)


def evaluate(
    checkpoint: Path,
    *,
    shards: Path,
    classes: Mapping[str, str | Sequence[str]],
    prompts: Mapping[str, Sequence[str]],
    num_samples: int = 200,
    num_edits: int = 64,
    num_steps: int = 8,
    guidance: float = 3.0,
    seed: int = 0,
    out: Path,
    num_threads: int | None = None,
) -> dict[str, Any]:
    """Write out/evaluation.json (flat) and out/grid.png (some samples with their prompts), and return the former.

    classes: class name -> the phrase, or phrases, that mark it in the source caption.
    prompts: class name -> prompts to sample, used in turn.
    num_samples: samples in all, spread evenly over the classes. num_edits: edits beside them, of a checkpoint that was trained on
        pairs (model/evaluate_edits.py); their measures are in the same file.
    Raises ConfigError if a class has no prompt or too few real images.
    """
    if missing := [name for name in classes if not prompts.get(name)]:
        raise ConfigError(f"class {missing[0]!r} has no prompt")
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    config = read_config(checkpoint)
    sampler = Sampler.open(checkpoint)
    side = config.data.resolution_px
    shape = training_shape(f"{side}x{side}", resolution_px=side, unit_px=sampler.autoencoder.downsample * config.model.patch_px)
    real = labelled_images(shards, classes, shape=shape, groups=config.data.groups)
    fit = ~real.held_out
    judge = train_judge(real.images[fit], torch.from_numpy(real.labels[fit]), num_classes=len(classes), seed=seed)
    names = list(classes)
    labels = np.arange(num_samples) % len(names)
    texts = [prompts[names[label]][i // len(names) % len(prompts[names[label]])] for i, label in enumerate(labels)]
    samples = sampler.generate(
        texts, width_px=shape.width_px, height_px=shape.height_px, num_steps=num_steps, guidance=guidance, seed=seed
    )
    result = {
        "checkpoint": Path(checkpoint).name, "num_samples": num_samples, "num_steps": num_steps, "guidance": guidance,
        "seed": seed, "num_classes": len(names), "num_real": len(real.labels), "num_held_out": int(real.held_out.sum()),
    } | measure(judge, real, to_signed(torch.from_numpy(samples)), labels, names, seed=seed)  # fmt: skip
    result |= evaluate_edits(checkpoint, num_edits=num_edits, num_steps=num_steps, guidance=guidance, seed=seed, out=out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n")
    shown = min(num_samples, 4 * len(names))
    contact_sheet(list(samples[:shown]), texts[:shown], columns=len(names)).save(out / "grid.png")
    return result


def measure(
    judge: Judge, real: LabelledImages, samples: Tensor, labels: np.ndarray, names: Sequence[str], *, seed: int
) -> dict[str, float]:
    """Return accuracies, recall and Frechet distance of samples made for the classes `labels`, with control and floor."""
    fitted, held = ~real.held_out, real.held_out
    held_class, held_features = judged(judge, real.images[held])
    _, fit_features = judged(judge, real.images[fitted])
    sample_class, sample_features = judged(judge, samples)
    generator = np.random.Generator(np.random.Philox(key=seed))
    wrong = _other_labels(labels, generator)
    same = fit_features[generator.permutation(len(fit_features))[: len(sample_features)]]
    result = {
        "judge_accuracy": _share(held_class == real.labels[held]),
        "prompt_accuracy": _share(sample_class == labels),
        "wrong_prompt_accuracy": _share(sample_class == wrong),
        "chance": 1 / len(names),
        "precision": precision(held_features, sample_features),
        "precision_real": precision(held_features, same),
        "recall": recall(held_features, sample_features),
        "recall_real": recall(held_features, same),
        "frechet_distance": frechet_distance(sample_features, held_features),
        "frechet_distance_real": frechet_distance(same, held_features),
        "feature_dim": float(FEATURE_DIM),
    }
    per_class = {f"prompt_accuracy/{name}": _share((sample_class == labels)[labels == i]) for i, name in enumerate(names)}
    return {name: round(value, 4) for name, value in (result | per_class).items()}


def _other_labels(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The labels shuffled among the samples."""
    shuffled: np.ndarray = labels[generator.permutation(len(labels))]
    return shuffled


def _share(right: np.ndarray) -> float:
    return float(np.mean(right)) if len(right) else 0.0


def _phrases(phrases: str | Sequence[str]) -> list[str]:
    return [phrases] if isinstance(phrases, str) else list(phrases)


def _says(caption: str, phrase: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", caption, re.IGNORECASE) is not None
