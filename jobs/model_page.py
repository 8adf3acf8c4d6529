"""docs/model.md: what the S3-DiT costs and how it fits a device, computed by model/roofline.py so that it cannot drift."""

import json
import textwrap
from pathlib import Path

from model.config import Z_IMAGE
from model.roofline import (
    BACKWARD,
    H100,
    floor_seconds,
    forward_bytes,
    forward_flops,
    int8_count,
    weight_count,
    working_bytes,
)

SIDES_PX = (256, 512, 1024, 1536)
TEXT_TOKENS = 128
PIXELS_PER_TOKEN = 16
"""The Flux VAE's 8 times the patch's 2."""
STEPS = 8
TEXT_ENCODER, VAE = 4_022_468_096 - 100_930_816, 83_819_683
"""Parameters of Qwen3-4B without LM head and without its last layer, which is not used, and of the Flux VAE (counted from their
configurations; the released weights were not inspected)."""
WORDS = 151_936 * 2560
"""Of these the table of words, which int8 leaves alone."""
GIB = 1 << 30
SPEED = Path(__file__).parent.parent / "benchmarks" / "results" / "dit.json"


def model_page() -> str:
    """Return docs/model.md."""
    weights = weight_count(Z_IMAGE)
    return "\n".join(
        [
            "# The model\n",
            _filled(
                """Written by `python -m jobs.document` from `model/roofline.py`. What was measured on a GPU
                stands in `benchmarks/results/gpu.md`."""
            ),
            _filled(
                """`model/` is the S3-DiT of Z-Image (arXiv 2511.22699): the released state-dict keys, equal to diffusers 0.42.1
                in values and gradients on random configurations, text-to-image and omni (references, SigLIP features, noise
                mask); a whole small pipeline gives the same image in both, either way of export. See `tests/test_dit.py`,
                `tests/test_omni.py`, `tests/test_released.py` and `tests/test_edit.py`. The released weights have not been
                loaded: no machine we had could hold or fetch them."""
            ),
            "    imageloom sample PIPELINE --prompt 'a cat' --out images      # a folder in diffusers' layout, or a checkpoint",
            "    imageloom sample PIPELINE --in-turn --int8 ...               # one part in memory at a time, int8 weights",
            "    imageloom sample PIPELINE --image photo.jpg --strength 0.6 ...   # start from a picture",
            "    imageloom export CHECKPOINT --out PIPELINE                   # for diffusers' ZImagePipeline\n",
            *_quirks(),
            "## What a forward pass costs\n",
            _filled(
                f"""The 6B model ({weights:,} parameters), one sample, {TEXT_TOKENS} caption tokens. Operations count two per
                multiply and add, and equal torch's flop counter. The floor is what the slower of arithmetic and memory allows on
                one {H100.name} ({H100.flops_per_second / 1e12:.0f} TFLOPS, {H100.bytes_per_second / 1e12:.2f} TB/s): no code can
                be faster. A training step is three forward passes, four with full recomputation."""
            ),
            "| px | image tokens | TFLOP | GB moved | floor, ms | 8 steps, s | training step, ms |",
            "|---|---|---|---|---|---|---|",
            *(_row(side) for side in SIDES_PX),
            "",
            *_memory(weights),
            *_speed(),
            *_options(),
        ]
    )


def _filled(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120) + "\n"


