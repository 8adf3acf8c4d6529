"""Our packed S3-DiT beside diffusers' padded one on a CPU: uniform and ragged batches, training steps, a whole sampling run.

    python -m benchmarks.dit                                                 # everything on one thread: half an hour
    python -m benchmarks.dit --threads 2 --cases mixed --passes forward --rounds 3        # a piece: its rounds are added
    python -m benchmarks.dit --width 384 --cases uniform                     # a width whose feed-forward needs no rounding

Rounds of another version of the model do not mix with new ones: remove results/dit.json first.

All models get the same random weights (6 layers, 2 + 2 refiners) and the same batches; outputs are asserted equal to diffusers'
within 1e-4, except with captions padded to 8 tokens instead of 32, which is another model. Runs are interleaved: each round runs
every candidate once, and a speed-up is the median over rounds of diffusers' seconds / ours in the same round. Sampling is
diffusers' own ZImagePipeline from prompt features to latents. A CPU with bf16 units measures bf16 as well; others say so.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benchmarks.about import about, heading
from model.config import DiTConfig, to_dict
from model.dit import DiT
from model.flow import times
from model.fused import fuse
from model.released import OWN_FIELDS
from model.sampler import denoise

WIDTHS = {
    512: DiTConfig(dim=512, n_layers=6, n_heads=8, n_kv_heads=8, cap_feat_dim=256, axes_dims=(16, 24, 24)),
    384: DiTConfig(dim=384, n_layers=6, n_heads=6, n_kv_heads=6, cap_feat_dim=256, axes_dims=(16, 24, 24)),
}
BATCHES = {  # name -> (latent sides, caption lengths)
    "uniform": ([(32, 32)] * 4, [64] * 4),
    "mixed": ([(32, 32), (24, 48), (16, 32), (40, 24)], [20, 300, 90, 150]),
    "one large": ([(64, 64), (16, 16), (16, 16), (16, 16)], [60, 60, 60, 60]),
}
PROMPTS = {"sampling": [64, 64], "sampling, mixed": [20, 300], "sampling, natural": [13, 16, 31, 72]}
"""Tokens of the prompts of a sampling run. Natural: of the 13,178 English captions of the demo (tags, short, medium, long, prompt
and source; MiniLM's tokens and 8 for the turns of Qwen's template), those at 1/8, 3/8, 5/8 and 7/8 of the distribution."""
NULL, SIDE, STEPS, GUIDANCE = 12, 32, 8, 4.0
"""Tokens of the empty prompt, side of a latent, steps and guidance of the sampling run."""
EQUAL = 1e-4
COLUMNS = ("ours", "fused", "captions to 8")
BF16_FLAGS = ("avx512_bf16", "amx_bf16")
RESULTS = Path(__file__).parent / "results" / "dit.json"

Call = Callable[[], Sequence[Tensor] | Tensor]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    rows = []
    for case in options.cases:
        for name, calls, backward in candidates(case, WIDTHS[options.width]):
            if ("backward" if backward else "forward") in options.passes:
                row = {"case": name, "width": options.width, "threads": options.threads, "backward": backward}
                rows.append(row | measured(calls, backward=backward, rounds=options.rounds, equal=equal_within(case)))
                print(json.dumps(rows[-1] | summary(rows[-1])), flush=True)
    if not has_bf16():
        print(f"this CPU has none of {', '.join(BF16_FLAGS)}: bf16 was not measured")
    facts = about("python -m benchmarks.dit", load=round(load, 1), packages=("torch", "diffusers"))
    merge(rows, facts | {"cpu_flags": flags(), "bf16_measured": has_bf16()}, options.out)


def candidates(case: str, config: DiTConfig) -> list[tuple[str, dict[str, Call], bool]]:
    """Return (name, calls, backward) of a case: ours by name, and `diffusers`."""
    return _forward(case, config) if case in BATCHES else [(case, _sampling(config, PROMPTS[case]), False)]


def equal_within(case: str) -> float:
    """Return how far outputs may be from diffusers': eight guided steps add up."""
    return EQUAL if case in BATCHES else 10 * EQUAL


def _forward(case: str, config: DiTConfig) -> list[tuple[str, dict[str, Call], bool]]:
    sizes, lengths = BATCHES[case]
    ours, fused, padded8, theirs = models(config)
    latents = [torch.randn(config.in_channels, *size) for size in sizes]
    text = [torch.randn(n, config.cap_feat_dim) for n in lengths]
    t = torch.rand(len(sizes))

    def released(dtype: torch.dtype = torch.float32) -> Sequence[Tensor]:
        frames = [x[:, None].to(dtype) for x in latents]
        found: Sequence[Tensor] = theirs(frames, t, [x.to(dtype) for x in text], return_dict=False)[0]
        return found

    plain: dict[str, Call] = {"ours": lambda: ours(latents, t, text), "diffusers": released}
    quick: dict[str, Call] = {"fused": lambda: fused(latents, t, text), "captions to 8": lambda: padded8(latents, t, text)}
    return [(case, plain | quick | (_bf16(config, latents, t, text) if has_bf16() else {}), False), (case, plain, True)]


