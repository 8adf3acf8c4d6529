"""Bags of concepts -> BM25: how much each concept says of an image.

A concept that few images show says more than one that half of them show, the second naming of a concept less than the first,
and one of three concepts more than one of thirty. Robertson & Zaragoza 2009, https://doi.org/10.1561/1500000019; the inverse
document frequency is Lucene's, which is never negative.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]


def bm25(named: sparse.csr_matrix, *, k1: float = 1.5, b: float = 0.75) -> sparse.csr_matrix:
    """Return float64 (images, concepts): idf * tf (k1 + 1) / (tf + k1 (1 - b + b * length / mean length)).

    named: times that each concept is named of each image. k1: how soon further namings count no more. b: how far long bags
    are discounted. Empty bags stay empty.
    """
    counts = named.astype(np.float64)
    lengths = np.asarray(counts.sum(axis=1)).ravel()
    mean = float(lengths.mean()) if len(lengths) and lengths.any() else 1.0
    longness = np.repeat(k1 * (1 - b + b * lengths / mean), np.diff(counts.indptr))
    idf = inverse_frequency(concept_images(counts), len(lengths))
    counts.data = idf[counts.indices] * counts.data * (k1 + 1) / (counts.data + longness)
    return counts


def inverse_frequency(images: Floats, num_images: int) -> Floats:
    """Return ln(1 + (N - n + 0.5) / (n + 0.5)) of concepts that n of N images show."""
    return np.asarray(np.log1p((num_images - images + 0.5) / (images + 0.5)), np.float64)


def concept_images(named: sparse.csr_matrix) -> Floats:
    """Return (concepts,): how many images show each concept, however often it is named."""
    return np.bincount(named.indices[named.data > 0], minlength=named.shape[1]).astype(np.float64)
