"""Images to latents and back: a closed-form PCA autoencoder that needs no weights, and the Flux VAE.

Both take float images (B, 3, H, W) in [-1, 1] and give latents (B, channels, H / downsample, W / downsample) that are already
scaled for the model: mean about 0, variance about 1.

PCA: each downsample x downsample block is one vector of 3 * downsample^2 numbers; the first principal components are kept.
Components are divided by the square root of their standard deviation (half-whitening), so that leading ones stay larger: full
whitening would spend the model on fine noise. The fit is an eigendecomposition of a streamed covariance: deterministic, with the
sign of each component fixed, whatever the order or size of batches up to float64 rounding.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from curation.errors import ConfigError, ModelError
from model.folder import check_complete, check_finite, is_finite, loading

FLUX_SCALING, FLUX_SHIFT = 0.3611, 0.1159
TILE_PX = 1024
"""Side beyond which the Flux VAE works in tiles: some 5 GB in float32."""


class Autoencoder(Protocol):
    """What training and sampling need of an autoencoder."""

    downsample: int
    channels: int

    def encode(self, images: Tensor) -> Tensor:
        """Return scaled latents of images (B, 3, H, W) in [-1, 1]."""

    def decode(self, latents: Tensor) -> Tensor:
        """Return images in [-1, 1]."""


class PCAAutoencoder:
    """Principal components of image blocks, half-whitened."""

    def __init__(self, *, mean: Tensor, components: Tensor, scale: Tensor, downsample: int) -> None:
        self.mean, self.components, self.scale = mean, components, scale  # (V,), (channels, V), (channels,)
        self.downsample = downsample
        self.channels = len(components)

    @classmethod
    def fit(cls, batches: Iterable[Tensor], *, downsample: int = 4, channels: int = 12) -> "PCAAutoencoder":
        """Return the autoencoder of images (B, 3, H, W) in [-1, 1]; sizes may differ between batches, images are read once."""
        width = 3 * downsample**2
        if not 1 <= channels <= width:
            raise ConfigError(f"a PCA autoencoder of {downsample} px blocks has 1 to {width} channels, not {channels}")
        count, total, moments = 0, torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64)
        for images in batches:
            vectors = F.pixel_unshuffle(images.double(), downsample).permute(0, 2, 3, 1).reshape(-1, width)
            count += len(vectors)
            total += vectors.sum(0)
            moments += vectors.T @ vectors
        if count == 0:
            raise ModelError("the PCA autoencoder was given no image to fit to")
        mean = total / count
        values, vectors = torch.linalg.eigh(moments / count - torch.outer(mean, mean))
        components = _fixed_signs(vectors.flip(1).T[:channels])
        variance = values.flip(0)[:channels].clamp_min(1e-8)
        # c_j = a sqrt(sd_j) with a such that the latents' mean channel variance, mean(sd_j) / a^2, is 1.
        scale = variance**0.25 * variance.sqrt().mean().sqrt()
        return cls(mean=mean.float(), components=components.float(), scale=scale.float(), downsample=downsample)

    def encode(self, images: Tensor) -> Tensor:
        """Return latents (B, channels, H / downsample, W / downsample)."""
        blocks = F.pixel_unshuffle(images.float(), self.downsample).movedim(1, -1)
        return ((blocks - self.mean) @ self.components.T / self.scale).movedim(-1, 1).contiguous()

    def decode(self, latents: Tensor) -> Tensor:
        """Return images clamped to [-1, 1]."""
        blocks = (latents.float().movedim(1, -1) * self.scale) @ self.components + self.mean
        return F.pixel_shuffle(blocks.movedim(-1, 1), self.downsample).clamp(-1, 1)

    def save(self, path: Path) -> None:
        """Write the autoencoder as one safetensors file."""
        tensors = {"mean": self.mean, "components": self.components.contiguous(), "scale": self.scale}
        save_file(tensors, path)  # no metadata: safetensors writes it in random order

    @classmethod
    def load(cls, path: Path) -> "PCAAutoencoder":
        """Return the autoencoder that `save` wrote; raises ModelError if the file is missing or of another kind."""
        if not path.is_file():
            raise ModelError(f"{path} does not exist; a PCA autoencoder is written beside each checkpoint")
        tensors = load_file(path)
        if set(tensors) != {"mean", "components", "scale"}:
            raise ModelError(f"{path} holds {sorted(tensors)}, not a PCA autoencoder")
        check_finite(tensors.items(), path)
        downsample = round((len(tensors["mean"]) / 3) ** 0.5)
        return cls(**tensors, downsample=downsample)


class FluxVAE:
    """The Flux VAE through diffusers' AutoencoderKL, from a local folder; latents are (mode - shift) * scaling.

    Images are taken one by one: memory does not grow with a batch. One with a side beyond `tile_px` is cut into tiles that
    overlap by a quarter and fade into each other: memory does not grow with it either, and its norms are those of its tiles.
    """

    def __init__(self, folder: Path | str, *, device: str = "cpu", tile_px: int = TILE_PX) -> None:
        if not (Path(folder) / "config.json").is_file():
            raise ModelError(f"{folder} has no config.json; give the folder of an AutoencoderKL")
        from diffusers import AutoencoderKL

        with loading(folder):
            model, found = AutoencoderKL.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        check_complete(found["missing_keys"], folder)
        check_finite(model.named_parameters(), folder)
        self.model = model.eval().requires_grad_(False).to(device)
        config = self.model.config
        self.scaling = float(config.scaling_factor or FLUX_SCALING)
        self.shift = float(config.shift_factor if config.shift_factor is not None else FLUX_SHIFT)
        self.downsample = downsample_of(config.block_out_channels)
        self.channels = int(config.latent_channels)
        self.model.enable_tiling()
        self.model.tile_sample_min_size, self.model.tile_latent_min_size = tile_px, tile_px // self.downsample

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return latents (B, channels, H / downsample, W / downsample) of the posterior's mode."""
        placed = images.to(self.model.device, self.model.dtype)
        modes = [self.model.encode(image).latent_dist.mode() for image in torch.split(placed, 1)]
        return (torch.cat(modes).float() - self.shift) * self.scaling

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return images clamped to [-1, 1]."""
        z = (latents / self.scaling + self.shift).to(self.model.device, self.model.dtype)
        images = [self.model.decode(latent, return_dict=False)[0].float().clamp(-1, 1) for latent in torch.split(z, 1)]
        return torch.cat(images)


def downsample_of(block_out_channels: Sequence[int]) -> int:
    """Return how many pixels a latent cell spans along a side: every block of an AutoencoderKL but the last halves it."""
    return int(2 ** (len(block_out_channels) - 1))


def to_signed(pixels: Tensor) -> Tensor:
    """Return uint8 pixels (B, H, W, 3) as float images (B, 3, H, W) in [-1, 1]."""
    return pixels.movedim(-1, 1).float() / 127.5 - 1


def encoded(autoencoder: Autoencoder, pixels: np.ndarray) -> Tensor:
    """Return the latent (C, h, w) of one image, uint8 (H, W, 3), in main memory; alone, so that no batch decides its bits."""
    return autoencoder.encode(to_signed(torch.from_numpy(pixels)[None]))[0].cpu()


def to_pixels(images: Tensor) -> Tensor:
    """Return images (B, 3, H, W) in [-1, 1] as uint8 pixels (B, H, W, 3)."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).contiguous()


def decoded(autoencoder: Autoencoder, latents: Tensor, prompts: Sequence[str]) -> np.ndarray:
    """Return sampled latents (B, C, h, w) as images, uint8 (B, H, W, 3).

    Raises ModelError naming the first prompt whose latent or image is not finite: it would be black.
    """
    images = autoencoder.decode(latents.cpu()).cpu()
    for latent, image, prompt in zip(latents, images, prompts, strict=True):
        if not (is_finite(latent) and is_finite(image)):
            what = "image" if is_finite(latent) else "latent"
            raise ModelError(
                f"the {what} sampled for {prompt!r} is not finite; lower guidance, or use weights in float32 or bf16"
            )
    return to_pixels(images).numpy()


def _fixed_signs(components: Tensor) -> Tensor:
    """Return the rows with their largest entry positive, so that a fit does not depend on the solver."""
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    return components * largest.sign()
