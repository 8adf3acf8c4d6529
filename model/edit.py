"""Editing with references: prompts and images to images, by the omni variant of S3-DiT.

As in the released pipeline: every reference enters twice, as the VAE's latent (clean, modulated by t = 1) and as SigLIP features;
the prompt is cut into segments around the places of the references, each encoded by the text encoder alone; guidance keeps the
references and drops the prompt. Text and SigLIP branches run once per call, not once per step.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from curation.buckets import bucket
from curation.errors import ConfigError, ModelError
from model.autoencoder import decoded, to_signed
from model.buckets import training_shape
from model.checkpoint import read_config
from model.flow import times
from model.omni import OmniSample, RefinedCondition, refine
from model.released import Pipeline, is_pipeline, load_pipeline
from model.sampler import Sampler, image_seeds, integrate, latent_size, noise_of
from model.shard_reader import cover_crop
from model.siglip import SigLIP
from model.text import Qwen3, TextEncoder

MAX_REFERENCE_PIXELS = 1024 * 1024
"""Larger references are made smaller, to the area of the wanted image or else to this."""


def segments(prompt: str, num_references: int) -> list[str]:
    """Return the text segments around `num_references` images and the target, in the released model's words."""
    if num_references == 0:
        return [f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"]
    between = ["<|vision_end|><|vision_start|>"] * (num_references - 1)
    asked = f"<|vision_end|>{prompt}<|im_end|>\n<|im_start|>assistant\n<|vision_start|>"
    return ["<|im_start|>user\n<|vision_start|>", *between, asked, "<|vision_end|><|im_end|>"]


def edit_texts(encoder: TextEncoder, prompt: str, num_references: int = 1) -> list[str]:
    """Return the text segments around references and target, in training as in sampling.

    In Qwen's turn format for Qwen, as the released pipeline writes them; other encoders know no turns, so the prompt stands
    between empty texts.
    """
    if isinstance(encoder, Qwen3):
        return segments(prompt, num_references)
    return [*[""] * num_references, prompt, ""] if num_references else [prompt]


class Editor:
    """An omni model with its encoders, ready to edit; without a SigLIP tower references enter as latents alone."""

    def __init__(self, parts: Pipeline, siglip: SigLIP | None, *, resolution_px: int | None = None, device: str = "cpu") -> None:
        """resolution_px: references are brought to this area, as in training; None: they keep their size up to a megapixel."""
        if (None if siglip is None else siglip.width) not in (None, parts.model.config.siglip_feat_dim):
            raise ModelError(
                f"the SigLIP tower is {siglip.width if siglip else 0} wide, "
                f"the model's siglip_feat_dim is {parts.model.config.siglip_feat_dim}"
            )
        self.parts, self.text, self.siglip, self.device = parts, parts.text, siglip, device
        self.resolution_px = resolution_px

    @classmethod
    def open(cls, folder: Path, *, device: str = "cpu") -> "Editor":
        """Return the editor of an omni pipeline folder: a pipeline with siglip/ and siglip_processor/ beside its parts.

        Or that of a checkpoint which was trained on edit pairs; raises ConfigError for one that was not.
        """
        if not is_pipeline(folder):
            return cls._of_checkpoint(folder, device)
        tower, processor = folder / "siglip", folder / "siglip_processor"
        siglip = SigLIP(tower, processor=processor if processor.is_dir() else None, device=device) if tower.is_dir() else None
        return cls(load_pipeline(folder, device=device), siglip, device=device)

    @classmethod
    def _of_checkpoint(cls, folder: Path, device: str) -> "Editor":
        config = read_config(folder)
        if not config.data.pairs:
            raise ConfigError(f"{folder} was not trained on edit pairs (data.pairs): it cannot follow a reference")
        siglip = SigLIP(config.siglip, device=device) if config.siglip else None
        parts = Sampler.open(folder, device=device, fused=False).parts
        return cls(parts, siglip, resolution_px=config.data.resolution_px, device=device)

    def edit(
        self,
        prompts: Sequence[str],
        references: Sequence[np.ndarray] = (),
        *,
        width_px: int | None = None,
        height_px: int | None = None,
        num_steps: int = 50,
        guidance: float = 5.0,
        shift: float | None = None,
        cfg_truncation: float = 1.0,
        cfg_normalization: float = 0.0,
        negative_prompt: str = "",
        seed: int | Sequence[int] = 0,
        noise: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return one image per prompt, all with the same references, uint8 (N, height_px, width_px, 3).

        references: uint8 (H, W, 3) each; the size of the result is that of the last one unless given. guidance: w in
        u + w (c - u), 1 is off. seed, noise, shift: as for `model.sampler.Sampler.generate`.
        Raises ConfigError for a size that is no multiple of downsample x patch.
        """
        latents = self.edit_latents(
            prompts, references, width_px=width_px, height_px=height_px, num_steps=num_steps, guidance=guidance, shift=shift,
            cfg_truncation=cfg_truncation, cfg_normalization=cfg_normalization, negative_prompt=negative_prompt, seed=seed,
            noise=noise,
        )  # fmt: skip
        return decoded(self.parts.autoencoder, latents, prompts)

    @torch.no_grad()
    def edit_latents(
        self,
        prompts: Sequence[str],
        references: Sequence[np.ndarray],
        *,
        width_px: int | None,
        height_px: int | None,
        num_steps: int,
        guidance: float,
        shift: float | None,
        cfg_truncation: float,
        cfg_normalization: float,
        negative_prompt: str,
        seed: int | Sequence[int],
        noise: np.ndarray | None,
    ) -> Tensor:
        """Return what `edit` decodes, latents (N, channels, h, w)."""
        area = width_px * height_px if width_px and height_px else MAX_REFERENCE_PIXELS
        shown = [_bounded(pixels, area) for pixels in references]
        cut = [self._cut(pixels) for pixels in shown]
        if not cut and (width_px is None or height_px is None):
            raise ConfigError("without a reference the size is not known: give width_px and height_px")
        size = latent_size(
            self.parts.model.config,
            width_px or cut[-1].shape[1],
            height_px or cut[-1].shape[0],
            downsample=self.parts.autoencoder.downsample,
        )
        start = torch.from_numpy(noise_of(image_seeds(seed, len(prompts)), size) if noise is None else noise).to(self.device)
        wanted = [*prompts, *[negative_prompt] * len(prompts)] if guidance != 1 else prompts
        return integrate(
            start,
            self._predictor(wanted, self._sample(shown, cut)),
            grid=times(num_steps, shift=self.parts.step_shift(size) if shift is None else shift),
            guidance=guidance,
            cfg_truncation=cfg_truncation,
            cfg_normalization=cfg_normalization,
        )

    def _sample(self, shown: Sequence[np.ndarray], cut: Sequence[np.ndarray]) -> OmniSample:
        """Return the references as an omni sample that has neither text nor target yet."""
        encode = self.parts.autoencoder.encode
        clean = [encode(to_signed(torch.from_numpy(np.ascontiguousarray(pixels))[None]))[0].to(self.device) for pixels in cut]
        seen = None if self.siglip is None or not shown else (*(self.siglip.encode(pixels) for pixels in shown), None)
        return OmniSample(images=tuple(clean), text=(), siglip=seen)

    def _predictor(self, prompts: Sequence[str], given: OmniSample) -> Callable[[Tensor, Tensor, bool], Tensor]:
        """Return the velocity of targets under their prompts; the second half of `prompts` is for guidance."""
        model, count = self.parts.model, len(given.images)
        texts = {prompt: tuple(self.text.encode_raw(edit_texts(self.text, prompt, count))) for prompt in dict.fromkeys(prompts)}
        refined: dict[int, RefinedCondition] = {}

        def predict(x: Tensor, t: Tensor, guided: bool) -> Tensor:
            asked = prompts if guided else prompts[: len(x)]
            samples = [OmniSample((*given.images, x[i % len(x)]), texts[prompt], given.siglip) for i, prompt in enumerate(asked)]
            if len(asked) not in refined:
                refined[len(asked)] = refine(model, samples)
            return torch.stack(model(samples, t, refined[len(asked)]))

        return predict

    def _cut(self, pixels: np.ndarray) -> np.ndarray:
        """Return the middle of an image, both sides multiples of downsample x patch, at the area of training if there is one."""
        unit = self.parts.autoencoder.downsample * self.parts.model.config.patch_px
        if self.resolution_px is not None:
            aspect = bucket(pixels.shape[1], pixels.shape[0])
            return cover_crop(pixels, training_shape(aspect, resolution_px=self.resolution_px, unit_px=unit))
        height, width = (side // unit * unit for side in pixels.shape[:2])
        if not height or not width:
            raise ConfigError(f"a reference is {pixels.shape[1]} x {pixels.shape[0]} px; both sides must be at least {unit}")
        top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        return pixels[top : top + height, left : left + width]


def _bounded(pixels: np.ndarray, area: int) -> np.ndarray:
    """Return an image of more than a megapixel scaled to `area` pixels; others as they are."""
    height, width = pixels.shape[:2]
    if height * width <= MAX_REFERENCE_PIXELS:
        return pixels
    scale = math.sqrt(area / (height * width))
    size = (int(width * scale), int(height * scale))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
