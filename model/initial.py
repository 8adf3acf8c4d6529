"""The weights that training begins with: drawn, or those of a checkpoint or a released folder; and adapters upon them.

Only weights are taken: the optimiser, its average and the place in the plan begin anew. A model with SigLIP may begin with one
without it, whose missing weights are drawn. Flow matching undoes what distillation to few steps has done (the image becomes
blurry at 8 steps, Tongyi-MAI/Z-Image#5), so a checkpoint that says it is distilled is refused unless asked for.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from curation.errors import ConfigError, ModelError, StaleInput
from model.checkpoint import Base, is_complete, latest_checkpoint, load_model, load_strict
from model.config import LoraConfig, TrainConfig
from model.dit import DiT
from model.lora import add_adapters, merge, portable
from model.released import is_pipeline, load_released

logger = logging.getLogger(__name__)

DECLARATIONS = ("model_index.json", "transformer.json", "config.json", "transformer/config.json")
"""Files that may say that a checkpoint is distilled: `is_distilled` or `_is_distilled` true, or a name with Turbo in it."""


def initial_model(config: TrainConfig, base: Base | None) -> DiT:
    """Return the model as training begins; with lora only its adapters require gradients.

    base: what `find_base` said. Raises ConfigError for a distilled base, ModelError for one of another shape, StaleInput if its
    weights have changed.
    """
    model = DiT(config.model).initialize(seed=config.seed)
    if base is not None:
        _check_kind(Path(base.path), config)
        _take(model, _weights(base), Path(base.path))
    if config.lora is not None:
        add_adapters(model, config.lora, seed=config.seed)
    return model


def with_adapters(config: TrainConfig, lora: LoraConfig, trained: Mapping[str, Tensor], *, base: Base | None) -> DiT:
    """Return the base of a training with adapters, `trained` merged into it."""
    model = DiT(config.model)
    if base is None:
        raise ModelError("this checkpoint holds adapters, but no base.json says upon which weights")
    _take(model, _weights(base), Path(base.path))
    return merge(model, portable(trained, lora))


def find_base(init: str | None) -> Base | None:
    """Return what `init` stands for: the checkpoint itself, the newest of a folder or run, or a folder of released weights.

    Raises ModelError when it is none of these.
    """
    if init is None:
        return None
    folder = Path(init).expanduser()
    for place in (folder, folder / "checkpoints"):
        if is_complete(place) or is_pipeline(place) or _is_transformer(place):
            return Base(str(place), digest_of(place))
        newest = latest_checkpoint(place) if place.is_dir() else None
        if newest is not None:
            return Base(str(newest), digest_of(newest))
    raise ModelError(f"init: {init} is no checkpoint, holds none, and is no folder of a released model")


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of the weights that a base consists of."""
    digest = hashlib.sha256()
    if is_complete(folder):
        names = ["config.json", "ema.safetensors", *(["base.json"] if (folder / "base.json").is_file() else [])]
        paths = [folder / name for name in names]
    else:
        paths = sorted((folder / "transformer" if is_pipeline(folder) else folder).glob("*.safetensors"))
    for path in paths:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def own_checkpoint(base: Base | None) -> Path | None:
    """Return the checkpoint of this project that a base is, None for released weights."""
    return Path(base.path) if base is not None and is_complete(Path(base.path)) else None


def _is_transformer(folder: Path) -> bool:
    return (folder / "config.json").is_file() and not (folder / "state.json").is_file() and any(folder.glob("*.safetensors"))


def _weights(base: Base) -> dict[str, Tensor]:
    folder = Path(base.path)
    if not folder.is_dir():
        raise StaleInput(f"{folder}, the base of this training, is gone")
    if digest_of(folder) != base.sha256:
        raise StaleInput(f"{folder}, the base of this training, has changed since; start over or put it back")
    if is_complete(folder):
        return load_model(folder).state_dict()
    return load_released(folder / "transformer" if is_pipeline(folder) else folder).state_dict()


def _take(model: DiT, weights: dict[str, Tensor], source: Path) -> None:
    drawn = {key: x for key, x in model.state_dict().items() if key.startswith("siglip_") and key not in weights}
    if drawn:
        logger.info("%s has no SigLIP weights; %d tensors are drawn", source, len(drawn))
    load_strict(model, weights | drawn, source)


def _check_kind(folder: Path, config: TrainConfig) -> None:
    if _is_distilled(folder) and not config.init_distilled:
        raise ConfigError(
            f"init: {folder} is distilled to few steps, which training with this objective undoes: begin with the base model, "
            "or set init_distilled: true"
        )


def _is_distilled(folder: Path) -> bool:
    for name in DECLARATIONS:
        values = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
        if values.get("is_distilled") or values.get("_is_distilled") or "turbo" in str(values.get("_name_or_path", "")).lower():
            return True
    return False
