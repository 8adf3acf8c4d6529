"""How good judged mentions are: accuracies beside those of commonness alone, paired tests, calibration, detection."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from benchmarks.linking_judge import Detected, Judged

MIN_SCORE = 0.5


def measure(judged: Sequence[Judged], cut: float) -> dict[str, Any]:
    """Return accuracies of ours and of commonness alone, bare and with its own best cut for NIL, and paired tests."""
    truth = [each.truth for each in judged]
    ours = [each.answer if each.score >= MIN_SCORE else None for each in judged]
    again = [each.second_answer if each.second_score >= MIN_SCORE else None for each in judged]
    bare = [each.candidates[0] if each.candidates else None for each in judged]
    common = [each.candidates[0] if each.candidates and each.commonness >= cut else None for each in judged]
    known = np.array([each.known for each in judged])
    several = np.array([len(each.candidates) > 1 for each in judged])
    right = {
        name: np.array([said == true for said, true in zip(answers, truth, strict=True)])
        for name, answers in (("ours", ours), ("second look", again), ("commonness", bare), ("commonness with NIL", common))
    }
    chosen = {
        "ours": np.array([each.answer == each.target for each in judged]),
        "second look": np.array([each.second_answer == each.target for each in judged]),
        "commonness": np.array([bool(each.candidates) and each.candidates[0] == each.target for each in judged]),
    }
    return {
        "mentions": len(judged),
        "with candidates": int(sum(bool(each.candidates) for each in judged)),
        "target among candidates": int(known.sum()),
        "accuracy": {name: _share(hits) for name, hits in right.items()},
        "accuracy, NIL mentions": {name: _share(hits[~known]) for name, hits in right.items()},
        "right candidate first, target among several": {
            name: _share(hits[known & several]) for name, hits in chosen.items()
        } | {"mentions": int((known & several).sum())},
        "precision of answers": {
            name: _share(np.array([s == t.target for s, t in zip(answers, judged, strict=True) if s is not None]))
            for name, answers in (("ours", ours), ("second look", again), ("commonness", bare), ("commonness with NIL", common))
        },
        "against commonness": mcnemar(right["ours"], right["commonness"]),
        "against commonness with NIL": mcnemar(right["ours"], right["commonness with NIL"]),
        "choice against commonness": mcnemar(chosen["ours"][known & several], chosen["commonness"][known & several]),
        "choice, ours against second look": mcnemar(chosen["ours"][known & several], chosen["second look"][known & several]),
        "ours against second look": mcnemar(right["ours"], right["second look"]),
        "calibration": _calibration(judged),
    }  # fmt: skip


def mcnemar(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> dict[str, float]:
    """Return the mentions that only one of two methods has right, and the exact two-sided p (McNemar 1947)."""
    won, lost = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    return {"only ours": won, "only theirs": lost, "p": float(binomtest(won, won + lost).pvalue) if won + lost else 1.0}


def _share(hits: NDArray[np.bool_]) -> float:
    return round(float(hits.mean()), 4) if len(hits) else 0.0


def _calibration(judged: Sequence[Judged]) -> list[dict[str, float]]:
    """Return by tenths of the score how many best candidates are right."""
    scored = [(each.score, each.answer == each.target) for each in judged if each.candidates]
    tenths = [[right for score, right in scored if int(min(score, 0.999) * 5) == tenth] for tenth in range(5)]
    return [{"from": n / 5, "mentions": len(hits), "right": _share(np.array(hits))} for n, hits in enumerate(tenths)]


def best_cut(judged: Sequence[Judged]) -> float:
    """Return the least commonness that serves the baseline best, chosen on development articles."""
    cuts = [n / 20 for n in range(21)]
    hits = [
        sum((each.candidates[0] if each.candidates and each.commonness >= cut else None) == each.truth for each in judged)
        for cut in cuts
    ]
    return cuts[int(np.argmax(hits))]


def detection(detected: Sequence[Detected], min_score: float) -> dict[str, float]:
    """Return precision and recall when spans are not given.

    right: the article links to the entity somewhere; authors link a name once, so other occurrences are no mistakes.
    """
    said = [(each, start, end, title) for each in detected for start, end, title, score in each.found if score >= min_score]
    right = sum(title in each.linked for each, _, _, title in said)
    exact = sum((start, end, title) in set(each.anchors) for each, start, end, title in said)
    anchors = sum(len(each.anchors) for each in detected)
    return {
        "found": len(said),
        "linked by the article": round(right / max(1, len(said)), 4),
        "anchors found with their target": round(exact / max(1, anchors), 4),
    }
