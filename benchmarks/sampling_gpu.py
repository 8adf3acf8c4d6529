"""A whole pipeline of the released size on one GPU: the most memory it takes, and how fast it samples, beside diffusers'.

    python -m benchmarks.sampling_gpu --scratch DIR         # random weights of the true shapes; writes 21 GB to DIR, once
    python -m benchmarks.sampling_gpu --smoke               # the same code at toy size on the CPU; its numbers mean nothing

Transformer 6.15B, Qwen3-4B and the Flux VAE's shape, all in bf16, drawn at random: memory and time do not depend on the values,
pictures do, and show nothing here. Ways to sample: diffusers with all parts on the GPU, and with enable_model_cpu_offload; ours
with all parts on the GPU, one part at a time (model/in_turn.py), and that with int8 weights. Each runs in a process of its own,
so that peaks are its own: what PyTorch's allocator handed out at most (`allocated`) and held from the driver (`reserved`). One
image of --px x --px, 8 steps, one model call each, as the distilled model is used. `seconds` is from prompt to pixels with
everything loaded that stays loaded; of ways that load parts again and again, loading is in it.
"""

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.about import about
from benchmarks.alone import measured_alone, printed
from benchmarks.byte_tokenizer import byte_tokenizer
from model.config import Z_IMAGE, DiTConfig, to_dict
from model.in_turn import sample_in_turn
from model.released import OWN_FIELDS
from model.sampler import Sampler

PROMPT = "A lighthouse on a rocky coast at dusk, waves breaking below, its beam crossing low clouds. " * 3
STEPS = 8


@dataclass(frozen=True)
class Shape:
    """Sizes of the parts: as released, or toys."""

    transformer: DiTConfig
    qwen3: dict[str, int]
    vae_widths: tuple[int, ...]
    vae_layers: int
    vae_norm_groups: int


RELEASED = Shape(
    transformer=Z_IMAGE,
    qwen3={
        "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40960,
    },
    vae_widths=(128, 256, 512, 512), vae_layers=2, vae_norm_groups=32,
)  # fmt: skip
TOY = Shape(
    transformer=DiTConfig(
        dim=48, n_layers=2, n_refiner_layers=1, n_heads=3, n_kv_heads=3, in_channels=16, cap_feat_dim=24, axes_dims=(4, 6, 6)
    ),
    qwen3={
        "vocab_size": 512, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 12, "max_position_embeddings": 2048,
    },
    vae_widths=(8, 8, 16, 16), vae_layers=1, vae_norm_groups=4,
)  # fmt: skip

Way = Callable[[Path, argparse.Namespace, str], Callable[[], np.ndarray]]


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure every way, print one line for each and return the rows; without a GPU say so and return none."""
    options = _options(arguments)
    if not options.smoke and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured. --smoke runs the same code at toy size on the CPU")
        return []
    with tempfile.TemporaryDirectory(prefix="sampling-") as temporary:
        folder = (options.scratch or Path(temporary)) / ("toy" if options.smoke else "released")
        if options.way is not None:
            return [printed(measured(options.way, folder, options))]
        if not folder.exists():
            write_pipeline(folder, TOY if options.smoke else RELEASED, device="cpu" if options.smoke else "cuda")
        rows = [_alone(way, folder.parent, options) for way in WAYS]
    if options.out is not None:
        facts = about("python -m benchmarks.sampling_gpu", load=round(os.getloadavg()[0], 1), packages=PACKAGES)
        device = "cpu (smoke)" if options.smoke else torch.cuda.get_device_name()
        options.out.write_text(json.dumps(facts | {"device": device, "rows": rows}, indent=1) + "\n")
    return rows


PACKAGES = ("torch", "diffusers", "transformers")


def _alone(way: str, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the row of one way, measured by a process of its own."""
    arguments = ["--way", way, "--scratch", str(scratch), "--px", str(options.px), *["--smoke"] * options.smoke]
    return measured_alone("benchmarks.sampling_gpu", arguments, name={"way": way})


