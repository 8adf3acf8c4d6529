"""What a training names by a string: autoencoder, text encoder, device, levels and languages of captions.

Read without a framework, so that a name that nothing knows, or two that cannot go together, is refused when a configuration is
read and not after the stages of a week.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from curation.errors import ConfigError
from curation.schema_training import CAPTION_LANGUAGES, CAPTION_LEVELS

MINILM_WIDTH = 384
"""Of all-MiniLM-L6-v2's token states."""


def parse_autoencoder(spec: str) -> tuple[str, str]:
    """Return ('pca', 'downsample:channels') or ('flux', folder); raises ConfigError for anything else."""
    kind, _, rest = spec.partition(":")
    if kind == "pca" and re.fullmatch(r"\d+:\d+", rest, re.ASCII):
        downsample, channels = (int(part) for part in rest.split(":"))
        if not 1 <= channels <= 3 * downsample**2:
            raise ConfigError(
                f"autoencoder is {spec!r}; blocks of {downsample} x {downsample} px have 1 to {3 * downsample**2} channels"
            )
        return kind, rest
    if kind == "flux" and rest:
        return kind, rest
    raise ConfigError(f"autoencoder is {spec!r}; write pca:<downsample>:<channels> or flux:<folder>")


def parse_text(spec: str) -> tuple[str, str]:
    """Return ('hash', width), ('minilm', '') or ('qwen3', folder); raises ConfigError for anything else."""
    if not re.fullmatch(r"hash:0*[1-9]\d*|minilm|qwen3:.+", spec, re.ASCII):
        raise ConfigError(f"text is {spec!r}; write hash:<width>, minilm or qwen3:<folder>")
    kind, _, rest = spec.partition(":")
    return kind, rest


def check_device(device: str) -> None:
    """Raise ConfigError for a device that is none."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device, re.ASCII):
        raise ConfigError(f"device is {device!r}; it must be cpu, cuda or cuda:<n>")


def check_weights(levels: Mapping[str, float], languages: Mapping[str, float]) -> None:
    """Raise ConfigError for a level or language that no caption has, for a negative weight, and when all weights are 0."""
    for name, weights, known in (
        ("level_weights", levels, CAPTION_LEVELS), ("language_weights", languages, CAPTION_LANGUAGES),
    ):  # fmt: skip
        unknown = [key for key in weights if key not in known]
        if unknown:
            raise ConfigError(f"data.{name} names {unknown[0]!r}; it must be among {', '.join(known)}")
        if not all(0 <= weight < float("inf") for weight in weights.values()) or not sum(weights.values()):
            raise ConfigError(f"data.{name} is {dict(weights)}; weights must be 0 or more, and one of them more")


def check_fit(*, autoencoder: str, in_channels: int, text: str, cap_feat_dim: int) -> None:
    """Raise ConfigError where names alone tell that a model does not fit its encoders; of a folder only its files do."""
    kind, rest = parse_autoencoder(autoencoder)
    if kind == "pca" and in_channels != int(rest.split(":")[1]):
        raise ConfigError(f"model.in_channels is {in_channels}; {autoencoder} gives {rest.split(':')[1]}")
    kind, rest = parse_text(text)
    width = {"hash": rest, "minilm": str(MINILM_WIDTH)}.get(kind, str(cap_feat_dim))
    if cap_feat_dim != int(width):
        raise ConfigError(f"model.cap_feat_dim is {cap_feat_dim}; {text} gives {int(width)}")


def check_folders(*, autoencoder: str, text: str, siglip: str, init: str | None) -> None:
    """Raise ConfigError for the first of the folders named by a training's settings that is not there."""
    kind, vae = parse_autoencoder(autoencoder)
    encoder, qwen = parse_text(text)
    named = {"autoencoder": vae if kind == "flux" else "", "text": qwen if encoder == "qwen3" else "", "siglip": siglip}
    for name, folder in {**named, "init": init or ""}.items():
        if folder and not Path(folder).exists():
            raise ConfigError(f"train.{name} names {folder}, which does not exist")
