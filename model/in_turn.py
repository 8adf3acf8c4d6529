"""Sampling with one part in memory at a time: text encoder, transformer, VAE, each loaded, used and let go.

The released 6B model, its text encoder and its VAE take 19 GiB in bf16 together; in turn the largest alone counts, 11.5 GiB, or
half of that with int8 weights. Same images as `model.sampler.Sampler` with the same weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model.autoencoder import decoded
from model.flow import grid_shift, times
from model.fused import fuse, pays_on
from model.int8 import quantise, size_bytes
from model.released import load_text_encoder, load_transformer, load_vae, read_shift, vae_downsample
from model.sampler import denoise, image_seeds, latent_size, noise_of


@dataclass(frozen=True)
class Loaded:
    """A part that was just loaded, and its bytes: while it is in memory, no other part is."""

    part: str
    bytes: int


@torch.no_grad()
def sample_in_turn(
    folder: Path,
    prompts: Sequence[str],
    *,
    width_px: int,
    height_px: int,
    num_steps: int = 8,
    guidance: float = 1.0,
    shift: float | None = None,
    cfg_truncation: float = 1.0,
    cfg_normalization: float = 0.0,
    negative_prompt: str = "",
    seed: int | Sequence[int] = 0,
    batch_size: int = 1,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    int8: bool = False,
    fused: bool | None = None,
    tell: Callable[[Loaded], None] = lambda loaded: None,
) -> np.ndarray:
    """Return one image per prompt from a pipeline folder, uint8 (N, height_px, width_px, 3), as `Sampler.generate` does.

    dtype: of the transformer, None as stored. int8: weights of the text encoder and of the transformer's blocks in int8.
    fused: as for `Sampler.open`. tell: called for every part that was loaded.
    Raises ModelError when a part is missing or its weights do not fit, ConfigError for sides that are no token's multiple.
    """
    text = load_text_encoder(folder)
    if int8:
        quantise(text.model, device=device)
    text.model.to(device)
    tell(Loaded("text_encoder", size_bytes(text.model)))
    features = {prompt: text.encode([prompt])[0] for prompt in dict.fromkeys([*prompts, negative_prompt])}
    del text
    _let_go(device)

    model = load_transformer(folder, dtype=dtype)
    if pays_on(device) if fused is None else fused:
        fuse(model)
    if int8:
        quantise(model, device=device)
    model.to(device)
    tell(Loaded("transformer", size_bytes(model)))
    size = latent_size(model.config, width_px, height_px, downsample=vae_downsample(folder))
    static, dynamic = read_shift(folder)
    if shift is None:
        shift = grid_shift(size, patch=model.config.patch_px, shift=static, dynamic=dynamic)
    seeds = image_seeds(seed, len(prompts))
    latents = []
    for start in range(0, len(prompts), batch_size):
        part = prompts[start : start + batch_size]
        noise = torch.from_numpy(noise_of(seeds[start : start + len(part)], size)).to(device)
        latents.append(
            denoise(
                model, noise, [features[prompt] for prompt in part], features[negative_prompt],
                grid=times(num_steps, shift=shift), guidance=guidance,
                cfg_truncation=cfg_truncation, cfg_normalization=cfg_normalization,
            ).cpu()
        )  # fmt: skip
    del model
    _let_go(device)

    vae = load_vae(folder, device=device)
    tell(Loaded("vae", size_bytes(vae.model)))
    pixels = [decoded(vae, some, prompts[batch_size * i :][: len(some)]) for i, some in enumerate(latents)]
    return np.concatenate(pixels) if pixels else np.zeros((0, height_px, width_px, 3), np.uint8)


def _let_go(device: str) -> None:
    """Give memory that PyTorch keeps for later back to a GPU: the next part needs it in other pieces."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