def measured(way: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what one way takes: seconds to load, of the first image and the best of two more, and bytes at the peak."""
    device = "cpu" if options.smoke else "cuda"
    start = time.perf_counter()
    draw = WAYS[way](folder, options, device)
    loaded = time.perf_counter() - start
    seconds, picture = [], np.zeros(0)
    for _ in range(2 if "turn" in way else 3):
        start = time.perf_counter()
        picture = draw()
        seconds.append(time.perf_counter() - start)
    assert picture.size == options.px**2 * 3, picture.shape
    peaks = {
        "allocated_bytes": None if options.smoke else torch.cuda.max_memory_allocated(),
        "reserved_bytes": None if options.smoke else torch.cuda.max_memory_reserved(),
    }
    return {
        "way": way,
        "px": options.px,
        "load_seconds": loaded,
        "first_seconds": seconds[0],
        "seconds": min(seconds[1:]),
    } | peaks


def _diffusers(folder: Path, options: argparse.Namespace, device: str, *, offload: bool = False) -> Callable[[], np.ndarray]:
    from diffusers import ZImagePipeline

    pipeline = ZImagePipeline.from_pretrained(folder, torch_dtype=torch.float32 if options.smoke else torch.bfloat16)
    pipeline.set_progress_bar_config(disable=True)
    if offload and not options.smoke:
        pipeline.enable_model_cpu_offload()
    else:
        pipeline.to(device)

    def draw() -> np.ndarray:
        made = pipeline(
            PROMPT, height=options.px, width=options.px, num_inference_steps=STEPS, guidance_scale=0.0, output_type="np"
        )
        return np.asarray(made.images)

    return draw


def _offloaded(folder: Path, options: argparse.Namespace, device: str) -> Callable[[], np.ndarray]:
    return _diffusers(folder, options, device, offload=True)


def _whole(folder: Path, options: argparse.Namespace, device: str) -> Callable[[], np.ndarray]:
    sampler = Sampler.open(folder, device=device)
    return lambda: sampler.generate([PROMPT], width_px=options.px, height_px=options.px, num_steps=STEPS, guidance=1.0)


def _in_turn(folder: Path, options: argparse.Namespace, device: str, *, int8: bool = False) -> Callable[[], np.ndarray]:
    def draw() -> np.ndarray:
        gc.collect()
        return sample_in_turn(
            folder, [PROMPT], width_px=options.px, height_px=options.px, num_steps=STEPS, guidance=1.0, device=device, int8=int8
        )

    return draw


def _in_turn_int8(folder: Path, options: argparse.Namespace, device: str) -> Callable[[], np.ndarray]:
    return _in_turn(folder, options, device, int8=True)


WAYS: dict[str, Way] = {
    "diffusers": _diffusers,
    "diffusers, parts offloaded to the CPU": _offloaded,
    "ours": _whole,
    "ours, in turn": _in_turn,
    "ours, in turn, int8": _in_turn_int8,
}


def write_pipeline(folder: Path, shape: Shape, *, device: str) -> None:
    """Write a pipeline in diffusers' layout with random weights, drawn on `device`; bf16, or float32 on a CPU."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model

    fields = {name: value for name, value in to_dict(shape.transformer).items() if name not in OWN_FIELDS}
    widths = shape.vae_widths
    parts: dict[str, Callable[[], nn.Module]] = {
        "transformer": lambda: ZImageTransformer2DModel(**fields),
        "text_encoder": lambda: Qwen3Model(Qwen3Config(**shape.qwen3, tie_word_embeddings=True)),
        "vae": lambda: AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * len(widths), up_block_types=("UpDecoderBlock2D",) * len(widths),
            block_out_channels=widths, layers_per_block=shape.vae_layers, norm_num_groups=shape.vae_norm_groups,
            latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
        ),
    }  # fmt: skip
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    made = {name: _drawn(make, dtype, device) for name, make in parts.items()}
    ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0), tokenizer=byte_tokenizer(), **made
    ).save_pretrained(folder)


@torch.no_grad()
def _drawn(make: Callable[[], nn.Module], dtype: torch.dtype, device: str) -> nn.Module:
    """Return the model of `make` with normal weights of variance 1 / fan-in, gains 1, other vectors 0; then on the CPU."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = make()
    finally:
        torch.set_default_dtype(before)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model.eval().to("cpu")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--px", type=int, default=None, help="side of the image; default 1024, 64 with --smoke")
    parser.add_argument("--scratch", type=Path, help="folder of the pipeline, kept; default: a temporary one")
    parser.add_argument("--way", choices=tuple(WAYS), help="measure this alone, in this process")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, help="write the rows there as JSON")
    options = parser.parse_args(arguments)
    options.px = options.px or (64 if options.smoke else 1024)
    return options


if __name__ == "__main__":
    main()
