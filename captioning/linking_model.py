"""From evidence to a decision: which candidate a name stands for, and how surely.

Two small models, one after the other. RANK is a conditional logit over the candidates of one name, so it only compares them.
ACCEPT is a logistic model of the best one: the probability that it is right, given that the span names something. What it rejects
is NIL: the entity meant is not in the knowledge base. Whether a span names anything is the link probability's to say.

The weights are maximum likelihood with a ridge of 1, fitted by `python -m benchmarks.linking --fit` on the anchors of the
benchmark's development articles, each met in three splits with a knowledge base that was built without its article.
"""

import numpy as np

from captioning.dictionary import changes
from captioning.disambiguation import Candidates, Context, Flags, Floats
from captioning.surface import Integers

RANK = {
    "log_commonness": 1.75,
    "log_margin": -0.21,  # commonness over that of the best other candidate
    "misspelled": -1.53,
    "coherence": 0.61,
    "coherence_margin": 0.47,
    "strongest": 0.66,
    "similarity": 0.45,
}
ACCEPT = {
    "bias": -1.31,
    "log_share": 2.23,  # what RANK gives it
    "log_commonness": -0.15,
    "log_links": 0.79,
    "log_link_probability": 0.05,
    "unseen": 1.45,
    "misspelled": -3.2,
    "title": 1.57,
    "coherence": 1.49,
    "strongest": 0.25,
    "similarity": 0.53,
    "log_size": 1.05,  # tokens of the name
}


def rank_evidence(rows: Candidates, context: Context) -> Floats:
    """Return the evidence that candidates are compared by, (candidates, RANK)."""
    columns = {
        "log_commonness": np.log(rows.commonness + 1e-3),
        "log_margin": _margin(rows.span, np.log(rows.commonness + 1e-2)),
        "misspelled": rows.misspelled,
        "coherence": context.coherence,
        "coherence_margin": _margin(rows.span, context.coherence),
        "strongest": context.strongest,
        "similarity": context.similarity,
    }
    return np.stack([np.asarray(columns[name], np.float64) for name in RANK], axis=1)


def ranked(rows: Candidates, evidence: Floats) -> tuple[Floats, Integers]:
    """Return each candidate's share of its span's belief, and the row of the best candidate of every span that has any."""
    return shares(rows, (evidence * list(RANK.values())).sum(axis=1))  # not by BLAS, whose last bit depends on the other rows


def shares(rows: Candidates, belief: Floats) -> tuple[Floats, Integers]:
    """Return what `ranked` does, from each candidate's belief: log odds up to a constant of its span."""
    begin = np.flatnonzero(changes(rows.span))
    if not len(begin):
        return np.zeros(0), np.zeros(0, np.int64)
    group = np.cumsum(changes(rows.span)) - 1
    power = np.exp(belief - np.maximum.reduceat(belief, begin)[group])
    share = power / np.add.reduceat(power, begin)[group]
    order = np.lexsort((rows.entity, -share, rows.span))
    return share, order[begin]


def accept_evidence(rows: Candidates, context: Context, share: Floats, best: Integers, size: Integers) -> Floats:
    """Return the evidence for the best candidates, (best, ACCEPT); size: tokens of each one's span."""
    columns = {
        "bias": np.ones(len(best)),
        "log_share": np.log(share[best] + 1e-3),
        "log_commonness": np.log(rows.commonness[best] + 1e-3),
        "log_links": np.log1p(rows.links[best]),
        "log_link_probability": np.log(rows.link_probability[best] + 1e-4),
        "unseen": rows.unseen[best],
        "misspelled": rows.misspelled[best],
        "title": rows.title[best],
        "coherence": context.coherence[best],
        "strongest": context.strongest[best],
        "similarity": context.similarity[best],
        "log_size": np.log(size),
    }
    return np.stack([np.asarray(columns[name], np.float64) for name in ACCEPT], axis=1)


def probability(evidence: Floats) -> Floats:
    """Return the probability that each best candidate is the entity meant."""
    return np.asarray(1 / (1 + np.exp(-(evidence * list(ACCEPT.values())).sum(axis=1))))


def _margin(span: Integers, values: Floats) -> Floats:
    """Return each value less the largest of the other candidates of its span; 0 where there is no other."""
    order = np.lexsort((-values, span))
    begin = np.flatnonzero(changes(span[order]))
    if not len(begin):
        return np.zeros(0)
    count = np.diff(np.append(begin, len(span)))
    group = np.repeat(np.arange(len(begin)), count)
    largest = values[order[begin]]
    second = values[order[np.minimum(begin + 1, len(span) - 1)]]
    leads: Flags = np.zeros(len(span), np.bool_)
    leads[begin] = True
    margin = np.empty(len(span))
    margin[order] = np.where((count == 1)[group], 0.0, values[order] - np.where(leads, second[group], largest[group]))
    return margin