def _row(side_px: int) -> str:
    tokens = (side_px // PIXELS_PER_TOKEN) ** 2
    flops = forward_flops(Z_IMAGE, image_tokens=tokens, text_tokens=TEXT_TOKENS)
    moved = forward_bytes(Z_IMAGE, image_tokens=tokens, text_tokens=TEXT_TOKENS)
    floor = floor_seconds(flops, moved, H100)
    step = floor_seconds((1 + BACKWARD) * flops, (1 + BACKWARD) * moved, H100)
    return (
        f"| {side_px} | {tokens:,} | {flops / 1e12:.1f} | {moved / 1e9:.1f} | {floor * 1e3:.1f} "
        f"| {STEPS * floor:.2f} | {step * 1e3:.0f} |"
    )


def _memory(weights: int) -> list[str]:
    parts = {
        "text encoder (Qwen3-4B)": (TEXT_ENCODER, TEXT_ENCODER - WORDS),
        "transformer": (weights, int8_count(Z_IMAGE)),
        "VAE": (VAE, 0),
    }
    full = {name: 2 * count / GIB for name, (count, _) in parts.items()}
    small = {name: (2 * count - eight) / GIB for name, (count, eight) in parts.items()}
    working = working_bytes(Z_IMAGE, image_tokens=4096, text_tokens=(TEXT_TOKENS, 32)) / GIB
    rows = [
        f"| {name} | {count:,} | {full[name]:.2f} | {f'{small[name]:.2f}' if eight else '-'} |"
        for name, (count, eight) in parts.items()
    ]
    ways = {
        "everything loaded": (sum(full.values()), sum(small.values())),
        "in turn (`--in-turn`): the transformer's turn": (full["transformer"], small["transformer"]),
    }
    return [
        "## Under 16 GB\n",
        "| part | parameters | bf16, GiB | `--int8`, GiB |",
        "|---|---|---|---|",
        *rows,
        "",
        "| way | bf16, weights + tokens, GiB | int8, weights + tokens, GiB |",
        "|---|---|---|",
        *(
            f"| {way} | {a:.1f} + {working:.1f} = {a + working:.1f} | {b:.1f} + {working:.1f} = {b + working:.1f} |"
            for way, (a, b) in ways.items()
        ),
        "",
        _filled(
            f"""16 GB are 14.9 GiB. `--in-turn` loads the text encoder, encodes all prompts and lets it go before the
            transformer is loaded, and the VAE after that, so that the largest alone counts. `--int8` keeps the weights of
            all products in the blocks in eight bits with a scale per output (a thousandth more, not counted); they are
            quantised before they reach the device. Embedders, norms and the table of {WORDS // 2560:,} words stay in bf16.
            Tokens: a block holds at most 16 rows of the model's width per token, counted here at 1024 px with guidance and
            {TEXT_TOKENS} caption tokens. Decoding 1024 px is not counted: the VAE is alone then, and tiles. All of this is
            arithmetic on shapes; the mechanism is tested on small models (`tests/test_in_turn.py`: same images, no two
            parts alive, bytes by part; `tests/test_roofline.py`: bytes in int8, and the peak of memory beside the weights
            by torch's profiler)."""
        ),
    ]


def _speed() -> list[str]:
    """Return the table of benchmarks/results/dit.json, or that there is none."""
    if not SPEED.is_file():
        return []
    found = json.loads(SPEED.read_text())
    lines = [
        "## Beside diffusers\n",
        "| width | threads | batch | pass | layers apart | fused |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        ratios = [f"{row['speedup'][name]:.2f}x" if name in row["speedup"] else "-" for name in ("ours", "fused")]
        what = "forward + backward" if row["backward"] else "8 steps" if row["case"].startswith("sampling") else "forward"
        lines.append(f"| {row['width']} | {row['threads']} | {row['case']} | {what} | {' | '.join(ratios)} |")
    return [
        *lines,
        "",
        _filled(SPEED_NOTE.format(date=found["date"], cpu=found["cpu"], diffusers=found["versions"]["diffusers"])),
    ]


SPEED_NOTE = """\
How many times as fast as the model of diffusers {diffusers} on the same batch with equal outputs: float32 on a CPU ({cpu},
{date}; `benchmarks/results/dit.md` says what the batches are, and what no code can pass). A uniform batch gains by results with
aligned rows, gradients written by hand, fewer passes over the tokens and memory used again; a ragged one because nothing is
padded to its longest sample; sampling also because captions are refined once per prompt and the noise refiner runs once for
both halves of guidance. bf16 on a CPU that has units for it, and an H200 (MFU, peak memory, torch.compile), stand in
`benchmarks/results/gpu.md`; flash-attn 2 and 3 have not been run. In bf16 we are as near to float32 as diffusers is
(`tests/test_bf16.py`)."""


def _quirks() -> list[str]:
    return [
        "## Where the released code is peculiar\n",
        "| what | switch | released | ours to train |",
        "|---|---|---|---|",
        "| image and caption are each padded to a multiple of 32, with learned tokens that are attended to "
        "| `pad_to` | 32 | any; 1 is none |",
        "| SigLIP grids are flattened with channels read as positions | `scrambled_siglip` | true | false |",
        "| text segments after the first lie later than their padding leaves them | `shifted_text_positions` | true | false |",
        "",
        _filled(
            """A released folder is read with the released behaviour; whether its omni weights were trained with the last two is
            not known."""
        ),
    ]


def _options() -> list[str]:
    return [
        "## What can be chosen\n",
        "| what | where | default |",
        "|---|---|---|",
        "| q, k, v and w1, w3 as one product each; the checkpoint keeps its keys | `model.fused.fuse(model)`, "
        "`Sampler.open(fused=)`, `sample_in_turn(fused=)` | on when sampling on a CPU, off on a GPU and in training |",
        "| kernel of attention: `sdpa`, `varlen`, `flash2`, `flash3` (all but `sdpa` bf16 on CUDA; a lost package is an error) "
        "| `train.attention`, `sample --attention` | `sdpa` |",
        "| bf16 weights, the embedding of t in float32 | `DiT.lower()`, `load_released(dtype=)` | as stored |",
        "| RoPE as complex numbers in eager mode, as real ones under torch.compile | by itself | |",
        "",
        _filled("float16 is never used: the released model overflows in it."),
    ]
