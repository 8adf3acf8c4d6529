"""Encoders with two towers, image and text in one space: open_clip models and transformers folders (CLIP, CN-CLIP, SigLIP).

open_clip:<model>/<weights file>   a built-in architecture of open_clip with a local checkpoint
open_clip:<model>/<tag>            a published checkpoint that already lies in the Hugging Face cache of this machine
open_clip:<folder>                 a folder with open_clip_config.json and the weights
transformers:<folder>              a folder as save_pretrained writes it, with its image processor; text needs its tokenizer
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.encoders import Floats, Pixels, to_numpy
from curation.errors import ModelError

if TYPE_CHECKING:
    import torch

_CACHED_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


class OpenClipEncoder:
    """Both towers of an open_clip model, with the preprocessing and tokenizer that belong to it.

    Ilharco et al., https://doi.org/10.5281/zenodo.5143773
    """

    def __init__(self, where: str, *, device: str = "cpu") -> None:
        import open_clip

        name, weights, settings = _open_clip_source(where)
        try:
            # pretrained_image=False and weights_only=True: nothing is fetched and no pickle is executed
            self._model, _, self._transform = open_clip.create_model_and_transforms(name, weights, device=device, **settings)
            self._tokenizer = open_clip.get_tokenizer(name)
        except (RuntimeError, ValueError, OSError, KeyError) as error:
            raise ModelError(f"open_clip:{where} cannot be loaded: {str(error)[:400]}") from error
        self._model.eval()
        self._device = device
        size = self._model.visual.preprocess_cfg["size"]
        self.side_px = max(size) if isinstance(size, tuple | list) else int(size)
        self.dimension = self.encode_images(self.prepare(np.zeros((32, 32, 3), np.uint8))[None]).shape[1]
        self.text_dimension: int | None = self.encode_texts(["a"]).shape[1]

    def prepare(self, pixels: Pixels) -> Floats:
        """Return the picture as the model's own transform makes it, channels first."""
        return to_numpy(self._transform(Image.fromarray(pixels)))

    def encode_images(self, batch: NDArray[np.generic]) -> Floats:
        """Return the projected image vectors (n, dimension)."""
        import torch

        with torch.inference_mode():
            return to_numpy(self._model.encode_image(torch.from_numpy(batch).to(self._device)))

    def encode_texts(self, texts: list[str]) -> Floats:
        """Return the projected text vectors (n, text_dimension); texts are cut at the model's context length."""
        import torch

        with torch.inference_mode():
            return to_numpy(self._model.encode_text(self._tokenizer(texts).to(self._device)))


