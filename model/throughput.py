"""How fast training runs: images, tokens and operations per second, the share of the device's peak, memory, and waiting for data.

Operations are those of the model by closed form (model/roofline.py), three forward passes per update; what gradient checkpointing
computes twice counts once. Over the peak they are the model FLOPs utilisation (Chowdhery et al. 2022, arXiv 2204.02311, app. B).
Rates are over the last updates, without validation, sample grids and checkpoints; the first updates (compilation, cold caches)
are left out as soon as there are others.
"""

import resource
import sys
from collections import deque
from typing import Any, NamedTuple

import torch

from model.config import TrainConfig
from model.roofline import BACKWARD, forward_flops
from model.train_batch import Reference, TrainBatch
from model.watch import Update

WARM_UP = 3
"""Updates of a process that are left out of the rates once there are later ones."""
WINDOW = 50
"""Updates that a rate is the mean of."""

PEAK_TFLOPS = {
    "B200": 2250.0, "H200": 989.0, "H100 PCIe": 756.0, "H100": 989.0, "H800": 989.0, "A100": 312.0, "A800": 312.0, "L40S": 362.0,
    "RTX 5090": 209.5, "RTX 4090": 165.2, "RTX 3090": 71.0, "A10": 125.0, "MI300X": 1307.0,
}  # fmt: skip
"""Dense bf16 peaks with fp32 accumulation by vendors' data sheets; the first name that the device's name holds counts."""


class Work(NamedTuple):
    """What one update did: images and tokens of all ranks, operations of this one."""

    images: int
    tokens: float
    flops: int
    seconds: float
    data_seconds: float


class Throughput:
    """The watch of speed; other ranks are taken to see captions as long as this one's."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.peak = config.peak_tflops or known_peak(config)
        self._recent: deque[Work] = deque(maxlen=WINDOW)
        self._seen = 0

    def __call__(self, update: Update) -> dict[str, Any]:
        """Return the rates of the last updates and the peak memory of this process so far."""
        self._seen += 1
        if self._seen == WARM_UP + 1:
            self._recent.clear()
        self._recent.append(work_of(update, self.config))
        images, tokens, flops, seconds, waited = (sum(column) for column in zip(*self._recent, strict=True))
        tflops = flops / seconds / 1e12
        rates = {
            "images_per_second": images / seconds,
            "tokens_per_second": tokens / seconds,
            "tflops": tflops,
            "memory_gb": peak_memory_bytes(self.config.device) / 1e9,
            "data_share": waited / seconds,
        }
        rates |= {"mfu": tflops / self.peak} if self.peak else {}
        return {name: float(f"{rate:.4g}") for name, rate in rates.items()}


def work_of(update: Update, config: TrainConfig) -> Work:
    """Return what an update did; tokens are counted before padding."""
    batch = update.batch
    tokens = sample_tokens(batch, patch=config.model.patch_px)
    passes = BACKWARD + 1 if config.lora is None else BACKWARD  # frozen weights need no gradient of their own
    flops = sum(passes * forward_flops(config.model, image_tokens=image, text_tokens=text) for image, text in tokens)
    ranks = batch.global_size / len(tokens)
    return Work(batch.global_size, ranks * sum(map(sum, tokens)), flops, update.seconds, update.data_seconds)


def sample_tokens(batch: TrainBatch, *, patch: int) -> list[tuple[int, int]]:
    """Return (image tokens, text tokens) of every sample of a batch, before padding; an edit's references count as image."""
    image = batch.latents.shape[-2] * batch.latents.shape[-1] // patch**2
    references = batch.references or (None,) * len(batch.text)
    return [
        (image + _tokens(reference, patch), len(features)) for reference, features in zip(references, batch.text, strict=True)
    ]


def _tokens(reference: Reference | None, patch: int) -> int:
    if reference is None:
        return 0
    seen = 0 if reference.siglip is None else reference.siglip.shape[0] * reference.siglip.shape[1]
    return reference.latent.shape[-2] * reference.latent.shape[-1] // patch**2 + seen


def known_peak(config: TrainConfig) -> float | None:
    """Return the dense bf16 TFLOP/s of the device when it is a known accelerator and training runs in bf16, else None."""
    if torch.device(config.device).type != "cuda" or config.precision != "bf16":
        return None
    name = torch.cuda.get_device_name(torch.device(config.device))
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def peak_memory_bytes(device: str) -> int:
    """Return the most memory that tensors had on a GPU, or that this process had resident on a CPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(torch.device(device))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most  # Linux counts kilobytes
