"""From known copies and a collection's own near pairs to the threshold that keeps a promised precision.

Enters: the closeness (cosine, or share of equal hash bits) of altered copies to their originals, and that of the collection's
pairs which a second look found to be no copies. Leaves: precision and recall by threshold, each with a bound, and the lowest
threshold whose *bound* keeps the promise. Precision depends on how many copies there are to find, so it is stated for a number
of copy pairs per image. Altered copies are false friends of other images too (a blurred picture is near every blurred picture),
so what they wrongly answer to counts beside the pairs of the images themselves; a pair nobody looked at counts as false. Copies
of one image succeed or fail together, and so do the false pairs of one image: bounds count images, not pairs.

Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curation.errors import ConfigError

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

Z = 1.6449
"""Normal quantile of one-sided 95 % bounds."""
COSINES = np.arange(1025)[::-1] / 1024
"""Thresholds tried for cosines, highest first."""
HASH_BITS = 256
"""Bits of PDQ; closeness of two hashes is one minus the share that differs."""


@dataclass(frozen=True)
class Threshold:
    """A proposed threshold and what to expect of it."""

    value: float
    precision: float
    precision_low: float  # 95 % bound
    recall: float  # share of altered copies at or above it
    recall_low: float
    false_per_image: float


def wilson(successes: Floats | float, total: float, *, z: float = Z) -> tuple[Floats, Floats]:
    """Return the lower and upper one-sided 95 % bounds of a share; successes may be fractional and an array."""
    share = np.asarray(successes, np.float64) / total
    centre = share + z * z / (2 * total)
    spread = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (centre - spread) / (1 + z * z / total), (centre + spread) / (1 + z * z / total)


def relations(*, pairs: pa.Table, look: Callable[[pa.Table], Sequence[str]], max_false: int, max_looked: int) -> list[str]:
    """Return the relation of every row of `pairs`, as `look` says, "unseen" for those nobody looked at.

    pairs: EDGES rows, closest first. They are looked at from the top until `max_false` were no copies or `max_looked` are done.
    """
    found: list[str] = []
    while len(found) < min(len(pairs), max_looked) and found.count("different") < max_false:
        found += look(pairs.slice(len(found), min(256, max_looked - len(found))))
    return found + ["unseen"] * (len(pairs) - len(found))


def operating_curve(
    *,
    copies: Floats,
    originals: Rows,
    false_pairs: tuple[Rows, Rows, Floats],
    answers: tuple[Rows, Floats],
    answer_scale: float = 1.0,
    num_images: int,
    copies_per_image: float,
    thresholds: Floats = COSINES,
) -> pa.Table:
    """Return one row per threshold: threshold, recall, recall_low, false_per_image, precision, precision_low.

    copies: closeness of altered copies to their originals, `originals` naming the original of each. false_pairs: row, row and
    closeness of the collection's pairs that are no copies. answers: original and closeness for every wrong answer of a copy that
    is looked up among the images, each counted `answer_scale` times (where a share of the images was searched).
    copies_per_image: copy pairs over images, for the precision.
    Raises ConfigError without copies or images.
    """
    if not len(copies) or num_images < 1 or copies_per_image <= 0:
        raise ConfigError(
            f"calibration needs altered copies ({len(copies)}), images ({num_images}) and a rate of copies ({copies_per_image})"
        )
    independent = len(np.unique(originals))
    recall = (np.asarray(copies)[None, :] >= thresholds[:, None] - 1e-9).mean(1)
    recall_low, _ = wilson(recall * independent, independent)
    pairs, touched = _false(false_pairs, thresholds)
    each = np.where(touched > 0, pairs / np.maximum(touched, 1), 0.5)  # two images share a pair
    rate_high = wilson(touched, num_images)[1] * each
    rate = pairs / num_images
    wrong, wrong_high = _wrong_answers(answers, thresholds, len(copies), independent)
    scale = copies_per_image * answer_scale
    rate, rate_high = rate + scale * wrong, rate_high + scale * wrong_high
    table = {
        "threshold": thresholds,
        "recall": recall,
        "recall_low": recall_low,
        "false_per_image": rate,
        "precision": _precision(recall * copies_per_image, rate),
        "precision_low": _precision(recall_low * copies_per_image, rate_high),
    }
    return pa.table(table)


def propose(curve: pa.Table, *, precision: float) -> Threshold:
    """Return the lowest threshold of the curve whose bound on precision is at least `precision`.

    Raises ConfigError when the sample supports none: too few images, or an embedder that cannot tell copies apart.
    """
    if not 0 < precision < 1:
        raise ConfigError(f"--precision {precision} must lie between 0 and 1")
    kept = curve.filter(pa.compute.greater_equal(curve["precision_low"], precision)).sort_by("threshold")
    if not len(kept):
        best = float(np.max(curve["precision_low"].to_numpy()))
        raise ConfigError(
            f"--precision {precision} cannot be promised from these images: the best bound is {best:.4f}. Calibrate on a larger "
            "run with a larger --sample, state more --copies-per-image, ask for less precision, or use another embedder"
        )
    row = kept.slice(0, 1).to_pylist()[0]
    return Threshold(
        value=row["threshold"],
        precision=row["precision"],
        precision_low=row["precision_low"],
        recall=row["recall"],
        recall_low=row["recall_low"],
        false_per_image=row["false_per_image"],
    )


def largest_components(*, pairs: pa.Table, num_images: int, thresholds: Floats) -> pa.Table:
    """Return, per threshold, the size of the largest component, the number of groups and of grouped images at the full N."""
    row_a, row_b = pairs["row_a"].to_numpy(), pairs["row_b"].to_numpy()
    similarity = pairs["similarity"].to_numpy()
    rows = []
    for threshold in thresholds:
        near = similarity >= threshold
        graph = coo_array((np.ones(near.sum(), np.int8), (row_a[near], row_b[near])), shape=(num_images, num_images))
        sizes = np.bincount(connected_components(graph, directed=False)[1])
        several = sizes[sizes > 1]
        row = {"threshold": float(threshold), "largest": int(sizes.max()), "groups": len(several), "images": int(several.sum())}
        rows.append(row)
    return pa.Table.from_pylist(rows)


def knee(components: pa.Table, *, num_images: int, max_share: float = 0.01) -> float:
    """Return the lowest threshold whose largest component holds at most `max_share` of the images, or 50: below, it percolates.

    The highest threshold tried, when none does.
    """
    sound = components.filter(pa.compute.less_equal(components["largest"], max(50, int(num_images * max_share))))
    return float(np.min((sound if len(sound) else components.slice(0, 0))["threshold"].to_numpy(), initial=1.0))


def hash_closeness(hashes: Sequence[str], others: Sequence[Sequence[str]]) -> Floats:
    """Return one minus the share of differing bits of each hash to the nearest of its other's orientations."""
    return np.array([1 - min(_differing(a, b) for b in forms) / HASH_BITS for a, forms in zip(hashes, others, strict=True)])


