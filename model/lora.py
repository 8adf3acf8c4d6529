"""Low-rank adapters of an S3-DiT: added for training (by peft), written and read as diffusers does, merged into the weights.

    W' = W + alpha / rank * B A        A (rank, in), B (out, rank); B starts at 0 (Hu et al. 2021, arXiv 2106.09685, eq. 3)

A portable file holds `transformer.<layer>.lora_A.weight` and `.lora_B.weight`, with alpha / rank multiplied into B: alpha is then
the rank, which every reader takes when it is told nothing else. q, k, v and w1, w3 stay apart, under diffusers' names.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from curation.errors import ConfigError, ModelError
from model.config import LoraConfig
from model.dit import DiT

ADAPTER = "default"
"""The name that peft gives adapters; part of the keys of a training's checkpoint, of no portable file."""
PREFIXES = ("transformer.", "diffusion_model.")
"""What diffusers, or ComfyUI and ai-toolkit, put before the name of a layer."""
METADATA = "lora_adapter_metadata"
"""Where diffusers keeps rank and alpha in a safetensors header."""


def add_adapters(model: DiT, settings: LoraConfig, *, seed: int = 0) -> None:
    """Give every target layer of `model` an adapter that changes nothing yet, in place; only adapters require gradients after it.

    A is drawn from `seed` layer by layer; on the meta device nothing is. Raises ConfigError for a target that no layer's name
    ends with.
    """
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for target in settings.targets:
        if not any(name == target or name.endswith(f".{target}") for name in linear):
            raise ConfigError(f"lora.targets: no layer is called {target!r}; layers end with {', '.join(_endings(linear))}")
    wanted = PeftConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=list(settings.targets))  # type: ignore[arg-type]
    inject_adapter_in_model(wanted, model, adapter_name=ADAPTER)
    adapters = {name: parameter for name, parameter in model.named_parameters() if ".lora_" in name}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in adapters)
    if any(parameter.is_meta for parameter in adapters.values()):
        return
    with torch.no_grad():
        for name, value in drawn_adapters(((name, tuple(p.shape)) for name, p in adapters.items()), seed=seed):
            adapters[name].copy_(value)


