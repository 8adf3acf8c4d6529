"""The objective of training: what the model predicts for a batch, and the loss of each of its samples."""

import torch
from torch import Tensor

from model.config import TrainConfig
from model.dit import DiT
from model.flow import interpolate, per_sample_loss, velocity_target
from model.omni import OmniSample
from model.train_batch import Reference, TrainBatch


def sample_losses(model: DiT, batch: TrainBatch, config: TrainConfig) -> Tensor:
    """Return the flow-matching loss of every sample of a batch, float32 (B,), on the device of the model.

    The mean over the samples of all ranks is what training minimises (Z-Image, arXiv 2511.22699, eq. 1). An edit's reference is
    clean and only conditions: the loss is that of the target.
    """
    data, noise, t = (x.to(config.device) for x in (batch.latents, batch.noise, batch.t))
    text = [features.to(config.device) for features in batch.text]
    x_t = interpolate(data, noise, t.view(-1, 1, 1, 1))
    with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=config.precision == "bf16"):
        if batch.references is None:
            velocity = torch.stack(model(x_t, t, text))
        else:
            edits = zip(batch.references, x_t, text, strict=True)
            velocity = torch.stack(model([_omni(reference, x, features) for reference, x, features in edits], t))
    return per_sample_loss(velocity, velocity_target(data, noise))


def _omni(reference: Reference, x_t: Tensor, text: Tensor) -> OmniSample:
    return OmniSample(
        images=(reference.latent.to(x_t.device), x_t),
        text=torch.split(text, list(reference.segments)),
        siglip=None if reference.siglip is None else (reference.siglip.to(x_t.device), None),
    )
