"""The weights that training begins with: drawn, or those of a checkpoint or a released folder; and adapters upon them.

A model is built without numbers, divided among the processes, and filled one parameter at a time: no process ever holds a whole
one. Drawn values are drawn in full by every process, which keeps its rows; of files only those rows are read.

Only weights are taken: the optimiser, its average and the place in the plan begin anew. A model with SigLIP may begin with one
without it, whose missing weights are drawn. Flow matching undoes what distillation to few steps has done (the image becomes
blurry at 8 steps, Tongyi-MAI/Z-Image#5), so a checkpoint that says it is distilled is refused unless asked for.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from curation.errors import ConfigError, ModelError, StaleInput
from model.checkpoint import Base, check_fit, is_complete, latest_checkpoint, read_base, read_config
from model.config import TrainConfig, to_dict
from model.dit import DiT
from model.drawn import drawn_weights
from model.folder import check_finite
from model.lora import add_adapters, drawn_adapters, portable
from model.parallel import fill, fill_from, local
from model.released import is_pipeline, weight_files
from model.stored import AdaptedWeights, StoredWeights, Weights

logger = logging.getLogger(__name__)

MEANING = (
    "dim", "n_layers", "n_refiner_layers", "n_heads", "in_channels", "cap_feat_dim", "all_patch_size", "all_f_patch_size",
    "qk_norm", "norm_eps", "axes_dims", "rope_theta", "t_scale",
)  # fmt: skip
"""Fields of DiTConfig that decide which weights there are and what they do; heads and rotary axes change no size of any."""

DECLARATIONS = ("model_index.json", "transformer.json", "config.json", "transformer/config.json")
"""Files that may say that a checkpoint is distilled: `is_distilled` or `_is_distilled` true, or a name with Turbo in it."""


def empty_model(config: TrainConfig) -> DiT:
    """Return the model of a training on the meta device, names and shapes alone; with lora only adapters require gradients."""
    with torch.device("meta"):
        model = DiT(config.model)
        if config.lora is not None:
            add_adapters(model, config.lora)
    assert not list(model.buffers()), "a buffer would have to be filled too"
    return model


def initial_model(config: TrainConfig, base: Base | None) -> DiT:
    """Return the model as training begins, whole, on config.device; raises as `begin` does."""
    model = empty_model(config).to_empty(device=config.device)
    begin(model, config, base)
    return model


def begin(model: DiT, config: TrainConfig, base: Base | None) -> None:
    """Fill every parameter of `empty_model`, divided among processes or not, in place and one after the other.

    base: what `find_base` said. Raises ConfigError for a distilled base, ModelError for one of another shape, StaleInput if it is
    gone.
    """
    parameters = {name.replace(".base_layer.", "."): parameter for name, parameter in model.named_parameters()}  # peft's name
    adapters = {name: parameter for name, parameter in parameters.items() if ".lora_" in name}
    own = {name: parameter for name, parameter in parameters.items() if name not in adapters}
    if base is not None:
        _check_kind(Path(base.path), config)
        _check_shape(Path(base.path), config)
    given = set[str]() if base is None else _take(own, base_weights(base), Path(base.path))
    if given != set(own):
        for name, value in drawn_weights(_shapes(own).items(), seed=config.seed):
            if name not in given:
                fill(own[name], value)
    for name, value in drawn_adapters(_shapes(adapters).items(), seed=config.seed):
        fill(adapters[name], value)


def _take(parameters: Mapping[str, Tensor], weights: Weights, source: Path) -> set[str]:
    """Fill parameters that `weights` has and return their names; what it may lack are those of SigLIP."""
    drawn = {name for name in parameters if name.startswith("siglip_") and name not in weights.shapes}
    if drawn:
        logger.info("%s has no SigLIP weights; %d tensors are drawn", source, len(drawn))
    taken = {name: parameter for name, parameter in parameters.items() if name not in drawn}
    check_fit(_shapes(taken), weights.shapes, source)
    for name, parameter in taken.items():
        fill_from(parameter, weights, name)
        check_finite([(name, local(parameter.detach()))], source)
    return set(taken)


def _shapes(parameters: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in parameters.items()}


def whole_model(checkpoint: Path, *, ema: bool, device: str) -> DiT:
    """Return the model of a checkpoint on a device; see model.checkpoint.load_model."""
    with torch.device("meta"):
        model = DiT(read_config(checkpoint).model)
    model = model.to_empty(device=device)
    _take(dict(model.named_parameters()), _checkpoint_weights(checkpoint, ema=ema), checkpoint)
    return model


def _checkpoint_weights(checkpoint: Path, *, ema: bool) -> Weights:
    """Return the weights of a checkpoint; adapters are added to their base, which must be what it was."""
    trained = StoredWeights([checkpoint / ("ema.safetensors" if ema else "model.safetensors")])
    config, base = read_config(checkpoint), read_base(checkpoint)
    if config.lora is None:
        return trained
    if base is None:
        raise ModelError(f"{checkpoint} holds adapters, but no base.json says upon which weights")
    adapters = portable({name: trained.read(name) for name in trained.shapes}, config.lora)
    return AdaptedWeights(base_weights(verified(base)), adapters)


def base_weights(base: Base) -> Weights:
    """Return the weights that a base consists of: averaged ones of a checkpoint, or released ones; raises StaleInput if gone."""
    folder = _present(base)
    if is_complete(folder):
        return _checkpoint_weights(folder, ema=True)
    return StoredWeights(weight_files(folder / "transformer" if is_pipeline(folder) else folder))


def verified(base: Base) -> Base:
    """Return a base whose weights are those that training began with; reads them all. Raises StaleInput for others."""
    if digest_of(_present(base)) != base.sha256:
        raise StaleInput(f"{base.path}, the base of this training, has changed since; start over or put it back")
    return base


def _present(base: Base) -> Path:
    if not Path(base.path).is_dir():
        raise StaleInput(f"{base.path}, the base of this training, is gone")
    return Path(base.path)


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


def _check_kind(folder: Path, config: TrainConfig) -> None:
    if _is_distilled(folder) and not config.init_distilled:
        raise ConfigError(
            f"init: {folder} is distilled to few steps, which training with this objective undoes: begin with the base model, "
            "or set init_distilled: true"
        )


def _check_shape(folder: Path, config: TrainConfig) -> None:
    """Raise ModelError naming the first field of MEANING in which a base and the configured model differ."""
    places = (folder / "transformer.json", folder / "transformer" / "config.json", folder / "config.json")
    given = json.loads(next(path for path in places if path.is_file()).read_text())
    wanted = to_dict(config.model)
    for name in MEANING:
        if name in given and given[name] != wanted[name]:
            raise ModelError(
                f"init: {folder} has {name} {given[name]}, train.model.{name} is {wanted[name]}; they must be the same"
            )


def _is_distilled(folder: Path) -> bool:
    for name in DECLARATIONS:
        values = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
        if values.get("is_distilled") or values.get("_is_distilled") or "turbo" in str(values.get("_name_or_path", "")).lower():
            return True
    return False
