"""Labels for free: the embedder's own ImageNet head, applied to the vectors it already made; no picture is decoded again.

A softmax over 1000 labels is sure of itself on pictures that show none of them, so a label is only written above a cut. And
because it divides its belief among near synonyms (moped, motor scooter), the sums over data/imagenet_groups.json (motorcycle)
are labels too: coarser, and more often right.
"""

import json
from functools import cache
from importlib.resources import files

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.encoders import lite0_weights
from curation.errors import ConfigError
from curation.schema import TAGS, conform

Floats = NDArray[np.float32]

MIN_SCORE = 0.7
"""Measured on 95 pictures from scikit-image, scikit-learn and matplotlib, handwritten digits, rendered shapes and posters among
them: the 7 labels above are right, and wrong ones reach .64 (a 25 px face as cleaver) and .63 (a horse as dog). No more than that
is known, so tag a sample of your own before lowering it."""
MODELS_WITH_HEAD = ("efficientnet-lite0",)


class Tagger:
    """Maps EMBEDDINGS to TAGS.

    model: the embedder that made the vectors; one without an ImageNet head gives no tags. min_score: least probability of a
    label. max_tags: most labels of one picture.
    """

    def __init__(self, *, model: str = "efficientnet-lite0", min_score: float = MIN_SCORE, max_tags: int = 5) -> None:
        if not 0 < min_score <= 1 or max_tags < 1:
            raise ConfigError(f"tagger: min_score {min_score} must be in (0, 1] and max_tags {max_tags} at least 1")
        self._min_score, self._max_tags = min_score, max_tags
        self._source = f"imagenet:{model}"
        self._head = _lite0_head() if model in MODELS_WITH_HEAD else None

    def __call__(self, *, embeddings: pa.Table) -> pa.Table:
        """Return TAGS, one row per row of `embeddings`; a failed row keeps its error and has null tags.

        Raises ConfigError when the vectors cannot be from the head's model.
        """
        present = embeddings["embedding"].is_valid().to_numpy()
        tags: list[list[dict[str, str | float]] | None] = [[] if here else None for here in present]
        if self._head is not None and present.any():
            rows = np.flatnonzero(present)
            for row, shares in zip(rows, self._probabilities(embeddings.filter(present)), strict=True):
                tags[row] = self._above(shares)
        columns = {"id": embeddings["id"], "tags": pa.array(tags, TAGS.field("tags").type), "error": embeddings["error"]}
        return conform(pa.table(columns), TAGS)

    def _probabilities(self, embeddings: pa.Table) -> Floats:
        """Return the softmax (n, labels and groups) of rows that have vectors."""
        assert self._head is not None
        weight, bias = self._head
        units = dense(embeddings["embedding"])
        if units.shape[1] != weight.shape[1]:
            raise ConfigError(
                f"tagger: {self._source} takes vectors of {weight.shape[1]}, but these have {units.shape[1]}; "
                "name the model that made them"
            )
        norms = embeddings["norm"].to_numpy().astype(np.float32)
        logits = (units * norms[:, None]) @ weight.T + bias
        shares: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return np.asarray(np.concatenate([shares, shares @ label_groups()[1].T], axis=1), np.float32)

    def _above(self, shares: Floats) -> list[dict[str, str | float]]:
        names = labels() + label_groups()[0]
        found = [(-float(shares[k]), names[k]) for k in np.flatnonzero(shares >= self._min_score)]
        return [{"label": name, "score": -score, "source": self._source} for score, name in sorted(found)[: self._max_tags]]


def dense(column: pa.ChunkedArray) -> Floats:
    """Return a fixed-size list column without nulls as a float32 array (rows, dimension)."""
    chunks = [chunk.flatten().to_numpy(zero_copy_only=True).reshape(len(chunk), -1) for chunk in column.chunks if len(chunk)]
    return np.concatenate(chunks).astype(np.float32) if chunks else np.empty((0, column.type.list_size), np.float32)


@cache
def labels() -> tuple[str, ...]:
    """Return the 1000 ImageNet labels in the order of the head's outputs, as torchvision names them."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_IMAGENET_CATEGORIES)


@cache
def label_groups() -> tuple[tuple[str, ...], Floats]:
    """Return the names of the groups, and which labels belong to each: (groups, 1000) of 0 and 1."""
    members: dict[str, list[str]] = json.loads(files("curation").joinpath("data/imagenet_groups.json").read_text("ascii"))
    column = {label: number for number, label in enumerate(labels())}
    table = np.zeros((len(members), len(column)), np.float32)
    for row, names in enumerate(members.values()):
        table[row, [column[name] for name in names]] = 1
    return tuple(members), table


def _lite0_head() -> tuple[Floats, Floats]:
    weight, bias = list(lite0_weights().values())[-2:]
    return weight.numpy(), bias.numpy()
