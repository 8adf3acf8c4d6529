"""What the lines of proposals.jsonl have in common, whatever they propose."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graph.words import is_spaceless

Proposal = dict[str, Any]
"""One line of proposals.jsonl."""

EXAMPLES = 8
"""Images named and shown per proposal."""

MAX_IDS = 200
"""Images of one proposal; a region is not dropped whole."""


def by_language(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return texts by language, as far as their script tells: zh or en."""
    found: dict[str, list[str]] = {}
    for text in dict.fromkeys(texts):
        found.setdefault("zh" if is_spaceless(text) else "en", []).append(text)
    return found


def ids_of(described: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the distinct ids of cards, in order."""
    return list(dict.fromkeys(card["id"] for card in described))


def rounded(value: float) -> float | None:
    """Return a number with six digits, for JSON; None when it is not finite."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