def _bf16(config: DiTConfig, latents: list[Tensor], t: Tensor, text: list[Tensor]) -> dict[str, Call]:
    """Return the calls in bf16, ours and diffusers', on CPUs that have units for it."""
    _, fused, _, theirs = models(config)
    fused.lower()
    theirs.to(torch.bfloat16)
    frames, features = [x[:, None].bfloat16() for x in latents], [x.bfloat16() for x in text]
    return {
        "bf16": lambda: fused(latents, t, text),
        "diffusers bf16": lambda: theirs(frames, t, features, return_dict=False)[0],
    }


def _sampling(config: DiTConfig, lengths: list[int]) -> dict[str, Call]:
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline

    _, fused, _, theirs = models(config)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipeline = ZImagePipeline(scheduler=scheduler, vae=None, text_encoder=None, tokenizer=None, transformer=theirs)
    pipeline.set_progress_bar_config(disable=True)
    text, null = [torch.randn(n, config.cap_feat_dim) for n in lengths], torch.randn(NULL, config.cap_feat_dim)
    noise = torch.randn(len(lengths), config.in_channels, SIDE, SIDE)

    def ours() -> Tensor:
        return denoise(fused, noise, text, null, grid=times(STEPS, shift=3.0), guidance=GUIDANCE)

    def released() -> Tensor:
        found: Tensor = pipeline(
            prompt_embeds=list(text), negative_prompt_embeds=[null] * len(text), latents=noise.clone(), height=8 * SIDE,
            width=8 * SIDE, num_inference_steps=STEPS, guidance_scale=GUIDANCE - 1, output_type="latent",
        ).images  # fmt: skip
        return found

    return {"fused": ours, "diffusers": released}


def models(config: DiTConfig) -> tuple[DiT, DiT, DiT, Any]:
    """Return our model, fused, with captions padded to 8, and diffusers', all with the same random weights."""
    from diffusers import ZImageTransformer2DModel

    torch.manual_seed(0)
    fields = to_dict(config)
    for own in OWN_FIELDS:
        del fields[own]
    theirs = ZImageTransformer2DModel(**fields)
    with torch.no_grad():
        for name in ("x_pad_token", "cap_pad_token"):
            getattr(theirs, name).normal_()
    made = []
    for pad_to in (32, 32, 8):
        made.append(DiT(DiTConfig(**{**vars(config), "pad_to": pad_to})))
        made[-1].load_state_dict(theirs.state_dict())
    return made[0], fuse(made[1]), fuse(made[2]), theirs


def measured(calls: dict[str, Call], *, backward: bool, rounds: int, equal: float) -> dict[str, Any]:
    """Return the seconds of every call in every round, after one that warms up, counts operations and must give equal outputs."""
    found, operations = {}, {}
    for name, call in calls.items():
        with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
            found[name] = run(call, backward)
        operations[name] = counter.get_total_flops()
    for name in set(found) & {"ours", "fused"}:
        away = max(float((a - b.view(a.shape)).abs().max()) for a, b in zip(found[name], found["diffusers"], strict=True))
        assert away <= equal, f"{name} is {away} away from diffusers"
    timed = [{name: round(seconds(call, backward), 4) for name, call in calls.items()} for _ in range(rounds)]
    return {"operations": operations, "rounds": timed}


def run(call: Call, backward: bool) -> list[Tensor]:
    """Return the outputs of a call, after the gradients of their mean squares where `backward`."""
    with torch.set_grad_enabled(backward):
        outputs = list(call())
        if backward:
            torch.autograd.backward(torch.stack([x.square().mean() for x in outputs]).sum())
    return [x.detach() for x in outputs]


def summary(row: dict[str, Any]) -> dict[str, Any]:
    """Return medians over the rounds of a row: seconds of each call, and diffusers' seconds over them in the same round."""
    rounds, names = row["rounds"], list(row["rounds"][0])
    speedup = {name: statistics.median(spent["diffusers"] / spent[name] for spent in rounds) for name in names}
    return {
        "seconds": {name: statistics.median(spent[name] for spent in rounds) for name in names},
        "speedup": {name: round(ratio, 3) for name, ratio in speedup.items() if name != "diffusers"},
        "fewer_operations": round(row["operations"]["diffusers"] / row["operations"][next(iter(names))], 3),
    }


def seconds(call: Call, backward: bool) -> float:
    """Return how long a call takes: CPU seconds on one thread, where they mean the same as wall seconds."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run(call, backward)
    return clock() - start


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]


CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Operations of kernels that torch's counter does not know."""


