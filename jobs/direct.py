"""Training and sampling without a run: on any folder of shards, from any checkpoint."""

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from curation.errors import ConfigError, ImageloomError, ModelError
from jobs.config import Config, parse_config, read_config, read_yaml
from model.config import TrainConfig

if TYPE_CHECKING:
    from model.dit import DiT


def train_on(shards: Path | str, config: Path, out: Path, *, workers: int = 1, address: str | None = None) -> None:
    """Train with the section `train` of a YAML file, or with a file that holds that section's keys alone.

    workers, address: processes on Ray, and which Ray. Started by torch.distributed.run (WORLD_SIZE is set), this is one process
    of several; one of them tells what happened.
    """
    settings = train_config(config)
    if workers > 1 or address is not None:
        from jobs.ray_train import train_on_workers

        with _bar(settings) as tell:
            ended = train_on_workers(settings, shards=shards, out=out, workers=workers, address=address or "local", progress=tell)
        _say(ended)
        return
    from model.ranks import speaks
    from model.train import train

    with _bar(settings) as tell:
        try:
            result = train(settings, shards=shards, out=out, progress=tell)
        except ImageloomError as error:
            if not speaks(out):
                sys.exit(error.exit_code)
            raise
    if speaks(out):
        _say(asdict(result))


def _say(result: dict[str, Any]) -> None:
    told = "it was finished, nothing was trained" if math.isnan(result["loss"]) else f"loss {result['loss']:.4f}"
    print("{checkpoint}: step {step}, {num_parameters} parameters, ".format(**result) + told)


