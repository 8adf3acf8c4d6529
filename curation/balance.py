"""Weights of the kept images for training, and the draw that fits them into a budget: SELECTION and concepts -> BALANCE.

Modes. `concepts`: every concept nears the number of images that water-filling down the taxonomy gives it, by iterative
proportional scaling; of an image's concepts, the one that says most of it (BM25) pulls most. `metaclip`: any rare concept keeps
an image. `communities`: n^-alpha of the image's group by any column. `none`: all alike. Languages are raked to their shares in
every mode. With a budget, images are first drawn by the weights that balance what is drawn; then what was drawn is weighed
again, as what is left to correct is another matter. Images are looked at in the order of their ids, so their order in the tables
plays no part.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from curation.any_of import metaclip
from curation.bm25 import bm25, concept_images
from curation.draw import draw, keys
from curation.errors import ConfigError
from curation.languages import rake
from curation.scaling import Rake, clipped, scale
from curation.schema import BALANCE, conform
from curation.targets import concept_targets

log = logging.getLogger(__name__)

Mode = Literal["concepts", "metaclip", "communities", "none"]
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

FAR = 1e-6
"""Least weight of a draw, in means: small enough to bound nothing, and no image is impossible."""

REASON = "budget"
"""Why an image that the selection kept is not in the shards."""


@dataclass(frozen=True)
class Weighing:
    """What weights are made from; per-image arrays are in the order of the images, per-concept ones in that of TAXONOMY."""

    mode: Mode
    named: sparse.csr_matrix  # (images, concepts): times that a concept is named
    parent: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    prior: Floats = field(default_factory=lambda: np.zeros(0))
    group: Rows | None = None  # communities: the group of each image
    alpha: float = 0.5
    threshold: float | None = None  # metaclip: images of a concept up to which it keeps all; None: the mean of all concepts
    language: Rows | None = None
    reference: int = -1  # metaclip: the language whose threshold is given
    language_shares: Mapping[int, float] = field(default_factory=dict)
    max_gain: float = 4.0
    steps: int = 30
    bm25_power: float = 0.5


def balance(
    *,
    ids: Sequence[str],
    kept: Flags,
    weighing: Weighing,
    budget: int | float | None = None,
    seed: int = 0,
    fixed: Flags | None = None,
    max_weight: float = 4.0,
) -> pa.Table:
    """Return BALANCE, one row per id.

    kept: what the selection kept. budget: images to keep, as a number (int) or as a share of the kept (float in (0, 1]); None:
    all. fixed: kept images that stay whatever the budget (those of a base run's shards). max_weight: no image is seen more than
    so many times as often as the mean one, and none less than its inverse. Raises ConfigError for a budget below 1 image.
    """
    num = len(ids)
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(np.array([ids[row] for row in rows.tolist()], dtype=str), kind="stable")]
    left, detail = _within(budget, rows, ids, weighing, seed, np.zeros(num, bool) if fixed is None else fixed)
    weight = np.zeros(num)
    if len(left):
        weight[left] = _weights(_of(weighing, left), least=1 / max_weight, most=max_weight)
    saying = bm25(weighing.named[np.flatnonzero(kept)])
    keep = np.zeros(num, bool)
    keep[left] = True
    columns = {"id": pa.array(ids, pa.string()), "keep": keep, "weight": weight.astype(np.float32)}
    columns |= {"detail": pa.array(detail, pa.string())} | _concepts(saying, kept)
    return conform(pa.table({name: columns[name] for name in BALANCE.names}), BALANCE)


def _within(
    budget: int | float | None, rows: Rows, ids: Sequence[str], weighing: Weighing, seed: int, fixed: Flags
) -> tuple[Rows, list[str | None]]:
    """Return those of the rows that fit into the budget, in the same order, and for each image why it was left out."""
    detail: list[str | None] = [None] * len(ids)
    number = _number(budget, len(rows))
    if number is None or not len(rows):
        return rows, detail
    weights = _weights(_of(weighing, rows), least=FAR, most=4 * len(rows) / number, gain=len(rows) / number)
    names = [ids[row] for row in rows.tolist()]
    free = np.flatnonzero(~fixed[rows])
    drawn = fixed[rows].copy()
    drawn[free] = draw([names[place] for place in free], weights[free], max(0, number - int(drawn.sum())), seed=seed)
    key = keys(names, weights, seed=seed)
    least = f"is below {key[free][drawn[free]].min():.6g}" if drawn[free].any() else "counts for nothing, those that stay fill it"
    for place in np.flatnonzero(~drawn).tolist():
        detail[rows[place]] = f"{number} of {len(rows)} images: key {key[place]:.6g} {least}"
    return rows[drawn], detail


def _number(budget: int | float | None, images: int) -> int | None:
    """Return how many images the budget holds; None: all."""
    if budget is None:
        return None
    if not (0 < budget <= 1 if isinstance(budget, float) else budget >= 1):
        raise ConfigError(f"balance.budget is {budget}; a whole number of images from 1 on, or a share in (0, 1] such as 0.25")
    number = round(budget * images) if isinstance(budget, float) else budget
    if number >= images:
        log.warning("balance.budget is %s, and %d images are kept: all of them stay", budget, images)
        return None
    return max(1, number)


def _of(weighing: Weighing, rows: Rows) -> Weighing:
    """Return the same with these images alone, in this order."""
    per_image = {
        name: None if (values := getattr(weighing, name)) is None else values[rows] for name in ("named", "group", "language")
    }
    return Weighing(**{**vars(weighing), **per_image})


def _weights(of: Weighing, *, least: float, most: float, gain: float = np.inf) -> Floats:
    """Return (images,), mean 1, each in [least, most] but for what the languages' shares ask; gain: see concept_targets."""
    raking = _raking(of)
    if of.mode == "concepts" and of.named.nnz:
        present = concept_images(of.named)
        target = concept_targets(present, parent=of.parent, prior=of.prior, gain=min(of.max_gain, max(1.0, gain)))
        pull = bm25(of.named)
        pull.data = pull.data**of.bm25_power
        return scale(pull, target, least=least, most=most, steps=of.steps, rake=raking)
    found = np.ones(of.named.shape[0])
    if of.mode == "metaclip" and of.named.nnz:
        threshold = of.threshold or of.named.nnz / max(1, np.count_nonzero(concept_images(of.named)))
        language = np.zeros(len(found), np.int64) if of.language is None else of.language
        found = metaclip(of.named, language, threshold=threshold, reference=of.reference)
    elif of.mode == "communities" and of.group is not None:
        found = np.bincount(of.group)[of.group].astype(np.float64) ** -of.alpha
        return raking(found / found.mean()) if raking else found / found.mean()
    elif of.mode in ("concepts", "metaclip"):
        log.warning("balance.mode %s: no kept image shows a concept; all images weigh the same", of.mode)
    found = clipped(found, least=least, most=most)
    return raking(found) if raking else found


def _raking(of: Weighing) -> Rake | None:
    if not of.language_shares or of.language is None:
        return None
    language, shares = of.language, of.language_shares
    raking: Callable[[Floats], Floats] = lambda weights: rake(weights, language, shares)  # noqa: E731
    return raking


def _concepts(saying: sparse.csr_matrix, kept: Flags) -> dict[str, pa.Array]:
    """Return the columns concepts and bm25: of kept images, those that say most first; null for the others."""
    lengths = np.diff(saying.indptr)
    image = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((saying.indices, -saying.data, image))
    offsets = np.zeros(len(kept) + 1, np.int64)
    offsets[1:][kept] = lengths
    offsets = np.cumsum(offsets).astype(np.int32)
    mask = pa.array(~kept)
    concepts, values = saying.indices[order].astype(np.int64), saying.data[order].astype(np.float32)
    return {
        "concepts": pa.ListArray.from_arrays(pa.array(offsets), pa.array(concepts), mask=mask),
        "bm25": pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), mask=mask),
    }
