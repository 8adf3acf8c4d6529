"""A checkpoint folder: everything needed to sample, and to go on training to the same bits.

    step-000600/  model.safetensors      trained weights: all, or adapters alone (lora)
                  ema.safetensors        their moving average, which sampling uses
                  optimizer.safetensors  step/<key>, exp_avg/<key>, exp_avg_sq/<key>
                  sharded/               instead of it when several processes trained: model/<key>, ema/<key>, optimizer/...
                  base.json              path and sha256 of the weights that training began with (absent when they were drawn)
                  autoencoder.safetensors  the fitted PCA autoencoder (absent with a VAE from a folder)
                  transformer.json       DiTConfig under diffusers' names
                  config.json            TrainConfig
                  state.json             step, epoch, next batch, digest of the plan
                  manifest.json          sha256 of the above; written last

The folder is filled under a hidden name and renamed, so a killed writer leaves no half checkpoint. One process writes and waits;
several go on training while theirs is written (model/sharded.py). Released folders are read and written by model/released.py.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from curation.errors import ModelError
from model.autoencoder import Autoencoder, FluxVAE, PCAAutoencoder
from model.config import TrainConfig, from_dict, to_dict
from model.dit import DiT
from model.ranks import check_there
from model.specs import parse_autoencoder


@dataclass(frozen=True)
class Progress:
    """Where a run stands: finished steps, and the next batch of the plan."""

    step: int
    epoch: int
    number: int
    plan_digest: str


@dataclass(frozen=True)
class Base:
    """The weights that training began with."""

    path: str
    sha256: str


def save_checkpoint(
    out: Path,
    *,
    progress: Progress,
    config: TrainConfig,
    weights: dict[str, Tensor],
    ema: dict[str, Tensor],
    optimizer: dict[str, Tensor],
    autoencoder: Autoencoder,
    base: Base | None = None,
) -> Path:
    """Write out/step-NNNNNN from one process and return it; a complete one that is already there stays."""
    if is_there(out, progress.step):
        return _target(out, progress.step)
    folder = hidden_folder(out, progress.step)
    for name, tensors in (("model", weights), ("ema", ema), ("optimizer", optimizer)):
        save_file({key: x.detach().cpu().contiguous() for key, x in tensors.items()}, folder / f"{name}.safetensors")
    return complete(folder, progress=progress, config=config, autoencoder=autoencoder, base=base)


def is_there(out: Path, step: int) -> bool:
    """Tell whether `out` holds the complete checkpoint of a step."""
    return is_complete(_target(out, step))


def hidden_folder(out: Path, step: int) -> Path:
    """Make and return the empty folder that a checkpoint is filled in; what a killed writer left there is gone."""
    folder = out / f".{_target(out, step).name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def complete(
    folder: Path, *, progress: Progress, config: TrainConfig, autoencoder: Autoencoder, base: Base | None = None
) -> Path:
    """Add what describes a checkpoint whose tensors are written, give it its name and return it."""
    if isinstance(autoencoder, PCAAutoencoder):
        autoencoder.save(folder / "autoencoder.safetensors")
    write_json(folder / "transformer.json", {"_class_name": "ZImageTransformer2DModel", **to_dict(config.model)})
    write_json(folder / "config.json", to_dict(config))
    write_json(folder / "state.json", asdict(progress))
    if base is not None:
        write_json(folder / "base.json", asdict(base))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_json(folder / "manifest.json", {path.relative_to(folder).as_posix(): _sha256(path) for path in files})
    target = _target(folder.parent, progress.step)
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
    return target


def _target(out: Path, step: int) -> Path:
    return out / f"step-{step:06d}"


def is_complete(folder: Path) -> bool:
    """Return whether a checkpoint folder holds every file of its manifest, unchanged."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return False
    files = json.loads(manifest.read_text())
    return all((folder / name).is_file() and _sha256(folder / name) == digest for name, digest in files.items())


def checkpoints(out: Path) -> list[Path]:
    """Return the checkpoint folders of a run, oldest first."""
    return sorted(path for path in out.glob("step-*") if path.is_dir())


def latest_checkpoint(out: Path) -> Path | None:
    """Return the newest complete checkpoint of a run, or None."""
    return next((path for path in reversed(checkpoints(out)) if is_complete(path)), None)


def prune(out: Path, *, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints (0: none) and what killed writers left."""
    for path in out.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in checkpoints(out)[:-keep] if keep else []:
        shutil.rmtree(path)


def read_progress(checkpoint: Path) -> Progress:
    """Return the state of a checkpoint."""
    return Progress(**json.loads((checkpoint / "state.json").read_text()))


def read_config(checkpoint: Path) -> TrainConfig:
    """Return the configuration of a checkpoint; raises ModelError if the folder is not one."""
    path = Path(checkpoint) / "config.json"
    if not path.is_file() or not (Path(checkpoint) / "state.json").is_file():
        raise ModelError(f"{checkpoint} is not a checkpoint; give a folder like checkpoints/step-000600")
    return from_dict(TrainConfig, json.loads(path.read_text()))


def read_base(checkpoint: Path) -> Base | None:
    """Return what a checkpoint's training began with, None when its first weights were drawn."""
    path = checkpoint / "base.json"
    return Base(**json.loads(path.read_text())) if path.is_file() else None


def load_autoencoder(config: TrainConfig, checkpoint: Path) -> Autoencoder:
    """Return the autoencoder a checkpoint was trained with."""
    kind, rest = parse_autoencoder(config.autoencoder)
    if kind == "flux":
        return FluxVAE(rest, device=config.device)
    return PCAAutoencoder.load(checkpoint / "autoencoder.safetensors")


def load_model(checkpoint: Path, *, ema: bool = True, device: str = "cpu") -> DiT:
    """Return the model of a checkpoint in evaluation mode, with averaged weights unless `ema` is false.

    Adapters are merged into their base. Raises StaleInput if that is no longer what it was, ConfigError for a device that is not
    there.
    """
    check_there(device)
    from model.initial import whole_model  # it reads checkpoints itself: the base of adapters may be one

    return whole_model(checkpoint, ema=ema, device=device).eval().requires_grad_(False)


Shapes = Mapping[str, tuple[int, ...]]


def check_fit(expected: Shapes, found: Shapes, source: Path) -> None:
    """Raise ModelError naming the first weight that is missing, unknown or of another shape."""
    wrong = sorted(set(expected) ^ set(found)) or [name for name in expected if expected[name] != found[name]]
    if wrong:
        raise ModelError(
            f"{source}: {len(wrong)} weights do not fit the configuration, first {wrong[0]}: "
            f"{expected.get(wrong[0])} expected, {found.get(wrong[0])} found"
        )


def write_json(path: Path, values: dict[str, object]) -> None:
    """Write a file of settings as readable JSON, keys sorted."""
    path.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
