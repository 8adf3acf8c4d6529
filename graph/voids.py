"""Where a collection has less than a reference: regions or concepts with their shares, the deficit, and what to fetch.

Enter counts by region (graph/regions.py) or matches by concept (graph/fulltext.py), leaves a list of voids, the largest deficit
first. A void is reported when the interval of the deficit lies above zero and the exact test holds after adjustment for the
number of regions, so a region that the reference itself has twice is no void. Shares are also given smoothed (Jeffreys'
half count per region): a region with no image of ours has an unknown share, not the share zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from graph.enrichment import Counts, Numbers, difference_interval, enrichment, wilson

HOLLOW = 0.25
"""A region with less than this of the reference's share is missing as a whole."""
EXPLAINED = 0.5
"""Share of what a region lacks that voids inside it must lack to be told in its place."""


@dataclass(frozen=True)
class Void:
    """One under-covered region or concept; `level` counts from the coarsest regions, 0 for concepts."""

    level: int
    number: int
    reference_images: int | None
    own_images: int
    reference_share: float
    own_share: float
    own_share_smoothed: float
    deficit: float
    deficit_low: float
    deficit_high: float
    p: float | None
    q: float | None
    images_to_fetch: int


def region_voids(levels: Sequence[tuple[Counts, Counts]], *, num_reference: int, num_own: int, max_q: float = 0.05) -> list[Void]:
    """Return the regions that hold less of one's own images than of the reference's, largest deficit first.

    levels: for every granularity, int (K,) images of the reference and of one's own inside each region. num_reference, num_own:
    all images, those in no region included. max_q: share of false alarms among the voids, over all levels together.
    images_to_fetch: what lifts the region to the reference's share of the present number of own images.
    Raises ValueError when either side has no image.
    """
    if num_reference < 1 or num_own < 1:
        raise ValueError(f"{num_reference} reference images and {num_own} own ones: both must have some")
    tested = [
        enrichment(sample=_with_rest(reference, num_reference), background=_with_rest(own, num_own)) for reference, own in levels
    ]
    q = np.split(false_discovery_control(np.concatenate([of.p for of in tested])), np.cumsum([len(of.p) for of in tested])[:-1])
    found: list[Void] = []
    for level, (reference, own) in enumerate(levels):
        low, high = difference_interval(
            first=reference.astype(float), num_first=num_reference, second=own.astype(float), num_second=num_own
        )
        share, own_share = reference / num_reference, own / num_own
        found += [
            Void(
                level=level,
                number=int(k),
                reference_images=int(reference[k]),
                own_images=int(own[k]),
                reference_share=float(share[k]),
                own_share=float(own_share[k]),
                own_share_smoothed=float((own[k] + 0.5) / (num_own + 0.5 * len(own))),
                deficit=float(share[k] - own_share[k]),
                deficit_low=float(low[k]),
                deficit_high=float(high[k]),
                p=float(tested[level].p[k]),
                q=float(q[level][k]),
                images_to_fetch=int(max(0, np.ceil(round(share[k] * num_own, 6)) - own[k])),
            )
            for k in np.flatnonzero((low > 0) & (q[level][: len(own)] <= max_q))
        ]
    return sorted(found, key=lambda void: (-void.deficit, void.level, void.number))


def visible_share(*, num_reference: int, num_own: int, max_q: float = 0.05) -> float:
    """Return the least share of the reference at which a region without any own image is a void, were there no other region."""
    low, high = 0, num_reference  # a region without a reference image is none
    while high - low > 1:
        middle = (low + high) // 2
        counts = np.array([middle]), np.array([0])
        found = region_voids([counts], num_reference=num_reference, num_own=num_own, max_q=max_q)
        low, high = (low, middle) if found else (middle, high)
    return high / num_reference


def distinct_voids(voids: Sequence[Void], labels: Sequence[NDArray[np.int32]]) -> list[Void]:
    """Return the voids such that no lack is told at two levels, largest deficit first.

    labels: for every level, the region of every image of the reference, -1 for none. Of a void and the finer ones inside it, the
    finer ones stay when they explain it: it is not hollow itself, and they are most of what it lacks.
    """
    kept: list[Void] = []
    for void in sorted(voids, key=lambda one: (-one.level, one.number)):
        inner = [
            one
            for one in kept
            if one.level > void.level and (labels[void.level][labels[one.level] == one.number] == void.number).mean() > 0.5
        ]
        hollow = void.own_share < HOLLOW * void.reference_share
        if not hollow and sum(one.images_to_fetch for one in inner) >= EXPLAINED * void.images_to_fetch:
            continue
        kept = [one for one in kept if one not in inner] + [void]
    return [void for void in voids if void in kept]


def _with_rest(counts: Counts, total: int) -> Counts:
    """Return the counts and, last, the images that lie in no region."""
    return np.append(counts, total - counts.sum())


def concept_voids(*, own: Counts, num_own: int, target_shares: Numbers) -> list[Void]:
    """Return the concepts that fewer of one's own images match than `target_shares` (C,) of them, largest deficit first.

    The target is wanted, not measured, so the interval is that of one's own share, and nothing is tested.
    """
    low, high = wilson(successes=own.astype(float), trials=num_own)
    found = [
        Void(
            level=0,
            number=int(c),
            reference_images=None,
            own_images=int(own[c]),
            reference_share=float(target_shares[c]),
            own_share=float(own[c] / num_own),
            own_share_smoothed=float((own[c] + 0.5) / (num_own + 1)),
            deficit=float(target_shares[c] - own[c] / num_own),
            deficit_low=float(target_shares[c] - high[c]),
            deficit_high=float(target_shares[c] - low[c]),
            p=None,
            q=None,
            images_to_fetch=int(np.ceil(round(target_shares[c] * num_own, 6)) - own[c]),
        )
        for c in np.flatnonzero(own / num_own < target_shares)
    ]
    return sorted(found, key=lambda void: (-void.deficit, void.number))


def distinctive_terms(
    *, inside: Sequence[Sequence[str]], whole: Mapping[str, int], num_whole: int, num: int = 6, min_images: int = 2
) -> list[str]:
    """Return the terms that mark the images of a region, most telling first.

    inside: the distinct terms of each image in the region. whole: in how many images of the collection, which has `num_whole`,
    a term stands. Ranked by the log odds with half counts added; a term needs `min_images` inside and to be more common there.
    """
    counts: dict[str, int] = {}
    for terms in inside:
        for term in set(terms):
            counts[term] = counts.get(term, 0) + 1
    size = len(inside)

    def odds(term: str) -> float:
        others = max(1, num_whole - size)
        rest = min(max(0, whole.get(term, 0) - counts[term]), others)
        return float(np.log((counts[term] + 0.5) / (size - counts[term] + 0.5)) - np.log((rest + 0.5) / (others - rest + 0.5)))

    telling = [term for term in counts if counts[term] >= min(min_images, size) and odds(term) > 0]
    return sorted(telling, key=lambda term: (-odds(term) * np.log1p(counts[term]), term))[:num]


def nearest_of(labels: NDArray[np.int32], cosine: NDArray[np.float32], region: int, num: int) -> list[int]:
    """Return the rows of a region nearest to its centroid, nearest first, ties by row."""
    rows = np.flatnonzero(labels == region)
    return [int(row) for row in rows[np.lexsort((rows, -cosine[rows]))][:num]]