@contextmanager
def _bar(settings: TrainConfig) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a bar of the updates and yield what moves it."""
    columns = (
        TextColumn("train"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    hidden = os.environ.get("RANK", "0") != "0"  # of several processes one shows it
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as bars:
        task = bars.add_task("train", total=settings.num_steps, told="begins")

        def tell(line: dict[str, Any]) -> None:
            told = f"loss {line['loss']:.4f}, {line['images_per_second']:.1f} images/s, left"
            bars.update(task, completed=int(line["step"]), told=told)

        try:
            yield tell
        finally:
            if bars.tasks[0].completed == 0:  # it was finished, or failed before its first update: there is nothing to show
                bars.remove_task(task)


def train_config(path: Path) -> TrainConfig:
    """Return the training settings of a YAML file; raises ConfigError naming a wrong key."""
    values = read_yaml(path)
    if "train" not in values and set(values) & set(Config.model_fields):
        raise ConfigError(f"{path} has no section `train`")
    section = values.get("train", values)
    config = parse_config({"source": ".", "out": ".", "train": section}, origin=str(path))
    if config.train is None:
        raise ConfigError(f"{path} has no section `train`")
    return config.train


SIDE_PX = 32
"""Side of a sample when neither a size nor a reference is given: that of the models that the examples train."""


def sample_from(
    checkpoint: Path,
    out: Path,
    *,
    prompts: Sequence[str],
    references: Sequence[Path] = (),
    image: Path | None = None,
    strength: float | None = None,
    width_px: int | None = None,
    height_px: int | None = None,
    in_turn: bool = False,
    int8: bool = False,
    attention: str = "sdpa",
    lora: Sequence[Path] = (),
    lora_strength: float | None = None,
    **settings: Any,
) -> None:
    """Sample a checkpoint folder, the newest of a folder of checkpoints or of a run, or a pipeline folder of diffusers.

    references: images that every prompt edits. image, strength: what every prompt starts from, and the share of steps made.
    in_turn, int8: see model/in_turn.py; for pipeline folders. attention: see model/attention.py. lora: files of adapters that are
    merged into the weights, times lora_strength.
    """
    from model.sampler import write_images

    found = find_checkpoint(checkpoint)
    ways: dict[str, Any] = {
        "references": [path.name for path in references],
        "image": None if image is None else image.name,
        "strength": strength,
        "in_turn": in_turn,
        "int8": int8,
        "attention": attention,
        "lora": [path.name for path in lora],
        "lora_strength": lora_strength,
    }
    _check_ways(found, ways)
    _check_guidance(settings)
    size: dict[str, Any] = {"width_px": width_px or SIDE_PX, "height_px": height_px or SIDE_PX}
    if references:
        adapt = _adapting(lora, lora_strength)
        images = _edited(found, prompts, references, adapt, width_px=width_px, height_px=height_px, **settings)
    elif in_turn:
        images = _in_turn(found, prompts, int8=int8, **size, **settings)
    else:
        adapt = _adapting(lora, lora_strength)
        images = _generated(found, prompts, image, strength, attention, adapt, width_px=width_px, height_px=height_px, **settings)
    noted = {name: value for name, value in {**settings, **ways}.items() if value is not None and value not in ([], "")}
    print("\n".join(str(path) for path in write_images(images, prompts, out, settings=noted | {"checkpoint": found.name})))


def _generated(
    found: Path,
    prompts: Sequence[str],
    image: Path | None,
    strength: float | None,
    attention: str,
    adapt: Callable[["DiT"], object],
    *,
    width_px: int | None,
    height_px: int | None,
    **settings: Any,
) -> Any:
    from model.sampler import STRENGTH, Sampler

    sampler = Sampler.open(found, attention=attention)
    adapt(sampler.model)
    if image is None:
        return sampler.generate(prompts, width_px=width_px or SIDE_PX, height_px=height_px or SIDE_PX, **settings)
    pixels = _pixels(image, "--image")
    unit = sampler.autoencoder.downsample * sampler.model.config.patch_px
    height, width = (side // unit * unit for side in pixels.shape[:2])
    return sampler.generate(
        prompts,
        width_px=width_px or width,
        height_px=height_px or height,
        image=pixels,
        strength=STRENGTH if strength is None else strength,
        **settings,
    )


def _pixels(path: Path, option: str) -> Any:
    from curation.decode import decode

    if not path.is_file():
        raise ConfigError(f"{option} {path}: there is no such file")
    return decode(path.read_bytes()).pixels


def _check_ways(found: Path, ways: dict[str, Any]) -> None:
    from model.released import is_pipeline

    references, in_turn, int8 = ways["references"], ways["in_turn"], ways["int8"]
    if ways["strength"] is not None and ways["image"] is None:
        raise ConfigError("--strength belongs to --image; without it it has no effect")
    if ways["image"] is not None and (references or in_turn):
        raise ConfigError("--image starts from one image; leave out --reference and --in-turn")
    if ways["attention"] != "sdpa" and (references or in_turn):
        raise ConfigError("--attention has no effect with --reference or --in-turn")
    if in_turn and not is_pipeline(found):
        raise ConfigError(f"--in-turn needs a pipeline folder of diffusers; {found} is a checkpoint")
    if ways["lora"] and in_turn:
        raise ConfigError("--lora does not work with --in-turn: export the merged pipeline first, or leave out --in-turn")
    if ways["lora_strength"] is not None and not ways["lora"]:
        raise ConfigError("--lora-strength belongs to --lora; without it it has no effect")
    if int8 and not in_turn:
        raise ConfigError("--int8 belongs to --in-turn")
    if in_turn and references:
        raise ConfigError("--in-turn does not edit: leave out --reference")


def _check_guidance(settings: dict[str, Any]) -> None:
    plain = {"negative_prompt": "", "cfg_truncation": 1.0, "cfg_normalization": 0.0}
    idle = [name for name, value in plain.items() if settings.get(name, value) != value]
    if settings.get("guidance") == 1 and idle:
        raise ConfigError(f"--{idle[0].replace('_', '-')} has no effect with --guidance 1; leave it out or guide")


def _edited(
    found: Path, prompts: Sequence[str], references: Sequence[Path], adapt: Callable[["DiT"], object], **settings: Any
) -> Any:
    from model.edit import Editor

    pixels = [_pixels(path, "--reference") for path in references]
    editor = Editor.open(found)
    adapt(editor.parts.model)
    return editor.edit(prompts, pixels, **settings)


def _adapting(lora: Sequence[Path], strength: float | None) -> Callable[["DiT"], object]:
    """Return what merges files of adapters into a model."""

    def adapt(model: "DiT") -> None:
        from model.lora import load_lora, merge

        for path in lora:
            merge(model, load_lora(path), strength=1.0 if strength is None else strength)

    return adapt


def _in_turn(found: Path, prompts: Sequence[str], **settings: Any) -> Any:
    from model.in_turn import Loaded, sample_in_turn

    def tell(loaded: Loaded) -> None:
        print(f"{loaded.part}: {loaded.bytes / 1e9:.2f} GB", file=sys.stderr)

    return sample_in_turn(found, prompts, tell=tell, **settings)


def export(checkpoint: Path, out: Path, *, transformer_only: bool) -> None:
    """Write the checkpoint that `checkpoint` is or holds as a pipeline folder of diffusers, or its transformer alone."""
    from model.checkpoint import load_model
    from model.released import export_pipeline, save_released

    found = find_checkpoint(checkpoint)
    if not transformer_only:
        export_pipeline(found, out)
    elif out.exists():
        raise ModelError(f"{out} exists; give a folder that is still to be made")
    else:
        save_released(load_model(found), out)
    print(out)


def export_adapters(checkpoint: Path, out: Path) -> None:
    """Write the adapters of a checkpoint that was trained with lora as one file for diffusers' load_lora_weights."""
    from safetensors.torch import load_file

    from model.checkpoint import read_config as read_settings
    from model.lora import portable, save_lora

    found = find_checkpoint(checkpoint)
    settings = read_settings(found).lora
    if settings is None:
        raise ConfigError(f"{found} was not trained with lora: it has no adapters to export")
    if out.exists():
        raise ModelError(f"{out} exists; give a file that is still to be made")
    save_lora(portable(load_file(found / "ema.safetensors"), settings), out)
    print(out)