class TransformersEncoder:
    """A vision model, or both towers of a CLIP-like one, from a local folder through AutoModel.

    The image vector is the projected one for CLIP-like models, else the class token, else the mean over tokens or space.
    """

    def __init__(self, where: str, *, device: str = "cpu") -> None:
        folder = Path(where).expanduser()
        absent = [name for name in ("config.json", "preprocessor_config.json") if not (folder / name).is_file()]
        if absent:
            raise ModelError(
                f"transformers:{where}: {folder} has no {absent[0]}. imageloom downloads nothing: save the model and its image "
                "processor there once with save_pretrained, and give that folder instead of a hub name"
            )
        from transformers import AutoImageProcessor, AutoModel

        try:
            self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            model, report = AutoModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"transformers:{where} cannot be loaded: {str(error)[:400]}") from error
        missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)  # an unused pooler may be absent
        if missing:
            raise ModelError(f"transformers:{where}: the weights lack {missing[:3]}")
        self._model = model.eval().to(device)
        self._device = device
        self._two_towers = hasattr(model, "get_image_features")
        self._has_class_token = any(name.endswith(("cls_token", "class_embedding")) for name, _ in model.named_parameters())
        self._tokenizer = self._load_tokenizer(folder) if self._two_towers else None
        blank = self.prepare(np.zeros((32, 32, 3), np.uint8))
        self.side_px = int(blank.shape[-1])
        self.dimension = self.encode_images(blank[None]).shape[1]
        self.text_dimension: int | None = self.encode_texts(["a"]).shape[1] if self._tokenizer else None

    def prepare(self, pixels: Pixels) -> Floats:
        """Return the picture as the folder's image processor makes it, channels first."""
        made = self._processor(images=[Image.fromarray(pixels)], return_tensors="pt")["pixel_values"][0]
        return to_numpy(made)

    def encode_images(self, batch: NDArray[np.generic]) -> Floats:
        """Return the image vectors (n, dimension)."""
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self._device)
            if self._two_towers:
                return to_numpy(_projected(self._model.get_image_features(pixel_values=pixels)))
            hidden = self._model(pixel_values=pixels).last_hidden_state
            if hidden.ndim == 4:  # a feature map
                return to_numpy(hidden.mean(dim=(2, 3)))
            return to_numpy(hidden[:, 0] if self._has_class_token else hidden.mean(dim=1))

    def encode_texts(self, texts: list[str]) -> Floats:
        """Return the projected text vectors (n, text_dimension); ModelError without a text tower."""
        import torch

        if self._tokenizer is None:
            raise ModelError("this transformers folder has no text tower or no tokenizer")
        with torch.inference_mode():
            tokens = self._tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self._device)
            wanted = {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}
            return to_numpy(_projected(self._model.get_text_features(**wanted)))

    @staticmethod
    def _load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase | None":
        from transformers import AutoTokenizer

        has_one = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"))
        return AutoTokenizer.from_pretrained(folder, local_files_only=True) if has_one else None


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def _projected(output: object) -> "torch.Tensor":
    """Return the projected vector: transformers 5 wraps it in an output whose pooler_output it is, 4 returned it bare."""
    return cast("torch.Tensor", getattr(output, "pooler_output", output))


def _open_clip_source(where: str) -> tuple[str, str | None, dict[str, object]]:
    """Return open_clip's model name, weights argument and further settings for what the user wrote."""
    import open_clip

    folder = Path(where).expanduser()
    if (folder / "open_clip_config.json").is_file():
        if not any(folder.glob(f"*{suffix}") for suffix in (".safetensors", ".bin", ".pth")):
            raise ModelError(f"open_clip:{where} holds a configuration but no weights (.safetensors, .bin or .pth)")
        return f"local-dir:{folder}", None, {}
    name, _, weights = where.partition("/")
    if name not in open_clip.list_models():
        raise ModelError(f"open_clip:{where}: neither a folder with open_clip_config.json nor one of open_clip.list_models()")
    offline: dict[str, object] = {"pretrained_image": False, "pretrained_text": False}
    if Path(weights).expanduser().is_file():
        return name, str(Path(weights).expanduser()), offline
    tag = open_clip.get_pretrained_cfg(name, weights)
    if not tag:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(name))
        raise ModelError(f"open_clip:{where}: {weights!r} is neither a file nor a tag of {name} ({known})")
    settings = {
        "force_quick_gelu": bool(tag.get("quick_gelu")),
        "image_mean": tag.get("mean"),
        "image_std": tag.get("std"),
        "image_interpolation": tag.get("interpolation"),
        "image_resize_mode": tag.get("resize_mode"),
    }
    return name, _cached(where, tag), settings | offline


def _cached(where: str, tag: dict[str, str]) -> str:
    """Return the cached file of a published checkpoint; raises ModelError when it is not on this machine."""
    from huggingface_hub import try_to_load_from_cache

    repository, name = os.path.split(tag.get("hf_hub", ""))
    for candidate in (name,) if name else _CACHED_NAMES:
        found = try_to_load_from_cache(repository, candidate) if repository else None
        if isinstance(found, str):
            return found
    raise ModelError(
        f"open_clip:{where} is not on this machine, and imageloom downloads nothing. Fetch {tag.get('hf_hub') or tag.get('url')} "
        f"once (huggingface-cli download), or give a file: open_clip:{where.partition('/')[0]}/path/to/weights.safetensors"
    )