def _differing(hash_a: str, hash_b: str) -> int:
    return (int(hash_a, 16) ^ int(hash_b, 16)).bit_count()


def _false(false_pairs: tuple[Rows, Rows, Floats], thresholds: Floats) -> tuple[Floats, Floats]:
    """Return, per threshold, the false pairs at or above it and the images they touch."""
    row_a, row_b, closeness = false_pairs
    nearest: dict[int, float] = {}
    for row, value in zip(np.concatenate([row_a, row_b]).tolist(), np.tile(closeness, 2).tolist(), strict=True):
        nearest[row] = max(nearest.get(row, -2.0), value)
    best = np.sort(np.array(list(nearest.values()), np.float64))
    ordered = np.sort(np.asarray(closeness, np.float64))

    def at_least(values: Floats) -> Floats:
        return np.asarray(len(values) - np.searchsorted(values, thresholds - 1e-9, "left"), np.float64)

    return at_least(ordered), at_least(best)


def _wrong_answers(answers: tuple[Rows, Floats], thresholds: Floats, num_copies: int, independent: int) -> tuple[Floats, Floats]:
    """Return, per threshold, wrong answers per copy and the bound on it, counted by originals."""
    originals, closeness = answers
    given, touched = _false((originals, originals, np.asarray(closeness) / 1.0), thresholds)
    per_copy = independent / num_copies
    each = np.where(touched > 0, given / np.maximum(touched, 1), 1.0) * per_copy
    return given / num_copies, wilson(touched, independent)[1] * each


def _precision(true: Floats, false: Floats) -> Floats:
    return np.asarray(np.divide(true, true + false, out=np.zeros_like(true), where=true > 0))
