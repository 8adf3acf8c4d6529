"""A released folder in diffusers' layout: a Z-Image pipeline with its parts, read and written.

    folder/  model_index.json    which class reads which part
             transformer/        config.json, diffusion_pytorch_model*.safetensors (one file, or shards with an index)
             vae/  text_encoder/  tokenizer/
             scheduler/          scheduler_config.json: the shift of the sampling grid

What is written here opens with `diffusers.ZImagePipeline.from_pretrained` and the other way round. A model trained here fits the
layout when it has the released padding, the Flux VAE and a Qwen3 text encoder; its transformer alone can be written without them.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from curation.errors import ModelError
from model.autoencoder import Autoencoder, FluxVAE, downsample_of
from model.checkpoint import check_fit, load_model, read_config, write_json
from model.config import Z_IMAGE, DiTConfig, to_dict
from model.dit import DiT
from model.flow import grid_shift
from model.folder import check_finite, read_dit_config, read_settings
from model.specs import parse_autoencoder
from model.stored import StoredWeights
from model.text import Qwen3, TextEncoder

INDEX = "model_index.json"
WEIGHTS = "diffusion_pytorch_model{suffix}.safetensors"
OWN_FIELDS = ("pad_to", "scrambled_siglip", "shifted_text_positions")
"""Fields of DiTConfig that the released configuration does not have."""
MAX_SHARD = "5GB"
SCHEDULER = "FlowMatchEulerDiscreteScheduler"
PLAIN_GRID = {
    "invert_sigmas": False,
    "shift_terminal": None,
    "stochastic_sampling": False,
    "use_beta_sigmas": False,
    "use_exponential_sigmas": False,
    "use_karras_sigmas": False,
}
"""Settings of diffusers' scheduler with which its steps are those of model/flow.py."""
BY_TOKENS = {
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "time_shift_type": "exponential",
}
"""The same where the shift goes by token count (flow.dynamic_shift)."""


@dataclass(frozen=True)
class Pipeline:
    """The parts of a pipeline; shift: of the sampling grid, dynamic_shift: by token count instead."""

    model: DiT
    autoencoder: Autoencoder
    text: TextEncoder
    shift: float
    dynamic_shift: bool

    def step_shift(self, size: tuple[int, int, int]) -> float:
        """Return the shift of the step grid for a latent of `size` (channels, rows, columns)."""
        return grid_shift(size, patch=self.model.config.patch_px, shift=self.shift, dynamic=self.dynamic_shift)


def is_pipeline(folder: Path) -> bool:
    """Tell whether a folder is a pipeline in diffusers' layout."""
    return (Path(folder) / INDEX).is_file()


def load_pipeline(folder: Path, *, device: str = "cpu", dtype: torch.dtype | None = None) -> Pipeline:
    """Return the parts of a pipeline folder; dtype: of the transformer, None as stored.

    Raises ModelError when the folder or a part of it is missing, or weights do not fit.
    """
    return Pipeline(
        model=load_transformer(folder, device=device, dtype=dtype),
        autoencoder=load_vae(folder, device=device),
        text=load_text_encoder(folder, device=device),
        shift=read_shift(folder)[0],
        dynamic_shift=read_shift(folder)[1],
    )


def load_transformer(folder: Path, *, device: str = "cpu", dtype: torch.dtype | None = None) -> DiT:
    """Return the transformer of a pipeline folder, frozen; raises ModelError without one."""
    return load_released(_part(folder, "transformer"), dtype=dtype).requires_grad_(False).to(device)


def load_vae(folder: Path, *, device: str = "cpu") -> FluxVAE:
    """Return the VAE of a pipeline folder; raises ModelError without one."""
    return FluxVAE(_part(folder, "vae"), device=device)


def load_text_encoder(folder: Path, *, device: str = "cpu") -> Qwen3:
    """Return the text encoder of a pipeline folder with its tokenizer; raises ModelError without one."""
    return Qwen3(_part(folder, "text_encoder"), tokenizer=_part(folder, "tokenizer"), device=device)


def read_shift(folder: Path) -> tuple[float, bool]:
    """Return the shift of a pipeline's step grid, and whether it goes by token count instead.

    Raises ModelError for a scheduler that would step otherwise than Euler over that grid.
    """
    path = _part(folder, "scheduler") / "scheduler_config.json"
    scheduler = read_settings(path)
    kind = scheduler.get("_class_name", SCHEDULER)
    known = PLAIN_GRID | (BY_TOKENS if scheduler.get("use_dynamic_shifting") else {})
    other = [name for name, value in known.items() if scheduler.get(name, value) != value]
    if kind != SCHEDULER or other:
        wrong = f"{other[0]} is {scheduler[other[0]]!r}, not {known[other[0]]!r}" if other else f"{kind} is not {SCHEDULER}"
        raise ModelError(f"{path}: {wrong}; images would not be those of this scheduler")
    return float(scheduler.get("shift", 1.0)), bool(scheduler.get("use_dynamic_shifting", False))


def vae_downsample(folder: Path) -> int:
    """Return how many pixels a latent cell spans, by the VAE's configuration alone."""
    return downsample_of(read_settings(_part(folder, "vae") / "config.json").get("block_out_channels", ()))


def _part(folder: Path, name: str) -> Path:
    part = Path(folder) / name
    if not part.is_dir():
        raise ModelError(f"{folder} has no folder {name}/; give a whole Z-Image pipeline, as diffusers saves it")
    return part


