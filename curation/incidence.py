"""Bags of concepts as one sparse matrix: images by concepts, a value is how often the concept is named of the image."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import sparse

from curation.bags import Bag, Term


def incidence(parts: Iterable[Sequence[Bag]], concept_of: Mapping[Term, int], *, num_concepts: int) -> sparse.csr_matrix:
    """Return float64 (images, concepts) with sorted columns; terms that no concept stands for are left out.

    parts: bags of images, part by part; what is held of a part is 12 bytes for each of its concepts.
    """
    lengths, columns, values = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
    for bags in parts:
        found = [[(concept_of[term], times) for term, times in bag.items() if term in concept_of] for bag in bags]
        lengths.append(np.array([len(row) for row in found], np.int64))
        flat = [pair for row in found for pair in row]
        columns.append(np.array([concept for concept, _ in flat], np.int32))
        values.append(np.array([times for _, times in flat], np.float32))
    indptr = np.cumsum(np.concatenate(lengths))
    shape = (len(indptr) - 1, num_concepts)
    matrix = sparse.csr_matrix((np.concatenate(values).astype(np.float64), np.concatenate(columns), indptr), shape=shape)
    matrix.sum_duplicates()  # two spellings of one concept
    return matrix
