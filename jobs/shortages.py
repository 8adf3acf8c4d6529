"""Proposals from words: captions that say what misleads (relabel), and prompts the collection holds too little of (fetch)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.cards import cards as cards_of
from curation.cards import named
from curation.errors import ConfigError
from curation.tables import Run
from graph.fulltext import FullText
from graph.remediation import coverage, term_weights
from jobs.failures import Case, Failure
from jobs.proposals import EXAMPLES, MAX_IDS, Proposal, by_language, ids_of, rounded

COVERED = 0.6
"""Share of a prompt's weight that an image's words hold when it shows what was asked for."""


def relabels(
    run: Run, failures: Sequence[Failure], grouped: Sequence[Case], index: FullText, allowed: NDArray[np.bool_]
) -> list[Proposal]:
    """Return one proposal for every pair of a wrong and a right phrase: the kept images whose captions say the wrong one."""
    pairs = dict.fromkeys((failure.wrong, failure.right) for failure in failures if failure.wrong and not failure.ok)
    proposals = []
    for wrong, right in pairs:
        rows = index.rows(f'"{wrong}"', allowed=allowed)
        if right:
            rows = np.setdiff1d(rows, index.rows(f'"{right}"', allowed=allowed))
        blamed = [
            case for case in grouped if any(failures[n].wrong == wrong and failures[n].right == right for n in case.failures)
        ]
        described = cards_of(run, rows[:MAX_IDS].tolist())
        if described:
            proposals.append(
                {
                    "action": "relabel",
                    "target": {"kind": "caption", "images": len(rows)},
                    "reason": f"the words of {len(rows)} kept images hold {wrong!r}" + (f" and not {right!r}" if right else ""),
                    "score": float(len(blamed)),
                    "evidence": {"by": "words", "failures": [n for case in blamed for n in case.failures]},
                    "examples": named(described[:EXAMPLES]),
                    "ids": ids_of(described),
                    "wrong": wrong,
                    "right": right,
                }
            )
    return proposals


def missing(run: Run, grouped: Sequence[Case], index: FullText, allowed: NDArray[np.bool_], want: int) -> list[Proposal]:
    """Return one proposal for every prompt whose words fewer than `want` kept images hold, the least covered first."""
    proposals = []
    for case in grouped:
        if case.ok or not case.prompt or not any(letter.isalnum() for letter in case.prompt):
            continue
        hits = hits_of(index, case.prompt, allowed, 5 * want)
        frequencies = index.frequencies(case.prompt)
        weights = term_weights(frequencies, len(index))
        shares = coverage(weights=weights, held=index.holding(case.prompt, among=hits), rows=hits)
        covered = sum(share >= COVERED for share in shares)
        if covered >= want:
            continue
        best = [row for _, row in sorted(zip([-share for share in shares], hits, strict=True))][:EXAMPLES]
        few = min(want, 0.1 * len(index))  # in a small collection every word is held by few, articles too
        rare = sorted((often, term) for term, often in frequencies.items() if often < few)
        proposals.append(
            {
                "action": "fetch",
                "target": {"kind": "prompt", "images": covered},
                "reason": f"{covered} kept images hold {COVERED:.0%} of what the prompt says; {want} are wanted",
                "score": rounded(1 - max(shares, default=0.0)),
                "evidence": {
                    "by": "words",
                    "failures": list(case.failures),
                    "best_coverage": rounded(max(shares, default=0.0)),
                    "rare_terms": {term: often for often, term in rare[:12]},
                },
                "examples": named(cards_of(run, best)),
                "queries": by_language([case.prompt]),
                "images_to_fetch": want - covered,
            }
        )
    return sorted(proposals, key=lambda one: -one["score"])


def hits_of(index: FullText, prompt: str, allowed: NDArray[np.bool_], k: int) -> list[int]:
    """Return the rows of the best `k` images for a prompt; a prompt without a letter finds nothing."""
    try:
        return [hit.row for hit in index.search(prompt, limit=k, allowed=allowed)]
    except ConfigError:
        return []
