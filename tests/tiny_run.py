"""A training run of seconds: a model of 60 thousand parameters on 16 px pictures of two colours."""

import dataclasses
from pathlib import Path
from typing import Any

from model.config import DataConfig, DiTConfig, TrainConfig

MODEL = DiTConfig(
    dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, in_channels=3, cap_feat_dim=32, axes_dims=(4, 6, 6), pad_to=4
)  # fmt: skip
CONFIG = TrainConfig(
    model=MODEL, data=DataConfig(resolution_px=16), autoencoder="pca:4:3", text="hash:32", num_steps=12, batch_size=8,
    warmup_steps=3, learning_rate=1e-2, ema_decay=0.95, checkpoint_every=4, keep_checkpoints=0, num_threads=1,
)  # fmt: skip
LEARNING = dataclasses.replace(CONFIG, batch_size=32, num_steps=120, checkpoint_every=120)
"""Enough steps to follow prompts: about five seconds of one core."""


def config(**changes: Any) -> TrainConfig:
    return dataclasses.replace(CONFIG, **changes)


def weights_of(checkpoint: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(checkpoint.glob("*.safetensors"))}
