"""What changes with the number of the update: learning rate and the decay of the moving average."""

from model.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the rate of update `step` (from 0): linear warm-up, constant, linear to final_lr_share at the last step."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    start = config.constant_share * config.num_steps
    fall = max(0.0, (step + 1 - start) / max(1.0, config.num_steps - start))
    return config.learning_rate * min(warm, 1 - (1 - config.final_lr_share) * min(1.0, fall))


def ema_decay(step: int, limit: float) -> float:
    """Return the decay of the moving average after update `step` (from 0): short at first, then `limit`."""
    return min(limit, (1 + step) / (10 + step))
