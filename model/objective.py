"""The objective of training: what the model predicts for a batch, and the loss of each of its samples."""

import torch
from torch import Tensor

from model.config import TrainConfig
from model.data import TrainBatch
from model.dit import DiT
from model.flow import interpolate, per_sample_loss, velocity_target


def sample_losses(model: DiT, batch: TrainBatch, config: TrainConfig) -> Tensor:
    """Return the flow-matching loss of every sample of a batch, float32 (B,), on the device of the model.

    The mean over the samples of all ranks is what training minimises (Z-Image, arXiv 2511.22699, eq. 1).
    """
    data, noise, t = (x.to(config.device) for x in (batch.latents, batch.noise, batch.t))
    text = [features.to(config.device) for features in batch.text]
    with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=config.precision == "bf16"):
        velocity = torch.stack(model(interpolate(data, noise, t.view(-1, 1, 1, 1)), t, text))
    return per_sample_loss(velocity, velocity_target(data, noise))
