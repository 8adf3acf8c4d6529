"""Texts to the entities that they name: matching, candidates, context and the decision, for many samples at a time.

A sample is what is read together, such as all the texts of one image: its names explain each other.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from captioning.dictionary import Dictionary, Matches
from captioning.disambiguation import Candidates, Context, Flags, Floats, candidates, coherence, longest
from captioning.linking_model import accept_evidence, probability, rank_evidence, ranked
from captioning.profiles import KINDS, Profiles
from captioning.surface import Integers, Tokens, tokens

LINKABLE = ("article", "outside")
"""Kinds of entities that a name is linked to; a disambiguation page, a list or a year is nothing that a picture shows."""
MIN_LETTERS = 3
"""Letters that a single word without statistics needs to be a name."""
Span = tuple[int, int, int]  # number of a text, first character, behind the last


class Linked(NamedTuple):
    """The names found, and what each may stand for."""

    text: Integers  # (names,) number of the text
    start: Integers  # (names,) characters in it
    end: Integers
    rows: Candidates  # `span` is the name's number
    context: Context
    share: Floats  # (candidates,) of its name's belief
    best: Integers  # rows of the best candidates, one for each name that has any
    evidence: Floats  # of the best, (best, ACCEPT)
    score: Floats  # (best,) probability that it is right


def link(
    texts: Sequence[str],
    sample: Integers,
    dictionary: Dictionary,
    profiles: Profiles,
    *,
    min_link_probability: float = 0.03,
    given: Iterable[Span] | None = None,
    kinds: Sequence[str] = LINKABLE,
) -> Linked:
    """Return the names in `texts` and the entities that they may stand for.

    sample: of each text, the sample it belongs to. min_link_probability: names that are links more rarely where they occur are
    words like any other. given: spans that are names whatever their statistics, and come before others.
    """
    found = tokens(texts)
    matches = dictionary.matches(found, min_rate=min_link_probability if given is None else 0.0)
    uncased = np.array([not _cased(text) for text in texts], np.bool_)[found.text[matches.first]]
    rows = _linkable(candidates(dictionary.postings(found, matches), len(matches.first), uncased=uncased), profiles, kinds)
    forced = _forced(found, matches, given)
    worth = np.zeros(len(matches.first))
    worth[rows.span] = np.where(rows.unseen & ~_telling(found, matches)[rows.span], 0.0, rows.link_probability)
    useful = np.flatnonzero((forced & (worth > 0)) | (worth >= min_link_probability))
    spans = Matches._make(column[useful] for column in matches)
    chosen = _given_first(spans, worth[useful], forced[useful])
    spans, kept = Matches._make(column[chosen] for column in spans), useful[chosen]
    return _decided(found, spans, _renumbered(rows, kept), sample, profiles)


def _decided(found: Tokens, spans: Matches, rows: Candidates, sample: Integers, profiles: Profiles) -> Linked:
    text = found.text[spans.first]
    of = sample[text[rows.span]]
    related, strongest = coherence(rows, of, spans.key[rows.span], profiles)
    own = np.repeat(np.arange(len(rows.span)), spans.size[rows.span])
    first = np.cumsum(spans.size[rows.span]) - spans.size[rows.span]
    token = np.arange(len(own)) - first[own] + spans.first[rows.span][own]
    words = found.folded.astype(np.uint32)
    similarity = profiles.similar(rows.entity, of, (sample[found.text], words), (own, words[token]))
    context = Context(related, strongest, similarity)
    share, best = ranked(rows, rank_evidence(rows, context))
    evidence = accept_evidence(rows, context, share, best, spans.size[rows.span[best]])
    start, end = found.start[spans.first], found.end[spans.first + spans.size - 1]
    return Linked(text, start, end, rows, context, share, best, evidence, probability(evidence))


def _linkable(rows: Candidates, profiles: Profiles, kinds: Sequence[str]) -> Candidates:
    wanted = np.isin(profiles.kind(rows.entity), [KINDS.index(kind) for kind in kinds])
    return Candidates._make(column[wanted] for column in rows)


def _renumbered(rows: Candidates, kept: Integers) -> Candidates:
    """Return the candidates of the spans `kept` (ascending), whose numbers become their places in it."""
    place = np.searchsorted(kept, rows.span)
    here = kept[np.minimum(place, len(kept) - 1)] == rows.span if len(kept) else np.zeros(len(rows.span), np.bool_)
    return Candidates._make(column[here] for column in rows)._replace(span=place[here])


def _telling(found: Tokens, spans: Matches) -> Flags:
    """Say which spans are more than a sign, a number or a short word: two tokens, or one of MIN_LETTERS letters."""
    letters = (found.end - found.start)[spans.first]
    return (spans.size > 1) | ((letters >= MIN_LETTERS) & found.is_word[spans.first])


def _forced(found: Tokens, spans: Matches, given: Iterable[Span] | None) -> Flags:
    asked = set(given or ())
    if not asked:
        return np.zeros(len(spans.first), np.bool_)
    ends = found.end[spans.first + spans.size - 1].tolist()
    places = zip(found.text[spans.first].tolist(), found.start[spans.first].tolist(), ends, strict=True)
    return np.array([place in asked for place in places], np.bool_)


def _given_first(spans: Matches, worth: Floats, forced: Flags) -> Integers:
    """Return what `longest` does, but no span that overlaps a forced one."""
    taken = np.zeros(int((spans.first + spans.size).max(initial=0)) + 1, np.int64)
    np.add.at(taken, spans.first[forced], 1)
    np.add.at(taken, (spans.first + spans.size)[forced], -1)
    before = np.append(0, np.cumsum(np.cumsum(taken) > 0))
    free = before[spans.first + spans.size] == before[spans.first]
    rows = np.flatnonzero(free | forced)
    return rows[longest(Matches._make(column[rows] for column in spans), worth[rows])]


def _cased(text: str) -> bool:
    """Say whether a text has both capitals and small letters, so that their use tells something."""
    return any(letter.islower() for letter in text) and any(letter.isupper() for letter in text)
