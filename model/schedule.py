"""What changes with the number of the update: learning rate and the decay of the moving average."""

import math

from model.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the rate of update `step` (from 0): linear warm-up, then as config.schedule says.

    linear, cosine: constant for constant_share of num_steps, then down to final_lr_share of the peak at the last step, on a line
    or on half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5). The warm-up is a cap: it may still last when the
    fall begins.
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.schedule == "constant":
        return config.learning_rate * warm
    start = config.constant_share * config.num_steps
    fall = min(1.0, max(0.0, (step + 1 - start) / max(1.0, config.num_steps - start)))
    if config.schedule == "cosine":
        fall = (1 - math.cos(math.pi * fall)) / 2
    return config.learning_rate * min(warm, 1 - (1 - config.final_lr_share) * fall)


def ema_decay(step: int, limit: float) -> float:
    """Return the decay of the moving average after update `step` (from 0): short at first, then `limit`."""
    return min(limit, (1 + step) / (10 + step))
