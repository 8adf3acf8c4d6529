"""The S3-DiT on one GPU: our kernels and options beside diffusers' model, with MFU and peak memory.

    python -m benchmarks.dit_gpu                       # the 6B shape in bf16, random weights; needs about 40 GB
    python -m benchmarks.dit_gpu --px 512 --batch 4 --backward --layers 6     # a training step of a shallower model
    python -m benchmarks.dit_gpu --smoke               # the same code at toy size on the CPU, float32; its times mean nothing

One run on an H200 is recorded (results/gpu.md); without a GPU the command says so and writes nothing.
Candidates: diffusers (SDPA), ours, ours fused, fused with PyTorch's varlen kernel and with flash-attn 2 and 3 where their
packages are installed, fused with torch.compile per block (its first call, compilation, is reported apart). MFU is the closed
form of model/roofline.py over seconds over the peak of an H100 (989 TFLOPS dense bf16; --peak for others). Outputs are compared
with diffusers', relative to their norm.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.about import about
from curation.errors import ModelError
from model.attention import VARLEN, use_attention
from model.blocks import prepare_blocks
from model.config import Z_IMAGE, DiTConfig, to_dict
from model.dit import DiT
from model.fused import fuse
from model.released import OWN_FIELDS
from model.roofline import BACKWARD, H100, forward_flops, weight_count

TOY = DiTConfig(
    dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, in_channels=4, cap_feat_dim=8, axes_dims=(4, 6, 6)
)
TEXTS = (20, 60, 150, 300)
"""Caption lengths, in turns; equal ones with --uniform."""
AWAY = 0.05
"""Largest relative difference of velocities from diffusers' in bf16."""
RESULTS = Path(__file__).parent / "results" / "dit_gpu.json"

Call = Callable[[], Sequence[Tensor]]


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure, print one line per candidate and return the rows; without a GPU say so and return none."""
    options = _options(arguments)
    if not options.smoke and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured. --smoke runs the same code at toy size on the CPU")
        return []
    rows = []
    for px in options.px:
        for row in measure(options, px):
            rows.append(row)
            print(json.dumps(row), flush=True)
    if options.out is not None:
        facts = about("python -m benchmarks.dit_gpu", load=round(os.getloadavg()[0], 1), packages=("torch", "diffusers"))
        config, *_ = _setting(options)
        shape = f"{weight_count(config) / 1e9:.2f}B parameters"
        found = facts | {"device": _device_name(options), "shape": shape, "rows": rows}
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    return rows


def measure(options: argparse.Namespace, px: int) -> Iterator[dict[str, Any]]:
    """Yield one row per candidate at images of px x px."""
    config, device, dtype = _setting(options)
    side = px // 8
    latents = [torch.randn(config.in_channels, side, side, device=device) for _ in range(options.batch)]
    lengths = [TEXTS[0 if options.uniform else i % len(TEXTS)] for i in range(options.batch)]
    text = [torch.randn(n, config.cap_feat_dim, device=device) for n in lengths]
    t = torch.rand(options.batch, device=device)
    tokens = (side // config.patch_px) ** 2
    flops = sum(forward_flops(config, image_tokens=tokens, text_tokens=n) for n in lengths)
    flops *= 1 + BACKWARD if options.backward else 1
    exact: Sequence[Tensor] = ()
    for name, call in _candidates(config, device, dtype, latents, t, text, compiled=not options.no_compile):
        row = {"candidate": name, "px": px, "batch": options.batch, "texts": lengths, "backward": options.backward}
        row |= timed(call, device=device, backward=options.backward, rounds=options.repeats)
        with torch.no_grad():
            found = [x.detach().float().reshape(-1) for x in call()]
        exact = exact or found
        row["away"] = float((torch.cat(found) - torch.cat(list(exact))).norm() / torch.cat(list(exact)).norm())
        assert row["away"] <= AWAY, f"{name} is {row['away']:.3f} away from diffusers"
        yield row | {"tflop": flops / 1e12, "mfu": flops / row["seconds"] / options.peak}


def _candidates(
    config: DiTConfig, device: str, dtype: torch.dtype, latents: list[Tensor], t: Tensor, text: list[Tensor], *, compiled: bool
) -> Iterator[tuple[str, Call]]:
    """Yield candidates by name, diffusers first; a kernel without its package is left out and named."""
    theirs = _released(config, device, dtype)
    frames, features = [x[:, None].to(dtype) for x in latents], [x.to(dtype) for x in text]
    yield "diffusers", lambda: theirs(frames, t, features, return_dict=False)[0]
    with torch.device("meta"):
        ours = DiT(config)
    ours.load_state_dict(theirs.state_dict(), assign=True)
    yield "ours", lambda: ours(latents, t, text)
    fuse(ours)
    yield "fused", lambda: ours(latents, t, text)
    for backend in VARLEN:
        if device != "cuda":
            print(f"left out: attention {backend} needs CUDA")
            continue
        try:
            use_attention(ours, backend)
        except ModelError as error:
            print(f"left out: {error}")
            continue
        yield f"fused, {backend}", lambda: ours(latents, t, text)
    use_attention(ours, "sdpa")
    if compiled:
        prepare_blocks(ours, recompute=False, compiled=True)
        yield "fused, compiled", lambda: ours(latents, t, text)


def timed(call: Call, *, device: str, backward: bool, rounds: int) -> dict[str, Any]:
    """Return seconds of the first call and the median of the rest, and the peak of memory in bytes (None on a CPU)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    first, *rest = (_seconds(call, device, backward) for _ in range(rounds + 2))
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
    return {"first_seconds": first, "seconds": statistics.median(rest[1:]), "peak_bytes": peak, "rounds": rounds}


def _seconds(call: Call, device: str, backward: bool) -> float:
    start = time.perf_counter()
    with torch.set_grad_enabled(backward):
        outputs = call()
        if backward:
            torch.autograd.backward(torch.stack([x.float().square().mean() for x in outputs]).sum())
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _released(config: DiTConfig, device: str, dtype: torch.dtype) -> Any:
    """Return diffusers' model with random weights of moderate size, made on the device."""
    from diffusers import ZImageTransformer2DModel

    fields = to_dict(config)
    for own in OWN_FIELDS:
        del fields[own]
    with torch.device("meta"):
        model = ZImageTransformer2DModel(**fields)
    model = model.to(dtype).to_empty(device=device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            else:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return model


def _setting(options: argparse.Namespace) -> tuple[DiTConfig, str, torch.dtype]:
    if options.smoke:
        return TOY, "cpu", torch.float32
    shape = {**vars(Z_IMAGE), "n_layers": options.layers}
    return DiTConfig(**shape), "cuda", torch.bfloat16


def _device_name(options: argparse.Namespace) -> str:
    return "cpu (smoke)" if options.smoke else torch.cuda.get_device_name()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--px", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--layers", type=int, default=Z_IMAGE.n_layers, help="fewer to fit a training step")
    parser.add_argument("--uniform", action="store_true", help="captions of one length")
    parser.add_argument("--backward", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", type=float, default=H100.flops_per_second, help="operations per second of the device")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, help=f"write {RESULTS.name} there; {RESULTS.parent.name}/ holds none yet")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
