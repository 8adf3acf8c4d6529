"""How often concepts are asked for: user prompts matched against the spellings of concepts, and the factor that follows.

A spelling is found where its words stand in a row; every Chinese or Japanese character is a word. A prompt counts once for a
concept, whatever the number of spellings and descendants that it names.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from curation.bags import fold

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_WORDS = 8
"""Longer spellings are not looked for."""

_WORD = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)


def words(text: str) -> tuple[str, ...]:
    """Return the folded words of a text of any length."""
    return tuple(_WORD.findall(" ".join(filter(None, (fold(word) for word in text.split())))))


def prompt_counts(prompts: Iterable[tuple[str, int]], forms: Mapping[str, int], parent: Sequence[int]) -> Rows:
    """Return in how many prompts each concept is named, itself or a descendant; (concepts,).

    prompts: text and times it was asked. forms: folded spelling to concept. parent: of every concept, -1 for a root.
    """
    spelled = {words(form): concept for form, concept in forms.items()}
    spelled.pop((), None)
    counts = np.zeros(len(parent), np.int64)
    for text, times in prompts:
        named: set[int] = set()
        for concept in _found(words(text), spelled):
            while concept >= 0 and concept not in named:
                named.add(concept)
                concept = parent[concept]
        for concept in named:
            counts[concept] += times
    return counts


def jump(counts: Rows) -> Floats:
    """Return where a random reader of the link graph begins anew: half anywhere, half in proportion to what was asked for.

    Haveliwala 2002, https://doi.org/10.1145/511446.511513
    """
    total = int(counts.sum())
    anywhere = np.full(len(counts), 1 / max(1, len(counts)))
    return anywhere if not total else 0.5 * anywhere + 0.5 * counts / total


def _found(said: Sequence[str], spelled: Mapping[tuple[str, ...], int]) -> Iterable[int]:
    for start in range(len(said)):
        for end in range(start + 1, min(start + MOST_WORDS, len(said)) + 1):
            concept = spelled.get(tuple(said[start:end]))
            if concept is not None:
                yield concept


def prior(counts: Rows, *, exponent: float = 0.5, limit: float = 4.0) -> Floats:
    """Return the factor of every concept: ((count + 1) / (mean count + 1)) ^ exponent, at least 1 and at most `limit`.

    Frequent concepts gain and rare ones lose nothing: the long tail is what balancing is for.
    """
    if not len(counts):
        return np.ones(0)
    return np.asarray(np.clip(((counts + 1) / (counts.mean() + 1)) ** exponent, 1.0, limit), np.float64)
