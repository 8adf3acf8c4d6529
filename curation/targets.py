"""How many images of every concept there ought to be, and what came of it: CONCEPT_SHARES.

Targets are poured down the forest (curation.waterfill). A concept can hold `gain` times the images that it has, times its prior:
beyond that a handful of pictures would be seen so often that a model learns them by heart.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.schema import CONCEPT_SHARES, conform
from curation.waterfill import water_fill

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def concept_targets(images: Floats, *, parent: Rows, prior: Floats, gain: float) -> Floats:
    """Return (concepts,): images wanted of each concept itself; together as many as there are, where the forest can hold them.

    images: of each concept itself. parent: -1 for a root. prior: factor from user prompts; its share among its siblings grows
    with it as well. gain: how far beyond its images a concept may be raised, at least 1.
    """
    share = np.where(np.isfinite(prior) & (prior > 0), prior, 1.0)
    return water_fill(float(images.sum()), images * gain * np.maximum(share, 1.0), parent, share)


def effective_number(amounts: Floats) -> float:
    """Return exp(entropy) of the shares: the number of equally frequent concepts that would be as diverse; 0 without any."""
    held = amounts[amounts > 0]
    shares = held / held.sum() if len(held) else held
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(held) else 0.0


def concept_shares(*, taxonomy: pa.Table, balance: pa.Table, max_gain: float | None) -> pa.Table:
    """Return CONCEPT_SHARES, row-aligned with TAXONOMY, from what BALANCE says of every image.

    max_gain: of the mode `concepts`; None: no concept has a target.
    """
    listed = balance["concepts"].combine_chunks()
    lengths = np.diff(listed.offsets.to_numpy()) if len(listed) else np.zeros(0, np.int64)
    concepts = listed.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    kept, weight = balance["keep"].to_numpy(), balance["weight"].to_numpy().astype(np.float64)
    num = taxonomy.num_rows

    def summed(amounts: Floats) -> Floats:
        return np.bincount(concepts, np.repeat(amounts, lengths), minlength=num).astype(np.float64)

    left = summed(kept.astype(np.float64))
    parent, prior = forest(taxonomy)
    target = None if max_gain is None else pa.array(concept_targets(left, parent=parent, prior=prior, gain=max_gain))
    columns = {
        "concept": taxonomy["concept"],
        "images": summed(np.ones(len(lengths))).astype(np.int64),
        "kept": left.astype(np.int64),
        "target": pa.nulls(num, pa.float64()) if target is None else target,
        "weighted": summed(weight),
    }
    return conform(pa.table(columns), CONCEPT_SHARES)


def forest(taxonomy: pa.Table) -> tuple[Rows, Floats]:
    """Return parent (-1 for a root) and prior of every concept of TAXONOMY."""
    return taxonomy["parent"].fill_null(-1).to_numpy().astype(np.int64), taxonomy["prior"].to_numpy().astype(np.float64)