def merge(rows: list[dict[str, Any]], facts: dict[str, Any], path: Path) -> None:
    """Add rows to the results, rounds of one case to each other, and write the page."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in [*(json.loads(path.read_text())["rows"] if path.is_file() else []), *rows]:
        earlier = found.get(_key(row), {"rounds": []})["rounds"]
        both = row | {"rounds": [*earlier, *row["rounds"]]}
        found[_key(row)] = both | summary(both)
    ordered = [found[key] for key in sorted(found)]
    path.write_text(json.dumps(facts | {"rows": ordered}, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(facts, ordered))


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return -row["width"], row["threads"], row["backward"], row["case"]


def page(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    lines = [
        "# The S3-DiT beside diffusers'\n",
        heading(facts) + "\n",
        "| width | threads | case | pass | diffusers, s | ours | fused | captions to 8 | fewer operations | rounds | each |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        faster = [
            f"{row['speedup'][name]:.2f}x" if name in row["speedup"] else "-" for name in ("ours", "fused", "captions to 8")
        ]
        what = "8 steps" if row["case"].startswith("sampling") else "forward + backward" if row["backward"] else "forward"
        theirs, fewer = f"{row['seconds']['diffusers']:.2f}", f"{row['fewer_operations']:.2f}x"
        cells = [
            row["width"],
            row["threads"],
            row["case"],
            what,
            theirs,
            *faster,
            fewer,
            len(row["rounds"]),
            _spread(row["rounds"]),
        ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join([*lines, "", EXPLAINED.format(bf16="" if facts["bf16_measured"] else NO_BF16)])


def _spread(rounds: list[dict[str, float]]) -> str:
    """Return the smallest and the largest speed-up of the first candidate in a single round."""
    ratios = [spent["diffusers"] / spent[next(iter(spent))] for spent in rounds]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


EXPLAINED = """\
Times as fast as diffusers' model, float32, medians of interleaved rounds: CPU seconds on one thread, wall seconds on two. Equal
outputs are asserted (1e-4; 1e-3 after the eight guided steps), except for "captions to 8": the same weights with padding to 8
tokens instead of 32, which is another model. `ours` keeps the layers apart, as training does; `fused` is model/fused.py, which
on a CPU keeps results apart too. `fewer operations`: diffusers' operations in matrix products and attention over ours, as torch
counts them: what would be gained if only these took time, and took it at the same rate.

Uniform: 4 x (256 image + 64 caption tokens). Mixed: latents 32x32, 24x48, 16x32, 40x24 with captions of 20, 300, 90, 150 tokens.
One large: 64x64 and three of 16x16. Sampling: latents 32x32, two prompts of 64 tokens, of 20 and 300 (mixed), or four of 13,
16, 31 and 72 (natural); an empty prompt of 12; guidance in every step. Natural is what a sampling run is like: lengths at 1/8,
3/8, 5/8 and 7/8 of the 13,178 English captions of the demo, of all levels. Prompts of equal length are where packing gains least.

**Uniform batches** need the same operations. At width 512 the feed-forward is 1365 wide, and a product whose result has rows of
1365 numbers takes up to 1.45 times as long as one with 1376 (29.5 for 20.4 ms at 1280 tokens, minima of 11); results with aligned
rows (model/aligned.py) take a tenth off all products of a training step. Norms, rotations and SwiGLU with gradients by hand
(model/rms_norm.py, model/swiglu.py) take the rest; before, a step was as fast as diffusers' (.99x, median of 5). At width 384 the
feed-forward is 1024 wide, and only the second half of this is left to gain.

**Sampling** saves what is the same in every step or in both halves of guidance: the captions' branch, the layout, the noise
refiner, the padding of the empty prompt. With the 30 joint layers of the released model to its 2 refiners these shares are a
fifth of what they are here. With equal prompts products and attention are 85 % of diffusers' seconds and 91 % of ours (torch's
profiler), products at 85 to 90 GFLOP/s in both. So that row has a ceiling of about 1.44x, its fewer operations over .85, were
all else free. Sharing queries, keys and values of the first joint block between both halves of guidance, and leaving captions
out of the last block's feed-forward, would lift it by 3 % here, by .6 % in the released model, and is not done. Nothing quicker
was found for what is left: of these products MKL makes 70 to 94 GFLOP/s with plain weights, 69 to 88 with packed ones, oneDNN
with packed ones 66 to 84; torch's attention makes 53 to 66, two batched products and a softmax 42 to 49 (minima of 15 runs,
under load); SiLU by way of exp takes longer than SiLU.
{bf16}

Rounds were run beside other work on two shared cores (load 2 to 12); the last column says how far single rounds of the first
candidate lie apart. On two threads the clock is the wall's, and other work counts against whoever runs at that moment: with this
spread those rows settle nothing about uniform batches.
"""
NO_BF16 = "bf16 was not measured: this CPU has no bf16 units (avx512_bf16, amx_bf16)."


def flags() -> list[str]:
    """Return the vector extensions of this CPU."""
    line = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    return sorted(flag for flag in line.split() if flag.startswith(("avx", "amx", "fma")))


def has_bf16() -> bool:
    """Tell whether this CPU multiplies bf16."""
    return any(flag in flags() for flag in BF16_FLAGS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", nargs="+", choices=("forward", "backward"), default=("forward", "backward"))
    parser.add_argument("--width", type=int, choices=WIDTHS, default=512)
    parser.add_argument("--cases", nargs="+", choices=[*BATCHES, *PROMPTS], default=[*BATCHES, *PROMPTS])
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
