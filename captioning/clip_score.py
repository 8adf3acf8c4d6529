"""CLIPScore: how well captions go with their picture, by an encoder with two towers (curation/towers.py).

2.5 * max(cosine, 0), as Hessel et al. define it, https://arxiv.org/abs/2104.08718; the cosines of CLIP lie near .3, so good
captions lie near .75. It is a flag and no verdict: encoders cut long texts, and know little of text in pictures.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.encoders import load_encoder
from curation.errors import ConfigError

SCALE = 2.5


class ClipScorer:
    """Both towers of one encoder."""

    def __init__(self, model: str, *, device: str = "cpu") -> None:
        """Load an encoder that curation/encoders.py names; raises ConfigError when it has no text tower."""
        self._encoder = load_encoder(model, device=device)
        if self._encoder.text_dimension is None or self._encoder.text_dimension != self._encoder.dimension:
            raise ConfigError(f"caption.clip {model!r} has no text tower in the space of its images; name a CLIP-like model")

    def scores(self, pixels: NDArray[np.uint8], texts: Sequence[str]) -> list[float]:
        """Return the CLIPScore of every text with one picture, uint8 (H, W, 3)."""
        if not texts:
            return []
        image = _unit(self._encoder.encode_images(self._encoder.prepare(pixels)[None]))
        cosines = _unit(self._encoder.encode_texts(list(texts))) @ image[0]
        return [float(SCALE * max(cosine, 0.0)) for cosine in cosines]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    wide = np.asarray(vectors, np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12), np.float32)
