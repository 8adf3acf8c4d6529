"""Which entity a name may stand for, and the evidence for each.

Spans and their postings enter, candidates with evidence leave. The evidence is what Mihalcea and Csomai (2007,
https://doi.org/10.1145/1321440.1321475) and Milne and Witten (2008, https://doi.org/10.1145/1458082.1458150) use: link
probability (how often the name is a link where it occurs), commonness (how often it then links to the entity), coherence (how
related the entity is to what the rest of the sample may mean); and the words that the sample shares with the entity's article.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from captioning.dictionary import ORIGINS, Matches, Postings, changes
from captioning.profiles import Profiles
from captioning.surface import Integers

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

CASE_WEIGHTS = np.array([1.0, 0.3, 0.05])
"""What the statistics of a spelling count for a text that writes the name as it does, with another first letter, otherwise."""
PSEUDO_LINKS = np.array([2.0, 1.0, 2.0, 0.1])
"""Links that a name counts for by its origin (ORIGINS) alone, a Dirichlet prior: titles are met that were never linked."""
PRIOR_PROBABILITY, PRIOR_OCCURRENCES = 0.05, 4.0
"""Link probability of a name without statistics, and the occurrences that this assumption counts for."""
MAX_CANDIDATES = 8
"""Candidates of one span that are weighed, the commonest."""


class Candidates(NamedTuple):
    """Entities that spans may stand for: one row per span and entity, by span and then by commonness."""

    span: Integers
    entity: Integers
    commonness: Floats
    links: Floats  # of the name to the entity
    link_probability: Floats  # of the span's name
    unseen: Flags  # no statistics of the name
    misspelled: Floats  # 1 when the text writes it in another case than the dictionary, beyond the first letter
    title: Flags  # the name is the entity's title


class Context(NamedTuple):
    """What the rest of the sample says for each candidate."""

    coherence: Floats  # relatedness to the other names, their mean by link probability
    strongest: Floats  # relatedness to the name that is related most
    similarity: Floats  # words shared with the entity's description


def candidates(found: Postings, num_spans: int, *, uncased: Flags) -> Candidates:
    """Return the candidates of every span with the statistics of its name.

    uncased: spans of a text all in capitals or all in small letters, whose case says nothing.
    """
    weight = np.where(uncased[found.span], 1.0, CASE_WEIGHTS[found.level])
    links = weight * found.links
    linked = np.bincount(found.span, links, num_spans)
    occurred = np.maximum(np.bincount(found.span, weight * found.occurrences, num_spans), linked)
    probability = (linked + PRIOR_PROBABILITY * PRIOR_OCCURRENCES) / (occurred + PRIOR_OCCURRENCES)
    order = np.lexsort((found.level, found.entity, found.span))
    span, entity, level, origin = (column[order] for column in (found.span, found.entity, found.level, found.origin))
    begin = np.flatnonzero(changes(span, entity))
    if not len(begin):
        return Candidates(span, entity, *(np.zeros(0, kind) for kind in (float, float, float, bool, float, bool)))
    count = np.add.reduceat(links[order], begin) + np.maximum.reduceat(PSEUDO_LINKS[origin], begin)
    title = np.minimum.reduceat(origin, begin) == ORIGINS.index("title")
    span, entity, level = span[begin], entity[begin], level[begin]  # of several spellings, the nearest to the text
    total = np.bincount(span, count, num_spans)
    misspelled = np.where(level == 2, np.where(uncased[span], 0.5, 1.0), 0.0)
    commonness = count / np.maximum(total[span], 1e-9)
    return _commonest(
        Candidates(span, entity, commonness, count, probability[span], (occurred == 0)[span], misspelled, title), MAX_CANDIDATES
    )


def _commonest(rows: Candidates, limit: int) -> Candidates:
    order = np.lexsort((rows.entity, -rows.commonness, rows.span))
    span = rows.span[order]
    rank = np.arange(len(span)) - np.searchsorted(span, span)
    return Candidates._make(column[order[rank < limit]] for column in rows)


def longest(spans: Matches, worth: Floats) -> Integers:
    """Return the rows of spans that do not overlap, ascending: the longest first, of equally long ones the worthiest."""
    order = np.lexsort((spans.first, -worth, -spans.size))
    first, behind = spans.first[order], (spans.first + spans.size)[order]
    taken = np.zeros(int(behind.max(initial=0)), np.bool_)
    chosen = []
    for row, start, end in zip(order.tolist(), first.tolist(), behind.tolist(), strict=True):
        if not taken[start:end].any():
            taken[start:end] = True
            chosen.append(row)
    return np.array(sorted(chosen), np.int64)


def coherence(rows: Candidates, sample: Integers, name: Integers, profiles: Profiles) -> tuple[Floats, Floats]:
    """Return how related each candidate is to the other names of its sample: their weighted mean, and the strongest of them.

    sample, name: of each row, the sample and the dictionary row of the name. Another name counts by its link probability, and
    is as related as the best of its candidates, each weighed by its commonness.
    """
    row, other, related = profiles.related(rows.entity, sample)
    apart = name[row] != name[other]
    row, other = row[apart], other[apart]
    related = related[apart] * rows.commonness[other]
    order = np.lexsort((-related, rows.span[other], row))
    row, span, related = row[order], rows.span[other][order], related[order]
    best = changes(row, span)  # of the candidates of one name
    row, span, related = row[best], span[best], related[best]
    spans, first = np.unique(rows.span, return_index=True)
    weight = np.zeros(int(spans.max(initial=-1)) + 1)
    weight[spans] = rows.link_probability[first]
    total = np.bincount(sample[first], weight[spans])[sample] - rows.link_probability if len(first) else np.zeros(0)
    strongest = np.zeros(len(rows.span))
    np.maximum.at(strongest, row, related)
    mean = np.bincount(row, related * weight[span], minlength=len(rows.span)) / np.maximum(total, 1e-9)
    return np.clip(mean, 0, 1), strongest