def load_released(folder: Path, *, dtype: torch.dtype | None = None) -> DiT:
    """Return the DiT of a transformer folder: config.json and its safetensors, in one file or sharded.

    Raises ModelError if the folder is no such folder, or a key is missing, unknown, of another shape or not finite.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json; give the transformer folder of a Z-Image checkpoint")
    stored = StoredWeights(weight_files(folder))
    with torch.device("meta"):
        model = DiT(read_dit_config(folder / "config.json"))
    check_fit({name: tuple(x.shape) for name, x in model.state_dict().items()}, stored.shapes, folder)
    model.load_state_dict({key: _placed(key, stored.read(key), dtype, folder) for key in stored.shapes}, assign=True)
    check_finite(model.named_parameters(), folder)
    return model.eval()


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors of a transformer folder: those its index names, or the one file, or all that are there.

    Files of another variant (fp16) lie beside either and are left alone. Raises ModelError without one, or for a missing shard.
    """
    index = folder / (WEIGHTS.format(suffix="") + ".index.json")
    if index.is_file():
        named = sorted(set(read_settings(index).get("weight_map", {}).values()))
        lost = [name for name in named if not (folder / name).is_file()]
        if lost:
            raise ModelError(f"{folder} lacks {lost[0]}, {len(lost)} of the {len(named)} files that {index.name} names")
        return [folder / name for name in named]
    whole = folder / WEIGHTS.format(suffix="")
    paths = [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))
    if not paths:
        raise ModelError(f"{folder} holds no safetensors")
    return paths


def _placed(key: str, x: Tensor, dtype: torch.dtype | None, folder: Path) -> Tensor:
    """Return a stored weight in the dtype it is used in: `dtype`, float32 for the embedding of t (see DiT.lower).

    None: as stored, but float16, in which the model overflows, becomes float32. Raises ModelError for whole or 8-bit numbers.
    """
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        raise ModelError(f"{folder}: {key} is stored as {x.dtype}; float32, bfloat16 or float16 is wanted")
    if dtype is None:
        return x if x.dtype == torch.bfloat16 else x.float()
    return x.float() if key.startswith("t_embedder") else x.to(dtype)


def save_released(model: DiT, folder: Path, *, max_shard: str = MAX_SHARD) -> None:
    """Write a transformer folder that diffusers' ZImageTransformer2DModel opens.

    Raises ModelError for a model whose padding the released code does not know.
    """
    from huggingface_hub import save_torch_state_dict

    _check_padding(model.config)
    folder.mkdir(parents=True, exist_ok=True)
    fields = {name: value for name, value in to_dict(model.config).items() if name not in OWN_FIELDS}
    write_json(folder / "config.json", {"_class_name": "ZImageTransformer2DModel", **fields})
    weights = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    save_torch_state_dict(weights, folder, filename_pattern=WEIGHTS, max_shard_size=max_shard)


def export_pipeline(checkpoint: Path, out: Path, *, ema: bool = True, max_shard: str = MAX_SHARD) -> Path:
    """Write the pipeline of a checkpoint that was trained with `flux:<folder>` and `qwen3:<folder>`; return `out`.

    The folder appears whole or not at all. Raises ModelError if `out` exists, or for other encoders or padding.
    """
    if out.exists():
        raise ModelError(f"{out} exists; give a folder that is still to be made")
    config = read_config(checkpoint)
    kind, vae = parse_autoencoder(config.autoencoder)
    encoder, _, text = config.text.partition(":")
    if kind != "flux" or encoder != "qwen3":
        raise ModelError(
            f"{checkpoint} was trained with autoencoder {config.autoencoder} and text {config.text}; a pipeline of diffusers "
            "needs flux:<folder> and qwen3:<folder>. The transformer alone can be exported"
        )
    _check_padding(config.model)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_released(load_model(checkpoint, ema=ema), partial / "transformer", max_shard=max_shard)
    shutil.copytree(vae, partial / "vae")
    _copy_text_encoder(Path(text), partial)
    (partial / "scheduler").mkdir()
    write_json(partial / "scheduler" / "scheduler_config.json", _scheduler(config.shift, config.dynamic_shift))
    write_json(partial / INDEX, _index(partial / "text_encoder", partial / "tokenizer"))
    partial.rename(out)
    return out


def _copy_text_encoder(folder: Path, out: Path) -> None:
    """Copy a Qwen3 folder: its model to text_encoder/, everything else, the tokenizer, to tokenizer/."""
    for name in ("text_encoder", "tokenizer"):
        (out / name).mkdir()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        model = path.name in ("config.json", "generation_config.json") or ".safetensors" in path.name
        shutil.copy2(path, out / ("text_encoder" if model else "tokenizer") / path.name)


def _scheduler(shift: float, dynamic: bool) -> dict[str, object]:
    return {
        "_class_name": SCHEDULER,
        "num_train_timesteps": 1000,
        "shift": shift,
        "use_dynamic_shifting": dynamic,
    }


def _index(text_encoder: Path, tokenizer: Path) -> dict[str, object]:
    architectures = json.loads((text_encoder / "config.json").read_text()).get("architectures") or ["Qwen3Model"]
    reader = json.loads((tokenizer / "tokenizer_config.json").read_text()).get("tokenizer_class") or "PreTrainedTokenizerFast"
    return {
        "_class_name": "ZImagePipeline",
        "scheduler": ["diffusers", SCHEDULER],
        "text_encoder": ["transformers", architectures[0]],
        "tokenizer": ["transformers", reader],
        "transformer": ["diffusers", "ZImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _check_padding(config: DiTConfig) -> None:
    if config.pad_to != Z_IMAGE.pad_to:
        raise ModelError(
            f"the model pads tokens to multiples of {config.pad_to}, the released code to {Z_IMAGE.pad_to}: "
            f"train with `pad_to: {Z_IMAGE.pad_to}` to export"
        )
