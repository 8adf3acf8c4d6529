"""The backends that answer questions, by the word in the YAML: a model in this process, or a server."""

from collections.abc import Mapping
from typing import Any

from captioning.answer import Backend
from curation.errors import ConfigError
from jobs.config import Config

FREE = {"vlm": ("device", "batch_size"), "endpoint": ()}
"""Settings of each backend that do not change what it answers."""


def backend_settings(config: Config, name: str) -> dict[str, Any]:
    """Return the section of a backend as plain values; raises ConfigError when the YAML has none."""
    section = getattr(config, name, None)
    if section is None:
        raise ConfigError(f"backend {name} needs a section `{name}`; docs/config.md lists its keys")
    return {key: value for key, value in section.model_dump(mode="json").items() if value is not None}


def load_backend(name: str, settings: Mapping[str, Any]) -> Backend:
    """Return a backend that is ready to answer; raises ModelError or ConfigError when it cannot be."""
    if name == "vlm":
        from captioning.vlm import VisionLanguageModel

        return VisionLanguageModel(settings["model"], **{key: value for key, value in settings.items() if key != "model"})
    if name == "endpoint":
        from captioning.endpoint import Endpoint

        server: Backend = Endpoint(**settings)
        return server
    raise ConfigError(f"backend {name!r} answers no questions; known are vlm and endpoint")
