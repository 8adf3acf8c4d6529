"""Weights of the linking models by maximum likelihood, from mentions of development articles."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.linking_judge import Judged
from captioning.linking_model import ACCEPT, RANK

Floats = NDArray[np.float64]


def fit(judged: Sequence[Judged]) -> tuple[Floats, Floats]:
    """Return the weights of RANK and ACCEPT by maximum likelihood with a ridge of 1."""
    several = [each for each in judged if each.known and len(each.candidates) > 1]
    rank = _minimised(lambda weights: _rank_loss(weights, several), len(RANK))
    rows, right = [], []
    for each in judged:
        if each.candidates:
            belief = each.rank @ rank
            share = np.exp(belief - belief.max())
            best = int(np.argmax(share))
            rows.append(_with_best(each, best, float(share[best] / share.sum())))
            right.append(each.candidates[best] == each.target)
    evidence, labels = np.array(rows), np.array(right, float)
    return rank, _minimised(lambda weights: _accept_loss(weights, evidence, labels), len(ACCEPT))


def _with_best(judged: Judged, best: int, share: float) -> Floats:
    """Return the evidence of ACCEPT as it is when `best` is the best candidate; what both models share is taken from RANK."""
    evidence = dict(zip(ACCEPT, judged.accept.tolist(), strict=True))
    compared = dict(zip(RANK, judged.rank[best].tolist(), strict=True))
    evidence |= {name: compared[name] for name in compared if name in evidence} | {"log_share": float(np.log(share + 1e-3))}
    return np.array(list(evidence.values()))


def _rank_loss(weights: Floats, judged: Sequence[Judged]) -> tuple[float, Floats]:
    loss, slope = weights @ weights / 2, weights.copy()
    for each in judged:
        belief = each.rank @ weights
        share = np.exp(belief - belief.max())
        share /= share.sum()
        right = each.candidates.index(each.target)
        loss -= np.log(share[right])
        slope += each.rank.T @ share - each.rank[right]
    return float(loss), slope


def _accept_loss(weights: Floats, evidence: Floats, labels: Floats) -> tuple[float, Floats]:
    belief = evidence @ weights
    loss = np.logaddexp(0, belief).sum() - belief @ labels + weights @ weights / 2
    return float(loss), evidence.T @ (1 / (1 + np.exp(-belief)) - labels) + weights


def _minimised(loss: Callable[[Floats], tuple[float, Floats]], size: int) -> Floats:
    return np.asarray(minimize(loss, np.zeros(size), jac=True, method="L-BFGS-B").x)


def fit_rerank(judged: Sequence[Judged]) -> float:
    """Return the weight of the second look's cosine, on top of RANK, by maximum likelihood with a ridge of 1."""
    several = [each for each in judged if each.known and len(each.candidates) > 1]

    def loss(weights: Floats) -> tuple[float, Floats]:
        total, slope = float(weights @ weights / 2), weights.copy()
        for each in several:
            belief = np.log(each.share + 1e-12) + weights[0] * each.similarity
            share = np.exp(belief - belief.max())
            share /= share.sum()
            right = each.candidates.index(each.target)
            total -= float(np.log(share[right]))
            slope += share @ each.similarity - each.similarity[right]
        return total, slope

    return float(_minimised(loss, 1)[0])
