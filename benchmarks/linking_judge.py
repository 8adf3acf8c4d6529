"""What linking says of every mention of the benchmark's articles, with a knowledge base that was built without them.

Each mention is judged as it is, and after a second look by the meaning of texts (captioning/rerank.py).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.linking_set import Article, articles, build_without, fold, windows
from captioning.dictionary import changes
from captioning.knowledge import Knowledge
from captioning.linking import Linked
from captioning.linking_model import ACCEPT, RANK, rank_evidence
from captioning.profiles import KINDS
from captioning.rerank import WEIGHTS, reranked, text_similarity
from curation.tables import Run

EVERY_KIND = tuple(kind for kind in KINDS if kind != "disambiguation")
Floats = NDArray[np.float64]
Encode = Callable[[list[str]], Any]


class Judged(NamedTuple):
    """One mention with what was said of it; titles are None for NIL."""

    article: str
    offset: int
    surface: str
    target: str
    window: str
    candidates: tuple[str, ...]  # the commonest first
    commonness: float  # of the first
    answer: str | None  # the best by our evidence
    score: float
    rank: Floats  # (candidates, RANK)
    accept: Floats  # (ACCEPT,)
    share: Floats  # (candidates,) by RANK
    similarity: Floats  # (candidates,) cosine of description and text, 0 for a single candidate
    second_answer: str | None  # the best after the second look
    second_score: float

    @property
    def known(self) -> bool:
        """Say whether the target is among the candidates."""
        return self.target in self.candidates

    @property
    def truth(self) -> str | None:
        """Return the right answer: the target, or NIL when the knowledge base does not have it under this name."""
        return self.target if self.known else None


class Detected(NamedTuple):
    """What is found in a window of an article without being told where names are, and what the article links to."""

    article: str
    found: list[tuple[int, int, str, float]]  # start, end, title, score
    anchors: list[tuple[int, int, str]]
    linked: frozenset[str]  # targets of the whole article


class Remembering:
    """An encoder of texts with a memory, kept in a folder: every split meets the same texts, and so does another run."""

    def __init__(self, encode: Encode, folder: Path) -> None:
        self._encode, self._texts, self._vectors = encode, folder / "texts.json", folder / "vectors.npy"
        self._known: dict[str, Any] = {}
        if self._texts.exists():
            self._known = dict(zip(json.loads(self._texts.read_text()), np.load(self._vectors), strict=True))

    def __call__(self, texts: list[str]) -> Any:
        """Return the vectors of texts, in their order."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(fresh, self._encode(fresh), strict=True))
        return np.stack([self._known[text] for text in texts]) if texts else self._encode(texts)

    def save(self) -> None:
        """Write what is known into the folder."""
        np.save(self._vectors, np.stack(list(self._known.values())))
        self._texts.write_text(json.dumps(list(self._known)))


def judge(split: int, number: int, folder: Path, encode: Encode) -> tuple[list[Judged], list[Detected]]:
    """Return every mention of the articles of a fold as judged with a knowledge base without them, built in `folder`.

    encode: texts to unit vectors, for the second look.
    """
    left_out = [article for article in articles() if fold(article.title, split) == number]
    base = folder / f"{split}-{number}" / "kb"
    if not Run(base).has("entities"):
        base = build_without({article.title for article in left_out}, base.parent)
    knowledge, titles = Knowledge(base), Run(base).read("entities", ["title"])["title"].to_pylist()
    judged = [each for article in left_out for each in _given(article, knowledge, titles, encode)]
    return judged, [each for article in left_out for each in _detected(article, knowledge, titles)]


def _given(article: Article, knowledge: Knowledge, titles: Sequence[str], encode: Encode) -> list[Judged]:
    found = windows(article)
    spans = {(n, start, start + len(m.surface)): m for n, (_, inside) in enumerate(found) for start, m in inside}
    texts = [text for text, _ in found]
    linked = knowledge.link(texts, np.arange(len(texts)), given=list(spans), kinds=EVERY_KIND)
    told = knowledge.told(linked.rows.entity.tolist())
    similarity = text_similarity(linked, texts, np.arange(len(texts)), told, encode)
    again = reranked(linked, similarity, weight=WEIGHTS["text"])
    evidence = rank_evidence(linked.rows, linked.context)
    first = np.append(np.flatnonzero(changes(linked.rows.span)), len(linked.rows.span))
    made = {}
    for place, best in enumerate(linked.best.tolist()):
        name = linked.rows.span[best]
        key = (int(linked.text[name]), int(linked.start[name]), int(linked.end[name]))
        rows = slice(first[place], first[place + 1])
        made[key] = (
            tuple(titles[entity] for entity in linked.rows.entity[rows]),
            float(linked.rows.commonness[rows][0]),
            titles[linked.rows.entity[best]],
            float(linked.score[place]),
            evidence[rows],
            linked.evidence[place],
            linked.share[rows],
            similarity[rows],
            titles[again.rows.entity[again.best[place]]],
            float(again.score[place]),
        )
    nothing: tuple[Any, ...] = (
        *((), 0.0, None, 0.0, np.zeros((0, len(RANK))), np.zeros(len(ACCEPT))),
        *(np.zeros(0), np.zeros(0), None, 0.0),
    )
    return [
        Judged(article.title, mention.offset, mention.surface, mention.target, texts[key[0]], *made.get(key, nothing))
        for key, mention in spans.items()
    ]


def _detected(article: Article, knowledge: Knowledge, titles: Sequence[str]) -> list[Detected]:
    found = windows(article)
    texts = [text for text, _ in found]
    linked = knowledge.link(texts, np.arange(len(texts)), kinds=EVERY_KIND)
    targets = frozenset(mention.target for mention in article.mentions)
    return [
        Detected(
            article.title,
            [found for number, *found in _answers(linked, titles) if number == n],  # type: ignore[misc]
            [(start, start + len(m.surface), m.target) for start, m in inside],
            targets,
        )
        for n, (_, inside) in enumerate(found)
    ]


def _answers(linked: Linked, titles: Sequence[str]) -> list[tuple[int, int, int, str, float]]:
    spans = linked.rows.span[linked.best]
    columns = (linked.text[spans].tolist(), linked.start[spans].tolist(), linked.end[spans].tolist())
    entities = [titles[entity] for entity in linked.rows.entity[linked.best]]
    return list(zip(*columns, entities, linked.score.tolist(), strict=True))
