"""A second look at the candidates of a name by meaning: the text around it, or the picture, against what each candidate is.

Candidates are compared by their titles with their descriptions, as vectors of one encoder: MiniLM's for text, the text tower of a
CLIP-like model for the picture. The cosine comes on top of the evidence that ranked them (captioning/linking_model.py), with one
weight; the decision whether the best one is right is then taken anew. Names with one candidate stay as they are.

The weights are chosen and not fitted: with that for text a lead of .35 in cosine doubles the odds. On a sample of Wikipedia where
most candidates are titles without a description, maximum likelihood gives it next to no weight (docs/decisions.md, 43), so it
is off by default. For pictures neither linked names nor a trained model with two towers are at hand; CLIP's own scale of 100
holds for pictures against their captions and is far too sure of itself for a name beside one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captioning.disambiguation import Floats
from captioning.linking import Linked
from captioning.linking_model import ACCEPT, accept_evidence, probability, shares
from captioning.outside import cleaned
from captioning.surface import Integers
from curation.encoders import load_encoder
from curation.errors import ConfigError
from curation.sentences import SentenceEncoder

WEIGHTS = {"text": 2.0, "image": 10.0}
"""Log odds per unit of cosine."""
CONTEXT_CHARACTERS, OTHER_CHARACTERS = 150, 200
"""Of a name's own text on either side, and of the other texts of its sample."""
Told = Sequence[dict[str, str | None]]
Encode = Callable[[list[str]], NDArray[np.floating[Any]]]
_SIZE = list(ACCEPT).index("log_size")


class SecondLook:
    """Holds the encoder that candidates are compared by; gives linked names back in their new order.

    by: text (MiniLM) or image (the text tower of `embedder`, as curation/encoders.py names encoders).
    Raises ConfigError when that encoder has no text tower, ModelError when it cannot be had.
    """

    def __init__(self, by: str, embedder: str = "") -> None:
        self._by = by
        self._encode: Encode
        if by == "text":
            self._encode = SentenceEncoder(max_tokens=96).encode
            return
        encoder = load_encoder(embedder, device="cpu")
        if encoder.text_dimension is None:
            raise ConfigError(
                f"link.rerank image compares names with pictures, but embed.model {embedder} has no text tower; take an "
                "open_clip: or transformers: model with two, or link.rerank text"
            )
        self._encode = encoder.encode_texts

    def __call__(
        self,
        linked: Linked,
        texts: Sequence[str],
        sample: Integers,
        told: Told,
        *,
        pictures: pa.ChunkedArray | None = None,
    ) -> Linked:
        """Return `linked` after the second look; pictures: a vector per sample, null where there is none."""
        if self._by == "text":
            similarity = text_similarity(linked, texts, sample, told, self._encode)
        elif pictures is None:
            return linked
        else:
            rows = [np.full(pictures.type.list_size, np.nan) if one is None else one for one in pictures.to_pylist()]
            similarity = image_similarity(linked, sample, told, np.array(rows, np.float64), self._encode)
        return reranked(linked, similarity, weight=WEIGHTS[self._by])


def text_similarity(linked: Linked, texts: Sequence[str], sample: Integers, told: Told, encode: Encode) -> Floats:
    """Return the cosine between each candidate's description and the text around its name; 0 where there is but one candidate.

    sample: of each text, the sample it belongs to. told: title and description of every row of `linked.rows`. encode: texts to
    unit vectors.
    """
    rows = compared(linked)
    names = linked.rows.span[rows]
    asked, place = np.unique(names, return_inverse=True)
    around = encode([_context(linked, int(name), texts, sample) for name in asked])
    return _cosines(linked, rows, np.asarray(around, np.float64)[place], told, encode)


def image_similarity(linked: Linked, sample: Integers, told: Told, images: NDArray[np.floating[Any]], encode: Encode) -> Floats:
    """Return the cosine between each candidate's description and its picture; 0 for one candidate, or without a vector.

    images: (samples, d) unit vectors, NaN where a picture has none. encode: texts to vectors of the same space.
    """
    rows = compared(linked)
    pictures = np.asarray(images, np.float64)[sample[linked.text[linked.rows.span[rows]]]]
    return np.nan_to_num(_cosines(linked, rows, pictures, told, encode))


def reranked(linked: Linked, similarity: Floats, *, weight: float) -> Linked:
    """Return the same names with shares, best candidates and scores after the similarity has been weighed in."""
    share, best = shares(linked.rows, np.log(linked.share + 1e-12) + weight * similarity)
    evidence = accept_evidence(linked.rows, linked.context, share, best, np.ones(len(best), np.int64))
    evidence[:, _SIZE] = linked.evidence[:, _SIZE]  # of the name, whoever is best
    return linked._replace(share=share, best=best, evidence=evidence, score=probability(evidence))


def compared(linked: Linked) -> Integers:
    """Return the rows of names that have several candidates."""
    return np.flatnonzero(np.bincount(linked.rows.span)[linked.rows.span] > 1)


def described(entity: dict[str, str | None]) -> str:
    """Return an entity as a text to be compared: its title, and what it is where that is known."""
    about = f": {entity['description']}" if entity.get("description") else ""
    return cleaned(f"{entity['title']}{about}", 300)


def _cosines(linked: Linked, rows: Integers, against: Floats, told: Told, encode: Encode) -> Floats:
    similarity = np.zeros(len(linked.rows.span))
    if len(rows):
        vectors = np.asarray(encode([described(told[row]) for row in rows]), np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        similarity[rows] = (vectors * against).sum(axis=1)
    return similarity


def _context(linked: Linked, name: int, texts: Sequence[str], sample: Integers) -> str:
    own, start, end = int(linked.text[name]), int(linked.start[name]), int(linked.end[name])
    text = texts[own]
    near = text[max(0, start - CONTEXT_CHARACTERS) : end + CONTEXT_CHARACTERS]
    others = " ".join(texts[other] for other in np.flatnonzero(sample == sample[own]).tolist() if other != own)
    return cleaned(f"{near} {others[:OTHER_CHARACTERS]}", 3 * CONTEXT_CHARACTERS + OTHER_CHARACTERS)
