"""From failures of a model to what in its training images may be to blame, or missing.

Enter, for every case (a prompt with its failed pictures), the training images that were retrieved for it; leave regions and
images that turn up more often than their share explains, with tests that know of hubs: some images are near to everything, and
being found for many failures says nothing of them. A case is one observation, however many pictures or neighbours it has:
ten bad pictures of one prompt are no ten accusations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, false_discovery_control

from graph.enrichment import Counts, enrichment

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Suspect:
    """A region or an image that is found for more cases than chance explains; `cases` are their positions."""

    number: int
    cases: tuple[int, ...]
    expected_cases: float
    ratio: float
    p: float
    q: float


def region_of_case(rows: Sequence[int], labels: NDArray[np.int32]) -> int:
    """Return the region that most of a case's retrieved rows lie in; of equals, that of the nearest; -1 without any.

    rows: nearest first; rows of several pictures one list after the other.
    """
    found = [int(labels[row]) for row in rows if labels[row] >= 0]
    return max(found, key=lambda region: (found.count(region), -found.index(region)), default=-1)


def suspect_regions(
    *, regions: Sequence[int], background: Counts, max_q: float = 0.05, min_cases: int = 3, min_ratio: float = 1.5
) -> list[Suspect]:
    """Return the regions that cases fall into more often than their share, the most surprising first.

    regions: the region of every case, -1 for none. background: int (K,) training images by region, or control cases.
    """
    assigned = np.array([region for region in regions if region >= 0], np.int64)
    if not len(assigned) or not background.sum():
        return []
    sample = np.bincount(assigned, minlength=len(background))
    tested = enrichment(sample=sample, background=background)
    share = background / background.sum()
    found = [
        Suspect(
            number=int(k),
            cases=tuple(case for case, region in enumerate(regions) if region == k),
            expected_cases=float(share[k] * len(assigned)),
            ratio=float(tested.ratio[k]),
            p=float(tested.p[k]),
            q=float(tested.q[k]),
        )
        for k in np.flatnonzero((sample >= min_cases) & (tested.q <= max_q) & (tested.ratio >= min_ratio))
    ]
    return sorted(found, key=lambda suspect: (suspect.p, -suspect.ratio, suspect.number))


def suspect_images(
    *, found: Sequence[Sequence[int]], popularity: NDArray[np.float64], max_q: float = 0.05, min_cases: int = 3
) -> list[Suspect]:
    """Return the images that are retrieved for more cases than their popularity explains, the most surprising first.

    found: for every case, the distinct rows retrieved for it. popularity: float (rows,), how often each image is anybody's
    neighbour, 0 for images that cannot be retrieved; only its proportions matter.
    A case finds image i with a probability in proportion to its popularity, all of them together the mean number of images per
    case: binomial test.
    """
    cases: dict[int, list[int]] = {}
    for case, rows in enumerate(found):
        for row in set(rows):
            cases.setdefault(row, []).append(case)
    searched = sum(1 for rows in found if len(rows))
    if not searched:
        return []
    chance = _chances(popularity, sum(len(set(rows)) for rows in found) / searched)
    counts = np.zeros(len(popularity), np.int64)
    counts[list(cases)] = [len(of) for of in cases.values()]
    possible = popularity > 0
    p = np.clip(binom.sf(counts - 1, searched, chance), 0.0, 1.0)
    q = np.ones(len(p))
    q[possible] = false_discovery_control(p[possible], method="bh")
    suspects = [
        Suspect(
            number=int(row),
            cases=tuple(cases[int(row)]),
            expected_cases=float(chance[row] * searched),
            ratio=float(counts[row] / (chance[row] * searched)),
            p=float(p[row]),
            q=float(q[row]),
        )
        for row in np.flatnonzero(possible & (counts >= min_cases) & (q <= max_q))
    ]
    return sorted(suspects, key=lambda suspect: (suspect.p, -suspect.ratio, suspect.number))


def _chances(popularity: NDArray[np.float64], num_found: float) -> NDArray[np.float64]:
    """Return probabilities in proportion to popularity that add up to `num_found`, none above 1."""
    chance = np.zeros(len(popularity))
    open_ = popularity > 0
    while open_.any():
        left = max(0.0, num_found - float(chance[~open_].sum()))
        chance[open_] = popularity[open_] / popularity[open_].sum() * left
        full = open_ & (chance > 1)
        if not full.any():
            break
        chance[full] = 1.0  # a hub is in every list and takes one place of it, not several
        open_ &= ~full
    return np.minimum(chance, 1.0)


def term_weights(frequencies: Mapping[str, int], num_images: int) -> dict[str, float]:
    """Return the inverse document frequency ln(1 + (N - n + 1/2) / (n + 1/2)) of every term: how much it says of an image."""
    return {term: float(np.log1p((max(0, num_images - often) + 0.5) / (often + 0.5))) for term, often in frequencies.items()}


def coverage(*, weights: Mapping[str, float], held: Mapping[str, set[int]], rows: Sequence[int]) -> list[float]:
    """Return, for each of `rows`, the share of a prompt's weight that its words hold.

    weights: of every term of the prompt, also of those that no image holds. held: the rows that hold a term.
    """
    total = sum(weights.values())
    return [
        sum(weight for term, weight in weights.items() if row in held.get(term, ())) / total if total else 0.0 for row in rows
    ]
