"""Flow matching: the straight path from noise to data, its velocity, when to train, and where to step.

Everywhere t = 0 is pure noise and t = 1 is data: x_t = t * data + (1 - t) * noise, velocity = data - noise (Z-Image eq. 1).
Diffusers' sigma is 1 - t and its predicted "noise" is the negated velocity; only `sigmas` and `times` speak of both.
"""

import math

import numpy as np
import torch
from torch import Tensor

from curation.errors import ConfigError


def interpolate(data: Tensor, noise: Tensor, t: Tensor | float) -> Tensor:
    """Return x_t = t * data + (1 - t) * noise; `t` broadcasts."""
    return t * data + (1 - t) * noise


def velocity_target(data: Tensor, noise: Tensor) -> Tensor:
    """Return what the model must predict, d x_t / dt = data - noise."""
    return data - noise


def clean_prediction(x_t: Tensor, velocity: Tensor, t: Tensor | float) -> Tensor:
    """Return the data that `velocity` points at: x_t + (1 - t) * velocity."""
    return x_t + (1 - t) * velocity


def dynamic_shift(num_tokens: int) -> float:
    """Return the timestep shift for a sequence of image tokens: e^mu, mu linear through (256, 0.5) and (4096, 1.15).

    Flux and Lumina-Image 2.0 (transport.py); the parameters of Z-Image are not published.
    """
    return math.exp(0.5 + 0.65 * (num_tokens - 256) / 3840)


def grid_shift(size: tuple[int, int, int], *, patch: int, shift: float, dynamic: bool) -> float:
    """Return the shift of the step grid for a latent of `size` (channels, rows, columns): `shift`, or by the number of tokens."""
    return dynamic_shift(size[1] * size[2] // patch**2) if dynamic else shift


def shift_time(t: np.ndarray, shift: float) -> np.ndarray:
    """Return `t` moved towards noise by `shift` k: with s = 1 - t, s' = k s / (1 + (k - 1) s). Esser et al. 2024, eq. 23."""
    s = 1 - t
    moved: np.ndarray = 1 - shift * s / (1 + (shift - 1) * s)
    return moved


def logit_normal(normal: np.ndarray, *, mean: float = 0.0, std: float = 1.0, shift: float = 1.0) -> np.ndarray:
    """Return training times sigmoid(mean + std * normal), shifted. Esser et al. 2024, arXiv 2403.03206, section 3.1."""
    return shift_time(1 / (1 + np.exp(-(mean + std * normal))), shift)


def sigmas(num_steps: int, *, shift: float) -> np.ndarray:
    """Return the num_steps + 1 noise levels of the released sampler, from 1 to 0.

    s_i = linspace(1, 1/n, n) shifted by `shift`, then 0. `num_steps` IS THE NUMBER OF MODEL CALLS: 8 steps with shift 3 are the
    official 1, .9545, .9, .8333, .75, .6429, .5, .3, 0. (The released README's 9 belongs to an older grid.)
    """
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}; it must be at least 1")
    if not 0 < shift < np.inf:
        raise ConfigError(f"shift is {shift}; it must be finite and greater than 0")
    s = np.linspace(1, 1 / num_steps, num_steps)
    return np.append(shift * s / (1 + (shift - 1) * s), 0.0)


def times(num_steps: int, *, shift: float) -> np.ndarray:
    """Return the same grid as times, from 0 (noise) to 1 (data)."""
    grid: np.ndarray = 1 - sigmas(num_steps, shift=shift)
    return grid


def per_sample_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of each sample, float32 (B,)."""
    return (prediction.float() - target.float()).square().flatten(1).mean(1)


def guide(conditional: Tensor, unconditional: Tensor, *, guidance: float, normalization: float = 0.0) -> Tensor:
    """Return the guided velocity u + w (c - u) of a batch; w = `guidance` = 1 is no guidance.

    w is the usual classifier-free scale; the number that diffusers' Z-Image pipeline calls guidance_scale is w - 1.
    normalization c > 0 caps each sample's norm at c times that of the conditional velocity.
    """
    velocity = unconditional + guidance * (conditional - unconditional)
    if normalization <= 0:
        return velocity
    axes = tuple(range(1, velocity.ndim))
    limit = normalization * torch.linalg.vector_norm(conditional, dim=axes, keepdim=True)
    norm = torch.linalg.vector_norm(velocity, dim=axes, keepdim=True)
    return velocity * torch.clamp(limit / norm.clamp_min(1e-12), max=1.0)
