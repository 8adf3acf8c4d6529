"""Folders of models as others saved them: settings that are read, and loaders of packages whose failures become one line.

A folder that was copied half, cut by a full disk or meant for other code fails in many ways inside of json, safetensors,
transformers and diffusers; whoever gave it wants to know which file it is. Worse is what does not fail: both packages draw
weights that a folder lacks at random, with a warning, and a weight that is NaN makes every image black. Here both are errors.
"""

import dataclasses
import json
import math
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from curation.errors import ConfigError, ModelError
from model.config import DiTConfig, from_dict


def read_settings(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises ModelError for a missing file or one that holds something else."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {_line(error)}") from None
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds a {type(values).__name__}, not settings by name")
    return values


def read_dit_config(path: Path) -> DiTConfig:
    """Return the configuration in the config.json of a transformer; raises ModelError naming the file and what is wrong in it."""
    values = read_settings(path)
    for field in dataclasses.fields(DiTConfig):
        if field.name in values and not _fits(values[field.name], field.default):
            raise ModelError(f"{path}: {field.name} is {values[field.name]!r}; a value like {field.default!r} is wanted")
    try:
        return from_dict(DiTConfig, values)
    except ConfigError as error:
        raise ModelError(f"{path}: {error}") from None


def _fits(value: object, like: object) -> bool:
    """Tell whether a value from JSON is of the kind of a default; None stands for a width that may be absent."""
    if isinstance(like, tuple):
        return isinstance(value, list) and len(value) > 0 and all(type(entry) is int and entry > 0 for entry in value)
    if like is None:
        return value is None or type(value) is int
    if isinstance(like, float):
        return type(value) in (int, float)
    return type(value) is type(like)


@contextmanager
def loading(folder: Path | str) -> Iterator[None]:
    """Turn what a package's loader raises into ModelError: the folder, and the first line of what it said."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ModelError(f"{folder} cannot be loaded: {_line(error)}") from error


def check_complete(missing: Collection[str], folder: Path | str) -> None:
    """Raise ModelError if a loader found no weights for some of a model's names."""
    if missing:
        raise ModelError(f"{folder} lacks {len(missing)} weights, first {min(missing)}; copy the whole folder again")


def check_finite(weights: Iterable[tuple[str, Tensor]], source: Path | str) -> None:
    """Raise ModelError naming the first weight that holds NaN or infinity."""
    for name, weight in weights:
        if not is_finite(weight):
            count = int((~torch.isfinite(weight)).sum())
            raise ModelError(
                f"{source}: {name} holds NaN or infinity, {count} of {weight.numel()} numbers; the training that wrote it "
                "diverged, or the file is damaged: take an earlier checkpoint or copy it again"
            )


def is_finite(x: Tensor) -> bool:
    """Tell whether no number is NaN or infinite: one pass, no mask of the tensor's size."""
    return not x.is_floating_point() or x.numel() == 0 or all(math.isfinite(float(bound)) for bound in torch.aminmax(x.detach()))


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(" :.")
