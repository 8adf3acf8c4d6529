"""What a training reads before its first step: shards, plan, autoencoder, text encoder; and whether they fit what is there.

The first process fits the PCA autoencoder and hands it to the others: two machines need not agree in the last bit.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from curation.errors import ConfigError, StaleInput
from model.autoencoder import Autoencoder, FluxVAE, PCAAutoencoder, to_signed
from model.checkpoint import Base, load_autoencoder, read_base, read_config, read_progress
from model.config import DATA_BOOKKEEPING, TrainConfig, to_dict
from model.data import Batches, feature_folder, make_plan
from model.initial import find_base, own_checkpoint, verified
from model.plan import Plan
from model.ranks import Ranks
from model.shard_reader import ShardReader, UnreadableSample
from model.specs import parse_autoencoder
from model.text import TextCache, text_encoder

logger = logging.getLogger(__name__)

BOOKKEEPING = frozenset(
    {
        "num_threads", "checkpoint_every", "keep_checkpoints", "device", "validation", "preview", "peak_tflops",
        "accumulation", "shard", "gradient_checkpointing", "compile", "attention", "init_distilled", "deterministic",
    }
)  # fmt: skip
"""Settings that may change when a run is resumed; all others decide what is learned. What validation holds out is in the plan."""

PCA_IMAGES = 4096
"""Images the PCA autoencoder is fitted to: evenly spaced rows of the index."""


def open_batches(
    config: TrainConfig, shards: Path | str, out: Path, *, checkpoint: Path | None, base: Base | None, ranks: Ranks
) -> Batches:
    """Return what loads the batches of a run; writes out/plan.json.

    Raises StaleInput if `checkpoint` is of another run, ConfigError if model, autoencoder and text do not fit.
    """
    reader = ShardReader(shards)
    kind, rest = parse_autoencoder(config.autoencoder)
    vae = FluxVAE(rest, device=config.device) if kind == "flux" else None
    downsample = vae.downsample if vae else int(rest.split(":")[0])
    plan = make_plan(config, reader, unit_px=downsample * config.model.patch_px)
    ranks.first_does(lambda: _begin(config, plan, out, checkpoint))
    autoencoder = vae or _pca(config, reader, plan, checkpoint or own_checkpoint(base), ranks)
    folder = feature_folder(config, shards)
    kept = None if config.text.startswith("hash:") else folder or out / "text_features"  # hashing is faster than a disk
    text = TextCache(text_encoder(config.text, device=config.device), folder=kept, max_bytes=config.data.cache_bytes,
                     folder_bytes=config.data.latent_cache_bytes)  # fmt: skip
    _check_fit(config, autoencoder, text.encoder.width)
    return Batches(plan, reader, autoencoder, text, config, patch=config.model.patch_px, folder=folder)


def base_of(config: TrainConfig, checkpoint: Path | None) -> Base | None:
    """Return the weights that a run begins or began with; raises StaleInput if adapters lost the base they were trained on."""
    if checkpoint is None:
        return find_base(config.init)
    base = read_base(checkpoint)
    return verified(base) if base is not None and config.lora is not None else base


def _begin(config: TrainConfig, plan: Plan, out: Path, checkpoint: Path | None) -> None:
    if checkpoint is not None:
        _check_same_run(checkpoint, config, plan.digest)
    report = plan.report()
    (out / "plan.json").write_text(json.dumps(report, indent=1) + "\n")
    logger.info("plan %s: %s", plan.digest[:8], json.dumps(report))


def _pca(config: TrainConfig, reader: ShardReader, plan: Plan, source: Path | None, ranks: Ranks) -> Autoencoder:
    """Return the autoencoder of the checkpoint that training goes on from or begins with, else one fitted to the shards."""
    if source is not None and read_config(source).autoencoder == config.autoencoder:
        return load_autoencoder(config, source)
    downsample, channels = (int(part) for part in parse_autoencoder(config.autoencoder)[1].split(":"))
    return ranks.first_does(
        lambda: PCAAutoencoder.fit(_images(reader, plan, config.data.on_error), downsample=downsample, channels=channels)
    )


def _images(reader: ShardReader, plan: Plan, on_error: str) -> Iterator[Tensor]:
    """Training images one by one, at most PCA_IMAGES of them, evenly spaced; data.on_error says what becomes of bad ones."""
    places = [(int(row), bucket.shape) for bucket in plan.buckets for row in bucket.rows]
    for i in range(min(len(places), PCA_IMAGES)):
        row, shape = places[i * len(places) // min(len(places), PCA_IMAGES)]
        try:
            yield to_signed(torch.from_numpy(reader.pixels(row, shape))[None])
        except UnreadableSample:
            if on_error == "stop":
                raise


def _check_fit(config: TrainConfig, autoencoder: Autoencoder, text_width: int) -> None:
    if config.model.in_channels != autoencoder.channels:
        raise ConfigError(f"model.in_channels is {config.model.in_channels}; {config.autoencoder} gives {autoencoder.channels}")
    if config.model.cap_feat_dim != text_width:
        raise ConfigError(f"model.cap_feat_dim is {config.model.cap_feat_dim}; {config.text} gives {text_width}")


def _changes(key: str, old: object, new: object) -> list[tuple[str, object, object]]:
    """Return the settings below `key` that differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        return [change for name in names for change in _changes(f"{key}.{name}", old.get(name), new.get(name))]
    return [(key, old, new)] if old != new else []


def _check_same_run(checkpoint: Path, config: TrainConfig, digest: str) -> None:
    old, new = to_dict(read_config(checkpoint)), to_dict(config)
    for settings in (old, new):
        settings["data"] = {key: value for key, value in settings["data"].items() if key not in DATA_BOOKKEEPING}
    changed = [change for key in sorted(new) if key not in BOOKKEEPING for change in _changes(key, old.get(key), new[key])]
    if changed:
        key, before, now = changed[0]
        raise StaleInput(f"{checkpoint} was trained with {key} = {before}, now {now}; start over or use another folder")
    if read_progress(checkpoint).plan_digest != digest:
        raise StaleInput(f"{checkpoint} was trained on other shards (another plan digest); start over or use another folder")
