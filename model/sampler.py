"""Prompts to images: Euler steps along the predicted velocity from noise (t = 0) to data (t = 1).

Each image has its own noise, a function of its seed alone, so results do not depend on the batch size. The text branch runs once
per prompt, and with guidance what does not depend on the prompt once per image. Guidance w follows the usual convention,
v = u + w (c - u): w = 1 is none and costs half; diffusers' Z-Image calls w - 1 its guidance_scale. num_steps is the number of
model calls (times two with guidance, in one batch). A start image takes the place of the first steps (Meng et al. 2022, SDEdit,
arXiv 2108.01073): the noisier part of the grid is cut off and the rest begins at the image, mixed with noise.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from curation.errors import ConfigError
from model.attention import use_attention
from model.autoencoder import decoded, to_signed
from model.checkpoint import load_autoencoder, load_model, read_config
from model.config import DiTConfig
from model.contact_sheet import contact_sheet
from model.dit import DiT
from model.draws import draws
from model.flow import guide, interpolate, times
from model.fused import fuse, pays_on
from model.ranks import usable
from model.released import Pipeline, is_pipeline, load_pipeline
from model.text import TextCache, text_encoder

STRENGTH = 0.6
"""Share of the steps that an image-to-image run makes unless told otherwise, as in diffusers."""


@torch.no_grad()
def denoise(
    model: DiT,
    noise: Tensor,
    text: Sequence[Tensor],
    null_text: Tensor,
    *,
    grid: np.ndarray,
    guidance: float = 1.0,
    cfg_truncation: float = 1.0,
    cfg_normalization: float = 0.0,
) -> Tensor:
    """Return latents (B, C, h, w) after Euler steps over the times `grid`, from 0 (noise) to 1.

    text: features of each prompt; null_text: those of the empty (or negative) prompt, used when guidance is not 1.
    cfg_truncation: guidance ends once t is beyond it. cfg_normalization: see flow.guide.
    """
    alone = guidance == 1 or bool((grid[:-1] > cfg_truncation).any())
    conditional = model.refine_text(text) if alone else None
    both = model.refine_text([*text, *[null_text] * len(text)]) if guidance != 1 else None

    def predict(x: Tensor, t: Tensor, guided: bool) -> Tensor:
        return torch.stack(model(x, t, both, copies=2) if guided else model(x, t, conditional))

    return integrate(
        noise, predict, grid=grid, guidance=guidance, cfg_truncation=cfg_truncation, cfg_normalization=cfg_normalization
    )


def integrate(
    noise: Tensor,
    predict: Callable[[Tensor, Tensor, bool], Tensor],
    *,
    grid: np.ndarray,
    guidance: float,
    cfg_truncation: float,
    cfg_normalization: float,
) -> Tensor:
    """Return latents after Euler steps over the times `grid`; `noise` is (B, C, h, w), float32 all the way.

    predict: (x, t of shape (1,), guided) to the velocities (B, C, h, w), followed by those without the prompt when guided.
    """
    x = noise.float()
    for t, t_next in pairwise(grid):
        guided = guidance != 1 and t <= cfg_truncation
        velocity = predict(x, torch.tensor([t], dtype=torch.float32, device=x.device), guided).float()
        if guided:
            velocity = guide(*velocity.chunk(2), guidance=guidance, normalization=cfg_normalization)
        x = x + float(t_next - t) * velocity
    return x


class Sampler:
    """A model, an autoencoder and a text encoder, ready to make images."""

    def __init__(self, parts: Pipeline, *, device: str = "cpu") -> None:
        self.parts, self.device = parts, device
        self.model, self.autoencoder = parts.model, parts.autoencoder
        self.text = TextCache(parts.text)

    @classmethod
    def open(
        cls, folder: Path, *, ema: bool = True, device: str | None = None, fused: bool | None = None, attention: str = "sdpa"
    ) -> "Sampler":
        """Return the sampler of a checkpoint of this project, or of a pipeline folder in diffusers' layout.

        ema: a checkpoint's averaged weights. device: default the checkpoint's own if it is here, or cpu. attention: sdpa,
            varlen, flash2 or flash3. fused: one product for layers that share their input (model/fused.py); None: on a CPU alone.
        Raises ModelError when the folder is neither or does not fit together, or the attention's package is missing.
        """
        sampler = cls._pipeline(folder, device or "cpu") if is_pipeline(folder) else cls._checkpoint(folder, ema, device)
        use_attention(sampler.model, attention)
        if pays_on(sampler.device) if fused is None else fused:
            fuse(sampler.model)
        return sampler

    @classmethod
    def _pipeline(cls, folder: Path, device: str) -> "Sampler":
        return cls(load_pipeline(folder, device=device), device=device)

    @classmethod
    def _checkpoint(cls, folder: Path, ema: bool, device: str | None) -> "Sampler":
        config = read_config(folder)
        device = device or usable(config.device)
        config = replace(config, device=device)
        parts = Pipeline(
            model=load_model(folder, ema=ema, device=device),
            autoencoder=load_autoencoder(config, folder),
            text=text_encoder(config.text, device=device),
            shift=config.shift,
            dynamic_shift=config.dynamic_shift,
        )
        return cls(parts, device=device)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        width_px: int,
        height_px: int,
        num_steps: int = 8,
        guidance: float = 3.0,
        shift: float | None = None,
        cfg_truncation: float = 1.0,
        cfg_normalization: float = 0.0,
        negative_prompt: str = "",
        seed: int | Sequence[int] = 0,
        batch_size: int = 64,
        noise: np.ndarray | None = None,
        image: np.ndarray | None = None,
        strength: float = STRENGTH,
    ) -> np.ndarray:
        """Return one image per prompt, uint8 (N, height_px, width_px, 3).

        seed: image i has the noise of (seed, i), or, given one seed per prompt, that of (seed[i], 0).
        shift: of the step grid; None takes that of the training. noise: latents (N, channels, h, w) to take instead.
        image: uint8 (H, W, 3) that every prompt starts from, cut in the middle to the wanted aspect; strength in (0, 1]: the
            share of the steps that are made.
        Raises ConfigError if a side is not a multiple of downsample x patch, or no step is left, ModelError for an image that is
        not finite.
        """
        size = latent_size(self.model.config, width_px, height_px, downsample=self.autoencoder.downsample)
        grid = times(num_steps, shift=self.parts.step_shift(size) if shift is None else shift)
        origin = None
        if image is not None:
            grid, origin = cut(grid, strength=strength), self._encoded(image, width_px, height_px)
        seeds = image_seeds(seed, len(prompts))
        null = self.text.encode([negative_prompt])[0].to(self.device)
        images = []
        for start in range(0, len(prompts), batch_size):
            part = prompts[start : start + batch_size]
            drawn = noise[start : start + len(part)] if noise is not None else noise_of(seeds[start : start + len(part)], size)
            first = torch.from_numpy(drawn).to(self.device)
            latents = denoise(
                self.model,
                first if origin is None else interpolate(origin, first, float(grid[0])),
                [features.to(self.device) for features in self.text.encode(part)],
                null,
                grid=grid,
                guidance=guidance,
                cfg_truncation=cfg_truncation,
                cfg_normalization=cfg_normalization,
            )
            images.append(decoded(self.autoencoder, latents, part))
        return np.concatenate(images) if images else np.zeros((0, height_px, width_px, 3), np.uint8)

    def _encoded(self, image: np.ndarray, width_px: int, height_px: int) -> Tensor:
        """Return the latent (1, C, h, w) of the middle of an image, scaled to the wanted size."""
        fitted = ImageOps.fit(Image.fromarray(image), (width_px, height_px), Image.Resampling.LANCZOS)
        return self.autoencoder.encode(to_signed(torch.from_numpy(np.array(fitted))[None])).to(self.device)


def cut(grid: np.ndarray, *, strength: float) -> np.ndarray:
    """Return the end of a grid of times that `strength` leaves, counted as diffusers does; raises ConfigError if no step is left.

    Of n steps int(n - n * strength) are left out; strength 1 leaves all, from pure noise.
    """
    num_steps = len(grid) - 1
    begin = int(max(num_steps - min(num_steps * strength, num_steps), 0))
    if not 0 < strength <= 1 or begin >= num_steps:
        raise ConfigError(f"strength is {strength}; it must be in (0, 1] and leave one of the {num_steps} steps")
    return grid[begin:]


def latent_size(config: DiTConfig, width_px: int, height_px: int, *, downsample: int) -> tuple[int, int, int]:
    """Return (channels, rows, columns) of the latent of an image; raises ConfigError for sides that are no token's multiple."""
    unit = downsample * config.patch_px
    if width_px % unit or height_px % unit or width_px <= 0 or height_px <= 0:
        raise ConfigError(f"{width_px} x {height_px} px cannot be sampled: both sides must be multiples of {unit}")
    return config.in_channels, height_px // downsample, width_px // downsample


