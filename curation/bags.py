"""What every image shows, as a bag of terms, and as a bag of concepts of TAXONOMY.

A term is a folded tag (str) or a row of ENTITIES (int); it counts once for each source that names it: the tagger, the caption
of level `tags`, every linked mention. The stage `concepts` builds the forest from these bags and the balance weighs images by
them, so both must read an image alike: this is the one place that does.
"""

import functools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

Term = str | int
Bag = Counter[Term]
"""Times each term is named of one image."""

_BETWEEN_TAGS = re.compile(r"[,;\n\uff0c\uff1b\u3001]")
_BLANK = re.compile(r"[\s_]+")
_MAX_CHARACTERS = 100
"""A longer piece of a tag list is a sentence, not a tag."""


@functools.lru_cache(maxsize=1 << 18)
def fold(tag: str) -> str:
    """Return the one spelling of a tag: NFKC, lower case, single blanks, no outer punctuation; empty when no letter is left."""
    text = _BLANK.sub(" ", unicodedata.normalize("NFKC", tag).casefold()).strip()
    while text and not text[0].isalnum():
        text = text[1:]
    while text and not (text[-1].isalnum() or unicodedata.category(text[-1])[0] == "M"):
        text = text[:-1]
    return text if len(text) <= _MAX_CHARACTERS else ""


def bags(
    *,
    tags: pa.Table,
    mentions: pa.Table | None = None,
    captions: pa.Table | None = None,
    languages: Sequence[str] = ("en", "zh"),
    min_tag_score: float = 0.0,
    min_mention_score: float = 0.5,
) -> list[Bag]:
    """Return the bag of every row of TAGS; MENTIONS and CAPTIONS are row-aligned with it.

    languages: the caption of level `tags` is read in the first of these that the image has, so that no tag counts in two
    languages. Scores that are null or NaN are below every minimum.
    """
    found = [_labels(row or [], min_tag_score) for row in tags["tags"].to_pylist()]
    if captions is not None:
        for bag, row in zip(found, captions["captions"].to_pylist(), strict=True):
            bag.update(_caption_tags(row or [], languages))
    if mentions is not None:
        for bag, row in zip(found, mentions["mentions"].to_pylist(), strict=True):
            bag.update(int(m["entity"]) for m in row or [] if m["entity"] is not None and _reaches(m["score"], min_mention_score))
    return found


def concept_bags(terms: Sequence[Bag], taxonomy: pa.Table) -> list[Counter[int]]:
    """Return for every bag how often each concept of TAXONOMY is named; terms that no concept stands for are left out."""
    concept_of = lookup(taxonomy)
    found = []
    for bag in terms:
        counted: Counter[int] = Counter()
        for term, times in bag.items():
            if term in concept_of:
                counted[concept_of[term]] += times
        found.append(counted)
    return found


def lookup(taxonomy: pa.Table) -> Mapping[Term, int]:
    """Return the concept that each folded tag and each entity stands for."""
    found: dict[Term, int] = {}
    for row in taxonomy.select(["concept", "forms", "entity"]).to_pylist():
        found.update(dict.fromkeys(row["forms"], row["concept"]))
        if row["entity"] is not None:
            found[row["entity"]] = row["concept"]
    return found


def _labels(row: Sequence[Mapping[str, object]], min_score: float) -> Bag:
    labels = (fold(str(tag["label"])) for tag in row if tag["label"] is not None and _reaches(tag["score"], min_score))
    return Counter(label for label in labels if label)


def _caption_tags(row: Sequence[Mapping[str, object]], languages: Sequence[str]) -> set[str]:
    texts = {str(c["language"]): str(c["text"] or "") for c in reversed(row) if c["level"] == "tags"}
    text = next((texts[language] for language in languages if texts.get(language)), "")
    return {tag for tag in map(fold, _BETWEEN_TAGS.split(text)) if tag}


def _reaches(score: object, least: float) -> bool:
    return isinstance(score, float | int) and not math.isnan(score) and score >= least
