"""How our packed S3-DiT compares with diffusers' padded one, on ragged batches and on uniform ones; outputs must agree.

    python -m benchmarks.dit [--threads 2] [--repeats 5] [--out benchmarks/results/dit.json]

Both models get the same random weights (dim 512, 6 layers, 2 + 2 refiners) and the same batches, in turns, on the CPU in float32.
Printed: median seconds of each and the median of the ratios of neighbouring runs. About five minutes on one thread.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from model.config import DiTConfig, to_dict
from model.dit import DiT
from model.released import OWN_FIELDS

CONFIG = DiTConfig(dim=512, n_layers=6, n_heads=8, n_kv_heads=8, cap_feat_dim=256, axes_dims=(16, 24, 24))
BATCHES = {  # name -> (latent sides, caption lengths)
    "uniform": ([(32, 32)] * 4, [64] * 4),
    "mixed": ([(32, 32), (24, 48), (16, 32), (40, 24)], [20, 300, 90, 150]),
    "one large": ([(64, 64), (16, 16), (16, 16), (16, 16)], [60, 60, 60, 60]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ours, theirs = models()
    rows = []
    for name, (sizes, lengths) in BATCHES.items():
        latents = [torch.randn(CONFIG.in_channels, *size) for size in sizes]
        text = [torch.randn(n, CONFIG.cap_feat_dim) for n in lengths]
        t = torch.rand(len(sizes))
        calls = (lambda: ours(latents, t, text), lambda: theirs([x[:, None] for x in latents], t, text, return_dict=False)[0])  # noqa: B023
        with torch.no_grad():
            difference = max(float((a - b.view(a.shape)).abs().max()) for a, b in zip(calls[0](), calls[1](), strict=True))
        for backward in (False, True):
            row = {"batch": name, "backward": backward, **compare(*calls, backward=backward, repeats=arguments.repeats)}
            rows.append(row | {"max_difference": difference})
            print(json.dumps(rows[-1]), flush=True)
    if arguments.out:
        about = {"torch": torch.__version__, "machine": platform.processor() or platform.machine(), "threads": arguments.threads}
        arguments.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


def models() -> tuple[DiT, torch.nn.Module]:
    from diffusers import ZImageTransformer2DModel

    torch.manual_seed(0)
    fields = to_dict(CONFIG)
    for own in OWN_FIELDS:
        del fields[own]
    theirs = ZImageTransformer2DModel(**fields)
    with torch.no_grad():
        for name in ("x_pad_token", "cap_pad_token"):
            getattr(theirs, name).normal_()
    ours = DiT(CONFIG)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def compare(
    ours: Callable[[], list[Tensor]], theirs: Callable[[], list[Tensor]], *, backward: bool, repeats: int
) -> dict[str, float]:
    pairs = [(seconds(ours, backward), seconds(theirs, backward)) for _ in range(repeats + 1)][1:]
    return {
        "ours_seconds": statistics.median(a for a, _ in pairs),
        "diffusers_seconds": statistics.median(b for _, b in pairs),
        "speedup": statistics.median(b / a for a, b in pairs),
    }


def seconds(call: Callable[[], list[Tensor]], backward: bool) -> float:
    start = time.perf_counter()
    with torch.set_grad_enabled(backward):
        outputs = call()
        if backward:
            torch.autograd.backward(sum(x.square().mean() for x in outputs))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