def image_seeds(seed: int | Sequence[int], count: int) -> list[tuple[int, int]]:
    """Return (seed, place) of every image; raises ConfigError for a list of another length."""
    if isinstance(seed, int):
        return [(seed, i) for i in range(count)]
    if len(seed) != count:
        raise ConfigError(f"{len(seed)} seeds for {count} prompts; give one for all or one for each")
    return [(own, 0) for own in seed]


def noise_of(seeds: Sequence[tuple[int, int]], size: tuple[int, int, int]) -> np.ndarray:
    """Return the noise of images, float32 (N, *size): a function of each (seed, place) alone."""
    return np.stack([draws(seed, 0, 0, place).standard_normal(size, dtype=np.float32) for seed, place in seeds])


def sample(
    checkpoint: Path,
    *,
    prompts: Sequence[str],
    width_px: int,
    height_px: int,
    num_steps: int = 8,
    guidance: float = 3.0,
    shift: float | None = None,
    seed: int = 0,
    out: Path,
    columns: int = 8,
    num_threads: int | None = None,
) -> list[Path]:
    """Write 0000.png, 0001.png, ... (one per prompt, with the settings as PNG text) and grid.png; return their paths, grid last.

    guidance: w in u + w (c - u); 1 is none.
    """
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    settings: dict[str, object] = {"num_steps": num_steps, "guidance": guidance, "seed": seed}
    images = Sampler.open(checkpoint).generate(
        prompts, width_px=width_px, height_px=height_px, num_steps=num_steps, guidance=guidance, shift=shift, seed=seed
    )
    return write_images(images, prompts, out, settings=settings | {"checkpoint": Path(checkpoint).name}, columns=columns)


def write_images(
    images: np.ndarray, prompts: Sequence[str], out: Path, *, settings: Mapping[str, object], columns: int = 8
) -> list[Path]:
    """Write images (N, H, W, 3) as 0000.png ..., prompt and settings as PNG text, and grid.png; return the paths, grid last."""
    out.mkdir(parents=True, exist_ok=True)
    seed = settings.get("seed", 0)
    seeds = image_seeds(seed if isinstance(seed, int | list) else 0, len(prompts))
    paths = [_write_png(out / f"{i:04d}.png", image, prompt, {**settings, "seed": own[0], "index": own[1]})
             for i, (image, prompt, own) in enumerate(zip(images, prompts, seeds, strict=True))]  # fmt: skip
    grid = out / "grid.png"
    contact_sheet(list(images), list(prompts), columns=columns).save(grid)
    return [*paths, grid]


def _write_png(path: Path, image: np.ndarray, prompt: str, settings: dict[str, object]) -> Path:
    text = PngInfo()
    text.add_itxt("prompt", prompt)
    text.add_itxt("imageloom", json.dumps(settings, sort_keys=True))
    Image.fromarray(image).save(path, pnginfo=text)
    return path
