"""The trainer on one GPU: images, tokens and operations per second, MFU and memory of real updates, as its own log has them.

    python -m benchmarks.train_gpu                     # a model as wide as the released one with 6 + 4 blocks; needs about 60 GB
    python -m benchmarks.train_gpu --smoke             # the same code at toy size on the CPU; its times mean nothing

Pictures are drawn, written as shards, read, decoded, encoded (PCA, 16 channels at 1/8, so a picture of --px has the tokens that
the Flux VAE gives it; captions of 20 to 300 words) and trained on by model.train, in bf16 with float32 weights and average.
Options, each in a process of its own: OPTIONS below, or those that --options names. Numbers are those of the log after --steps
updates, the first ones left out (model/throughput.py); the state is not saved. MFU is a share of the data sheet's 989 TFLOP/s of
an H100 or H200.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.about import about
from benchmarks.alone import measured_alone, printed
from benchmarks.raw_shards import write_raw_shards
from model.config import Z_IMAGE, DataConfig, DiTConfig, TrainConfig
from model.roofline import weight_count
from model.train import train

TOY = DiTConfig(
    dim=48, n_layers=2, n_refiner_layers=1, n_heads=3, n_kv_heads=3, in_channels=16, cap_feat_dim=64, axes_dims=(4, 6, 6)
)
PICTURES = 96
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "compiled": {"compile": True},
    "checkpointing": {"gradient_checkpointing": True},
    "compiled, checkpointing": {"compile": True, "gradient_checkpointing": True},
    "compiled, checkpointing, 4 x the batch": {"compile": True, "gradient_checkpointing": True, "batch_size": 4},
    "varlen": {"attention": "varlen"},
    "compiled, varlen": {"compile": True, "attention": "varlen"},
    "deterministic": {"deterministic": True},
}
"""What each option sets; batch_size in multiples of --batch."""
WORDS = (20, 60, 150, 300)
"""Lengths of captions, one after the other."""


class Enough(Exception):
    """Ends a training whose speed is known, before it saves what nobody needs."""


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure every option, print one line for each and return the rows; without a GPU say so and return none."""
    options = _options(arguments)
    if not options.smoke and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured. --smoke runs the same code at toy size on the CPU")
        return []
    with tempfile.TemporaryDirectory(prefix="train-") as temporary:
        scratch = options.scratch or Path(temporary)
        if options.option is not None:
            return [printed(measured(options.option, scratch, options))]
        write_pictures(scratch / "pictures", px=options.px)
        write_raw_shards(scratch / "pictures", scratch / "shards")
        rows = []
        for name in options.options:
            rows.append(_alone(name, scratch, options))
            if options.out is not None:
                options.out.write_text(json.dumps(_facts(options) | {"rows": rows}, indent=1) + "\n")
    return rows


def _facts(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the rows were measured with."""
    facts = about("python -m benchmarks.train_gpu", load=round(os.getloadavg()[0], 1), packages=("torch",))
    device = "cpu (smoke)" if options.smoke else torch.cuda.get_device_name()
    return facts | {
        "device": device,
        "shape": f"{weight_count(_config(options).model) / 1e9:.2f}B parameters of the released width",
    }


def _alone(name: str, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the row of one option, measured by a process of its own."""
    passed = [str(x) for key in ("px", "batch", "steps", "layers") for x in (f"--{key}", getattr(options, key))]
    arguments = ["--option", name, "--scratch", str(scratch), *passed, *["--smoke"] * options.smoke]
    return measured_alone("benchmarks.train_gpu", arguments, name={"option": name}, limit_s=options.limit)


def measured(name: str, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what the trainer's log says after --steps updates with one option."""
    config, seen = _config(options), list[dict[str, Any]]()
    config = replace(config, **OPTIONS[name] | {"batch_size": OPTIONS[name].get("batch_size", 1) * config.batch_size})

    def stop(record: dict[str, Any]) -> None:
        seen.append(record)
        if record["step"] == options.steps:
            raise Enough

    try:
        train(config, shards=scratch / "shards", out=scratch / "out", progress=stop, resume=False)
    except Enough:
        pass
    last = seen[-1]
    assert all(np.isfinite(record["loss"]) for record in seen)
    kept = ("images_per_second", "tokens_per_second", "tflops", "mfu", "memory_gb", "data_share", "loss")
    row = {"option": name, "px": options.px, "batch": config.batch_size, "steps": last["step"]}
    return row | {"first_seconds": seen[0]["step_seconds"]} | {key: last.get(key) for key in kept}


def _config(options: argparse.Namespace) -> TrainConfig:
    model = TOY if options.smoke else DiTConfig(**{**vars(Z_IMAGE), "n_layers": options.layers})
    return TrainConfig(
        model=model,
        data=DataConfig(resolution_px=options.px, level_weights={"source": 1.0}, language_weights={"en": 1.0}),
        autoencoder=f"pca:8:{model.in_channels}",
        text=f"hash:{model.cap_feat_dim}",
        num_steps=10 * options.steps,
        batch_size=options.batch,
        learning_rate=1e-4,
        checkpoint_every=10 * options.steps,
        device="cpu" if options.smoke else "cuda",
        precision="bf16",
    )


def write_pictures(folder: Path, *, px: int) -> None:
    """Write PICTURES smooth random pictures of px x px with captions of WORDS."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for i in range(PICTURES):
        coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((px, px), Image.Resampling.BICUBIC).save(folder / f"{i:03d}.png")
        (folder / f"{i:03d}.txt").write_text(" ".join(f"word{n}" for n in generator.integers(0, 1000, WORDS[i % len(WORDS)])))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--px", type=int, default=None, help="side of the pictures; default 512, 64 with --smoke")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--layers", type=int, default=6, help="joint blocks; two refiners of each kind come to them")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--limit", type=float, help="seconds that an option may take; default: any")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--options", nargs="+", choices=tuple(OPTIONS), default=tuple(OPTIONS), metavar="OPTION")
    parser.add_argument("--option", choices=tuple(OPTIONS), help="measure this alone, in this process")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, help="write the rows there as JSON")
    options = parser.parse_args(arguments)
    options.px = options.px or (64 if options.smoke else 512)
    return options


if __name__ == "__main__":
    main()
