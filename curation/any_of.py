"""MetaCLIP's balance: an image stays if any of its concepts draws it, and a concept of n images draws each with min(1, t / n).

Xu et al., arXiv 2309.16671, section 3. Over several languages (Chuang et al., arXiv 2507.22062) t is not one number: what is
carried from English to the others is the share of all matches that lie in its tail, the concepts with fewer than t images.
Made for short texts: where an image shows a dozen concepts, one of them is nearly always rare, and nearly all images stay.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from curation.bm25 import concept_images

Floats = NDArray[np.float64]


def any_of(shown: sparse.csr_matrix, threshold: float) -> Floats:
    """Return (images,) 1 - prod(1 - min(1, t / n)): the probability that any concept draws the image; 1 without a concept."""
    images = concept_images(shown)
    draws = np.minimum(1.0, threshold / np.maximum(images, 1.0))
    with np.errstate(divide="ignore"):
        misses = np.log1p(-draws)  # -inf: the concept draws all of its images
    rows = np.repeat(np.arange(shown.shape[0]), np.diff(shown.indptr))
    sums = np.zeros(shown.shape[0])
    np.add.at(sums, rows, misses[shown.indices])
    return np.where(np.diff(shown.indptr) > 0, -np.expm1(sums), 1.0)


def tail_share(images: Floats, threshold: float) -> float:
    """Return the share of all matches that lie in concepts of fewer than `threshold` images."""
    total = float(images.sum())
    return float(images[images < threshold].sum()) / total if total else 0.0


def threshold_of(images: Floats, share: float) -> float:
    """Return the smallest threshold at which the tail of these concepts holds `share` of all matches."""
    counts = np.sort(images[images > 0])
    if not len(counts):
        return 1.0
    held = np.cumsum(counts) / counts.sum()
    place = int(np.searchsorted(held, share * (1 - 1e-12)))
    if share <= 0 or place >= len(counts):
        return float(counts[0] if share <= 0 else counts[-1] + 1)
    return float(counts[place] + 1)


def metaclip(shown: sparse.csr_matrix, language: NDArray[np.int64], *, threshold: float, reference: int) -> Floats:
    """Return the probability of every image, each language being counted apart.

    language: (images,), a code; `reference` is the language whose `threshold` is given. Without an image of it, the threshold
    holds for all.
    """
    share = tail_share(concept_images(shown[language == reference]), threshold)
    found = np.ones(shown.shape[0])
    for code in np.unique(language).tolist():
        here = language == code
        own = threshold
        if code != reference and (language == reference).any():
            own = threshold_of(concept_images(shown[here]), share)
        found[here] = any_of(shown[here], own)
    return found
