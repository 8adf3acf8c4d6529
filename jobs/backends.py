"""The backends that answer questions, by the word in the YAML: a model in this process, or a server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captioning.answer import Backend
from curation.errors import ConfigError
from jobs.config import Config

FREE: dict[str, tuple[str, ...]] = {
    "vlm": ("device", "batch_size"),
    "endpoint": (
        "url", "api_key_env", "concurrency", "requests_per_minute", "tokens_per_minute", "timeout_seconds", "deadline_seconds",
        "max_tries", "max_consecutive_failures", "input_price", "output_price", "budget", "cache", "image_token_px",
    ),
}  # fmt: skip
"""Settings of each backend that do not change what it answers."""


def backend_settings(config: Config, name: str) -> dict[str, Any]:
    """Return the section of a backend as plain values; raises ConfigError when the YAML has none."""
    section = getattr(config, name, None)
    if section is None:
        raise ConfigError(f"backend {name} needs a section `{name}`; docs/config.md lists its keys")
    settings = {key: value for key, value in section.model_dump(mode="json").items() if value is not None}
    pixels = {key: getattr(config.caption, key) for key in ("min_pixels", "max_pixels")}
    return pixels | _of_the_run(config) | settings if name == "endpoint" else pixels | settings


def answer_settings(config: Config, name: str) -> dict[str, Any]:
    """Return those settings of a backend that its answers depend on."""
    return {key: value for key, value in backend_settings(config, name).items() if key not in FREE[name]}


def free_settings(config: Config, name: str) -> dict[str, Any]:
    """Return the other ones: where a model runs, how much is asked at a time."""
    return {key: value for key, value in backend_settings(config, name).items() if key in FREE[name]}


def _of_the_run(config: Config) -> dict[str, Any]:
    """Return what a server's client takes from elsewhere in the YAML: prices, the run's folder."""
    cache = Path(config.out).expanduser().absolute() / "_cache"
    return {name: getattr(config.caption, name) for name in ("input_price", "output_price")} | {"cache": str(cache)}


def load_backend(name: str, settings: Mapping[str, Any]) -> Backend:
    """Return a backend that is ready to answer; raises ModelError or ConfigError when it cannot be."""
    if name == "vlm":
        from captioning.vlm import VisionLanguageModel

        return VisionLanguageModel(settings["model"], **{key: value for key, value in settings.items() if key != "model"})
    if name == "endpoint":
        from captioning.endpoint import Endpoint

        return Endpoint(**settings)
    raise ConfigError(f"backend {name!r} answers no questions; known are vlm and endpoint")