def enhanced(prompts: Sequence[str], config: Path | None, checkpoint: Path) -> list[str]:
    """Return the prompts as the enhancer writes them, and print what it did to each.

    config: the YAML whose captions' backend writes; None: that of the run the checkpoint belongs to, and rules outside of a run.
    """
    from captioning.enhancer import enhance
    from captioning.prompting import Prompts
    from jobs.backends import backend_settings, load_backend

    found = config or next((path for path in _configs(checkpoint) if path.is_file()), None)
    settings = read_config(found, {"source": "-", "out": "-"}) if found is not None else None
    name = settings.caption.backend if settings is not None else "facts"
    backend = load_backend(name, backend_settings(settings, name)) if settings is not None and name != "facts" else None
    templates = Prompts(settings.caption.prompts) if settings is not None else None
    done = enhance(prompts, backend=backend, name=name, prompts=templates)
    for before, after in zip(prompts, done, strict=True):
        print(f"{before}\n  -> {after.prompt}\n     by {after.by}: {', '.join(after.notes)}")
    return [one.prompt for one in done]


def _configs(checkpoint: Path) -> list[Path]:
    """Return where the configuration of a checkpoint's run may lie: in the folder itself, or above checkpoints/step."""
    return [folder / "config.yaml" for folder in (checkpoint, *list(checkpoint.absolute().parents)[:2])]


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint that `path` is or holds, or the pipeline folder that it is; raises ModelError when there is none."""
    from model.checkpoint import is_complete, latest_checkpoint
    from model.released import is_pipeline

    if is_complete(path) or is_pipeline(path):
        return path
    for folder in (path, path / "checkpoints"):
        found = latest_checkpoint(folder) if folder.is_dir() else None
        if found is not None:
            return found
    raise ModelError(f"{path} is no checkpoint and holds none; a run's lie in RUN/checkpoints")
