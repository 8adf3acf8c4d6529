"""Pixels to unit vectors: one part of IMAGES in, the same rows of EMBEDDINGS out.

Decoding and resizing run in a background thread, ahead of the model, so neither waits for the other. Vectors are kept as float16
of unit length beside their former length, so that a cosine is a dot product and the model's own head can still be applied.
"""

import logging
import os
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.encoders import Encoder, Floats, load_encoder
from curation.pixels import read_pixels
from curation.prefetch import batches, prefetch
from curation.schema import conform, embeddings_schema, vector_type

log = logging.getLogger(__name__)

BATCH_SIZE_CPU = 4
"""On a CPU the feature maps of few pictures stay in its cache: 4 took 23 ms each where 32 took 62."""
BATCH_SIZE_GPU = 64


class Embedder:
    """Maps IMAGES to EMBEDDINGS with one model, loaded once.

    model: see curation/encoders.py. batch_size: pictures for one pass of the model; None: 4 on a CPU, 64 on a GPU.
    device: auto, cpu, cuda or cuda:N. Raises ConfigError or ModelError when the model cannot be had.
    """

    def __init__(self, *, model: str = "efficientnet-lite0", batch_size: int | None = None, device: str = "auto") -> None:
        import torch

        if threads := os.environ.get("OMP_NUM_THREADS"):
            torch.set_num_threads(int(threads))  # torch already read it, but an earlier import may have changed it
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
            log.info("embedding on %s", device)
        self._batch_size = batch_size or (BATCH_SIZE_CPU if device == "cpu" else BATCH_SIZE_GPU)
        self._encoder: Encoder = load_encoder(model, device=device)
        self.dimension = self._encoder.dimension
        self.text_dimension = self._encoder.text_dimension

    def __call__(self, *, images: pa.Table) -> pa.Table:
        """Return EMBEDDINGS, one row per row of `images`; a picture that fails has nulls and its `error`."""
        errors = images["error"].to_pylist()
        vectors = np.full((len(images), self.dimension), np.nan, np.float32)
        ahead = prefetch(self._prepared(images, errors), depth=4 * self._batch_size)
        for batch in batches(ahead, size=self._batch_size):
            rows, pictures = zip(*batch, strict=True)
            vectors[list(rows)] = self._encoder.encode_images(np.stack(pictures))
        columns = {"id": images["id"], **_unit_columns("embedding", vectors, errors)}
        if self.text_dimension is not None:
            columns |= {"text_embedding": self._texts(images["caption"].to_pylist(), self.text_dimension)}
        columns["error"] = pa.array(errors, pa.string())
        return conform(pa.table(columns), embeddings_schema(self.dimension, self.text_dimension))

    def vectors(self, pictures: Iterable[NDArray[np.uint8]]) -> Floats:
        """Return float32 (n, dimension) for decoded pictures, unit vectors rounded as EMBEDDINGS stores them; NaN for a zero."""
        found = [
            unit_vectors(self._encoder.encode_images(np.stack([self._encoder.prepare(pixels) for pixels in batch])))[0]
            for batch in batches(pictures, size=self._batch_size)
        ]
        return np.concatenate(found or [np.empty((0, self.dimension), np.float16)]).astype(np.float32)

    def _prepared(self, images: pa.Table, errors: list[str | None]) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """Yield row and model input of every picture that can be had; write into `errors` why another cannot."""
        for row, image in enumerate(read_pixels(images, max_side_px=2 * self._encoder.side_px)):
            if image is None:
                errors[row] = errors[row] or "cannot be decoded"
                continue
            try:
                yield row, self._encoder.prepare(image.pixels)
            except Exception as failure:  # one bad image must not lose the part
                errors[row] = f"{type(failure).__name__}: {failure}"[:200]

    def _texts(self, captions: list[str | None], dimension: int) -> pa.Array:
        vectors = np.full((len(captions), dimension), np.nan, np.float32)
        written = [(row, text) for row, text in enumerate(captions) if text]
        for batch in batches(written, size=self._batch_size):
            rows, texts = zip(*batch, strict=True)
            vectors[list(rows)] = self._encoder.encode_texts(list(texts))
        return _unit_columns("text", vectors, [None] * len(captions))["text"]


def unit_vectors(vectors: Floats) -> tuple[NDArray[np.float16], Floats]:
    """Return the rows scaled to length 1 as float16, and their former lengths; a zero or non-finite row becomes NaN."""
    norms = np.linalg.norm(vectors, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (vectors / norms[:, None]).astype(np.float16), norms.astype(np.float32)


def _unit_columns(name: str, vectors: Floats, errors: list[str | None]) -> dict[str, pa.Array]:
    """Return the vector column and `norm`; null, with an error, where no unit vector exists."""
    units, norms = unit_vectors(vectors)
    absent = np.asarray(~np.isfinite(units).all(axis=1), bool)
    for row in np.flatnonzero(absent):
        errors[row] = errors[row] or "the model's vector is zero or not finite"
    values = pa.array(np.where(absent[:, None], np.float16(0), units).ravel())
    kind = vector_type(vectors.shape[1])
    column = pa.FixedSizeListArray.from_arrays(values, type=kind, mask=pa.array(absent))
    return {name: column, "norm": pa.array(norms, pa.float32(), mask=absent)}
