"""The SigLIP 2 vision tower of the omni variant: what a reference image shows, as a grid of features.

From a local folder, with its image processor, which keeps aspect and may enlarge: features come from the whole picture, while the
VAE sees it floored to the token grid.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from curation.errors import ModelError
from model.feature_cache import weights_fingerprint
from model.folder import check_complete, check_finite, loading


class SigLIP:
    """A frozen SigLIP 2 vision model; `width` is that of its features, `id` a cache key."""

    def __init__(self, folder: Path | str, *, processor: Path | str | None = None, device: str = "cpu") -> None:
        if not (Path(folder) / "config.json").is_file():
            raise ModelError(f"{folder} has no config.json; give the folder of a SigLIP 2 vision model")
        from transformers import Siglip2ImageProcessor, Siglip2VisionModel

        with loading(processor or folder):
            self.processor = Siglip2ImageProcessor.from_pretrained(processor or folder, local_files_only=True)
        with loading(folder):
            model, found = Siglip2VisionModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        check_complete(found["missing_keys"], folder)
        check_finite(model.named_parameters(), folder)
        self.model = model.eval().requires_grad_(False).to(device)
        self.width = int(self.model.config.hidden_size)
        self.id = f"siglip:{weights_fingerprint(Path(folder))}:{self.model.device.type}"

    @torch.no_grad()
    def encode(self, pixels: np.ndarray) -> Tensor:
        """Return the last hidden states of an image, uint8 (H, W, 3), as float32 (rows, columns, width)."""
        inputs = self.processor(images=[Image.fromarray(pixels)], return_tensors="pt").to(self.model.device)
        rows, columns = (int(side) for side in inputs.spatial_shapes[0])
        states: Tensor = self.model(**inputs).last_hidden_state
        return states[0, : rows * columns].float().view(rows, columns, -1)