def drawn_adapters(shapes: Iterable[tuple[str, tuple[int, ...]]], *, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield fresh adapters: A as a linear layer's weights are, B 0; drawn on the CPU, as all devices start from one set."""
    generator = torch.Generator().manual_seed(seed)
    for name, shape in shapes:
        value = torch.zeros(shape, device="cpu")
        if ".lora_A." in name:
            bound = 1 / math.sqrt(shape[1])
            value.uniform_(-bound, bound, generator=generator)
        yield name, value


def portable(trained: Mapping[str, Tensor], settings: LoraConfig) -> dict[str, Tensor]:
    """Return adapters under portable keys without prefix, from the parameters that a training with `settings` changed."""
    scale = settings.alpha / settings.rank
    found = {name.replace(f".{ADAPTER}.", "."): tensor.detach().float().cpu() for name, tensor in trained.items()}
    return {name: tensor * scale if ".lora_B." in name else tensor for name, tensor in sorted(found.items())}


@torch.no_grad()
def load_adapters(model: DiT, adapters: Mapping[str, Tensor], settings: LoraConfig) -> None:
    """Put portable adapters into a model that `add_adapters` prepared, to train them further.

    Raises ModelError if they are not those of `settings`: the same layers, the same rank.
    """
    scale = settings.rank / settings.alpha
    own = {name.replace(f".{ADAPTER}.", "."): parameter for name, parameter in model.named_parameters() if ".lora_" in name}
    wrong = sorted(set(own) ^ set(adapters)) or [name for name in own if own[name].shape != adapters[name].shape]
    if wrong:
        raise ModelError(f"the adapters do not fit lora.targets and lora.rank = {settings.rank}, first at {wrong[0]}")
    for name, parameter in own.items():
        parameter.copy_(adapters[name] * scale if ".lora_B." in name else adapters[name])


def save_lora(adapters: Mapping[str, Tensor], path: Path) -> None:
    """Write portable adapters as a file for `diffusers.ZImagePipeline.load_lora_weights` and `load_lora`."""
    ranks = {len(tensor) for name, tensor in adapters.items() if ".lora_A." in name}
    targets = sorted({name.partition(".lora_")[0] for name in adapters})
    rank = max(ranks)
    described = {"transformer.r": rank, "transformer.lora_alpha": rank, "transformer.target_modules": targets}
    metadata = {"format": "pt"} | ({METADATA: json.dumps(described, sort_keys=True)} if len(ranks) == 1 else {})
    tensors = {f"transformer.{name}": tensor.contiguous() for name, tensor in adapters.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)


def load_lora(path: Path) -> dict[str, Tensor]:
    """Return the portable adapters of a file, alpha multiplied into B, whether diffusers, peft, kohya or ai-toolkit named them.

    Raises ModelError for a file that is none, an adapter without its other half, or a kind of adapter that is not low-rank.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            described = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is no safetensors file of adapters: {error}") from error
    named = {_plain(key): tensor.float() for key, tensor in tensors.items()}
    adapters, alphas = dict[str, Tensor](), dict[str, float]()
    for name, tensor in named.items():
        layer, _, part = name.rpartition(".lora_")
        if name.endswith(".alpha"):
            alphas[name.removesuffix(".alpha")] = float(tensor)
        elif part in ("A.weight", "B.weight") and layer:
            adapters[name] = tensor
        else:
            raise ModelError(f"{path}: {name} belongs to no low-rank adapter; keys end with lora_A.weight and lora_B.weight")
    return _scaled(adapters, alphas, described, path)


def _plain(key: str) -> str:
    """Return a key without prefix and with peft's names of the two halves."""
    name = next((key.removeprefix(prefix) for prefix in PREFIXES if key.startswith(prefix)), key)
    for theirs, ours in ((f".{ADAPTER}.", "."), (".lora_down.", ".lora_A."), (".lora_up.", ".lora_B.")):
        name = name.replace(theirs, ours)
    return name


def _scaled(
    adapters: dict[str, Tensor], alphas: Mapping[str, float], described: Mapping[str, object], path: Path
) -> dict[str, Tensor]:
    common = described.get("transformer.lora_alpha")
    for layer in {name.partition(".lora_")[0] for name in adapters}:
        a, b = (adapters.get(f"{layer}.lora_{half}.weight") for half in "AB")
        if a is None or b is None or len(a) != b.shape[1]:
            raise ModelError(f"{path}: {layer} needs lora_A (rank, in) and lora_B (out, rank)")
        alpha = alphas.get(layer, float(common) if isinstance(common, int | float) else float(len(a)))
        adapters[f"{layer}.lora_B.weight"] = b * (alpha / len(a))
    return adapters


@torch.no_grad()
def merge(model: DiT, adapters: Mapping[str, Tensor], *, strength: float = 1.0) -> DiT:
    """Add portable adapters, times `strength`, to the weights of a model without adapters, in place, and return it.

    Goes by the keys of the state dict, which fused layers keep too. The sum is formed in float32, whatever the weights are.
    Raises ModelError for a layer that the model lacks or of another size.
    """
    state = model.state_dict()
    for layer in check_layers(adapters, {name: tuple(tensor.shape) for name, tensor in state.items()}):
        a, b = (adapters[f"{layer}.lora_{half}.weight"] for half in "AB")
        state[f"{layer}.weight"] = adapted_weight(state[f"{layer}.weight"], a, b, strength=strength)
    model.load_state_dict(state)
    return model


def adapted_weight(weight: Tensor, a: Tensor, b: Tensor, *, strength: float = 1.0) -> Tensor:
    """Return weight + strength * B A (eq. 3), formed in float32, in the dtype and on the device of `weight`."""
    return (weight.float() + strength * (b.to(weight.device) @ a.to(weight.device))).to(weight.dtype)


def check_layers(adapters: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the layers that portable adapters change; raises ModelError for one that `shapes` lacks or has of another size."""
    layers = sorted({name.partition(".lora_")[0] for name in adapters})
    for layer in layers:
        a, b = (adapters[f"{layer}.lora_{half}.weight"] for half in "AB")
        size = shapes.get(f"{layer}.weight")
        if size != (len(b), a.shape[1]):
            raise ModelError(f"the adapter of {layer} is for a weight of {(len(b), a.shape[1])}; the model has {size}")
    return layers


def _endings(linear: list[str]) -> list[str]:
    """Return how names of layers end, numbers of blocks left out."""
    return sorted({name.rsplit(".", 2 if name.rsplit(".", 1)[-1].isdigit() else 1)[-1] for name in linear if "." in name})
