"""docs/model.md: what the S3-DiT costs and how it fits a device, computed by model/roofline.py so that it cannot drift."""

import textwrap

from model.config import Z_IMAGE
from model.roofline import BACKWARD, H100, floor_seconds, forward_bytes, forward_flops, weight_count

SIDES_PX = (256, 512, 1024, 1536)
TEXT_TOKENS = 128
PIXELS_PER_TOKEN = 16
"""The Flux VAE's 8 times the patch's 2."""
STEPS = 8
TEXT_ENCODER, VAE = 4_022_468_096 - 100_930_816, 83_819_683
"""Parameters of Qwen3-4B without LM head and without its last layer, which is not used, and of the Flux VAE (counted from their
configurations; the released weights were not inspected)."""
GIB = 1 << 30


def model_page() -> str:
    """Return docs/model.md."""
    weights = weight_count(Z_IMAGE)
    return "\n".join(
        [
            "# The model\n",
            _filled(
                """Written by `python -m jobs.document` from `model/roofline.py`. Nothing on this page was measured on a GPU."""
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
    sizes = {"text encoder (Qwen3-4B)": TEXT_ENCODER, "transformer": weights, "VAE": VAE}
    gib = {name: 2 * count / GIB for name, count in sizes.items()}
    small = gib["text encoder (Qwen3-4B)"] / 2 + gib["transformer"] / 2 + gib["VAE"]
    return [
        "## Under 16 GB\n",
        "| part | parameters | bf16, GiB | int8, GiB |",
        "|---|---|---|---|",
        *(
            f"| {name} | {count:,} | {gib[name]:.2f} | {'-' if name == 'VAE' else f'{gib[name] / 2:.2f}'} |"
            for name, count in sizes.items()
        ),
        "",
        _filled(
            f"""Together {sum(gib.values()):.1f} GiB in bf16: too much. `--in-turn` loads the text encoder, encodes all prompts
            and lets it go before the transformer is loaded, and the VAE after that: the largest alone counts,
            {gib["transformer"]:.1f} GiB. `--int8` keeps the blocks' weights in int8 with a scale per output: all parts at once
            are then {small:.1f} GiB, in turn {gib["transformer"] / 2:.1f}. Tokens at 1024 px add 32 MB per bf16 copy of the
            sequence. The mechanism is tested on a small pipeline (`tests/test_in_turn.py`: same images, no two parts alive, bytes
            by part); the sizes above are arithmetic, with embedders and norms counted as if they were int8 too, which makes
            0.4 GiB too little (the text encoder's table of words)."""
        ),
    ]


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
