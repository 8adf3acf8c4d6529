"""Tags, linked entities and groups of them -> TAXONOMY: one forest of everything that a collection shows.

Entities bring their ancestors from the knowledge base. A tag that spells an entity's title is that entity. What has no parent
then, tags and top entities alike, is grouped by hierarchical k-means on text embeddings. Every concept counts the kept images
that show it or one of its descendants, each image once. The order of images plays no part.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.bags import Bag, fold
from curation.schema import TAXONOMY, conform
from graph.ancestry import levels
from graph.group_names import Member, Namer, group_names
from graph.prompts import prior, prompt_counts
from graph.tag_tree import tag_tree
from graph.words import is_spaceless

Rows = NDArray[np.int64]
Encode = Callable[[Sequence[str]], NDArray[np.float32]]

ReadBags = Callable[[], Iterable[Sequence[Bag]]]
"""Reads what the kept images show, part by part; called twice."""

KINDS = ("cluster", "entity", "tag")


@dataclass(frozen=True)
class Entity:
    """An entity of the knowledge base as the taxonomy sees it; keep and parent as in CONCEPTS."""

    title: str
    title_zh: str | None = None
    parent: int | None = None
    pagerank: float | None = None
    keep: bool = True
    classes: tuple[str, ...] = ()  # what the knowledge base says it is, as graph.hypernyms.class_names


ReadKnowledge = Callable[[Sequence[int]], Mapping[int, Entity]]
"""Looks up rows of ENTITIES."""


@dataclass(frozen=True)
class Concept:
    """A row of TAXONOMY under construction; parent is a position in the same list."""

    name: str
    kind: str
    name_zh: str | None = None
    forms: tuple[str, ...] = ()
    entity: int | None = None
    pagerank: float | None = None
    parent: int = -1
    named_by: str = "source"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grouping:
    """How what has no parent is grouped: the encoder of names, the shape of the tree, and who names the groups."""

    encode: Encode
    branching: int = 8
    max_levels: int = 3
    namer: Namer | None = None
    named_by: str = "model"


def taxonomy(
    *,
    shown: ReadBags,
    knowledge: ReadKnowledge | None = None,
    grouping: Grouping | None = None,
    min_images: int = 1,
    prompts: Iterable[tuple[str, int]] | None = None,
    prior_limit: float = 4.0,
) -> pa.Table:
    """Return TAXONOMY; parents stand before their children.

    knowledge: needed when bags name entities; those that the knowledge base pruned are left out. grouping: None leaves what has
    no parent a root. min_images: terms that fewer kept images show are left out. prompts: text and times it was asked.
    """
    found: Counter[str | int] = Counter()
    for part in shown():
        for bag in part:
            found.update(bag.keys())
    wanted = [term for term, images in found.items() if images >= min_images]
    concepts = _entities([term for term in wanted if isinstance(term, int)], knowledge)
    concepts = _with_tags(concepts, sorted(term for term in wanted if isinstance(term, str)), found)
    concepts = _in_order(concepts if grouping is None else _grouped(concepts, grouping, found))
    return _table(concepts, shown, prompts, prior_limit)


def _entities(named: Sequence[int], knowledge: ReadKnowledge | None) -> list[Concept]:
    """Return the entities and their ancestors, by row."""
    known: dict[int, Entity] = {}
    missing = sorted(set(named))
    while missing and knowledge is not None:
        known |= knowledge(missing)
        missing = sorted({e.parent for e in known.values() if e.keep and e.parent is not None} - known.keys())
    kept = sorted(row for row, entity in known.items() if entity.keep)
    place = {row: position for position, row in enumerate(kept)}
    return [
        Concept(
            name=known[row].title,
            name_zh=known[row].title_zh,
            kind="entity",
            entity=row,
            pagerank=known[row].pagerank,
            classes=known[row].classes,
            parent=-1 if known[row].parent is None else place.get(known[row].parent, -1),  # type: ignore[arg-type]
        )
        for row in kept
    ]


_QUALIFIER = re.compile(r"\s*[(\uff08][^()\uff08\uff09]*[)\uff09]$")


def _with_tags(concepts: list[Concept], tags: Sequence[str], found: Mapping[str | int, int]) -> list[Concept]:
    """Return the concepts with every tag: as a form of the entity whose title it spells, or as a concept of its own."""

    def standing(place: int) -> tuple[int, float, int]:
        one = concepts[place]
        assert one.entity is not None
        return (-found.get(one.entity, 0), -(one.pagerank or 0.0), one.entity)

    spelled: dict[str, int] = {}
    for place in sorted(range(len(concepts)), key=standing):
        for title in filter(None, (concepts[place].name, concepts[place].name_zh)):
            for form in (fold(title), fold(_QUALIFIER.sub("", title))):
                spelled.setdefault(form, place)
    forms: dict[int, list[str]] = {}
    own = []
    for tag in tags:
        if tag in spelled:
            forms.setdefault(spelled[tag], []).append(tag)
        else:
            own.append(Concept(name=tag, name_zh=tag if is_spaceless(tag) else None, kind="tag", forms=(tag,)))
    return [replace(one, forms=tuple(forms.get(place, ()))) for place, one in enumerate(concepts)] + own


def _grouped(concepts: list[Concept], grouping: Grouping, found: Mapping[str | int, int]) -> list[Concept]:
    """Return the concepts with groups above those that have no parent; found: images that show each term itself."""
    roots = sorted((place for place, one in enumerate(concepts) if one.parent < 0), key=lambda place: _key(concepts[place]))
    if len(roots) <= grouping.branching:
        return concepts
    vectors = grouping.encode([concepts[place].name for place in roots])
    tree = tag_tree(vectors, branching=grouping.branching, max_levels=grouping.max_levels)
    members = _members(concepts, roots, found)
    names = group_names(tree, members, namer=grouping.namer, named_by=grouping.named_by)
    place_of = [*roots, *range(len(concepts), len(concepts) + len(names))]
    grown = [
        *concepts,
        *(Concept(name=one.name, name_zh=one.member.name_zh, kind="cluster", named_by=one.by) for one in names),
    ]
    for node, above in enumerate(tree.parent.tolist()):
        if above >= 0:
            grown[place_of[node]] = replace(grown[place_of[node]], parent=place_of[above])
    return grown


def _members(concepts: Sequence[Concept], roots: Sequence[int], found: Mapping[str | int, int]) -> list[Member]:
    """Return the roots as members of groups, with the images of themselves and of what hangs under them, counted apart."""
    images = [found.get(one.entity, 0) if one.entity is not None else 0 for one in concepts]
    images = [own + sum(found.get(form, 0) for form in one.forms) for own, one in zip(images, concepts, strict=True)]
    above = [one.parent for one in concepts]
    total = Counter[int]()
    for place, own in enumerate(images):
        while above[place] >= 0:
            place = above[place]
        total[place] += own
    return [Member(concepts[place].name, concepts[place].name_zh, total[place], concepts[place].classes) for place in roots]


def _key(one: Concept) -> tuple[str, int, int]:
    return (one.name, KINDS.index(one.kind), -1 if one.entity is None else one.entity)


def _in_order(concepts: list[Concept]) -> list[Concept]:
    """Return the concepts by level, then kind, then name, with their parents renumbered."""
    depth = levels(np.array([one.parent for one in concepts], np.int64)).tolist()
    order = sorted(
        range(len(concepts)), key=lambda place: (depth[place], KINDS.index(concepts[place].kind), _key(concepts[place]), place)
    )
    number = {place: position for position, place in enumerate(order)} | {-1: -1}
    return [replace(concepts[place], parent=number[concepts[place].parent]) for place in order]


def _table(
    concepts: Sequence[Concept], shown: ReadBags, prompts: Iterable[tuple[str, int]] | None, prior_limit: float
) -> pa.Table:
    parent = np.array([one.parent for one in concepts], np.int64)
    forms = {form: place for place, one in enumerate(concepts) for form in one.forms}
    own, images = _counts(shown, forms | {one.entity: i for i, one in enumerate(concepts) if one.entity is not None}, parent)
    asked = np.ones(len(concepts))
    if prompts is not None:
        titles = {fold(one.name): place for place, one in enumerate(concepts) if one.kind == "entity"}
        titles |= {fold(one.name_zh): place for place, one in enumerate(concepts) if one.kind == "entity" and one.name_zh}
        asked = prior(prompt_counts(prompts, titles | forms, parent.tolist()), limit=prior_limit)
    columns = {
        name: [getattr(one, name) for one in concepts]
        for name in ("name", "name_zh", "kind", "forms", "entity", "named_by", "pagerank")
    }
    table = pa.table(
        {name: pa.array(values, TAXONOMY.field(name).type) for name, values in columns.items()}
        | {
            "concept": np.arange(len(concepts)),
            "parent": pa.array(parent, pa.int64(), mask=parent < 0),
            "level": pa.array(levels(parent), pa.int16()),
            "own": own,
            "images": images,
            "prior": asked,
        }
    )
    return conform(table.select(TAXONOMY.names), TAXONOMY)


def _counts(shown: ReadBags, concept_of: Mapping[str | int, int], parent: Rows) -> tuple[Rows, Rows]:
    """Return how many images show each concept itself, and how many it or a descendant."""
    own, images = np.zeros(len(parent), np.int64), np.zeros(len(parent), np.int64)
    above = parent.tolist()
    for part in shown():
        for bag in part:
            direct = {concept_of[term] for term in bag if term in concept_of}
            own[list(direct)] += 1
            images[list(_with_ancestors(direct, above))] += 1
    return own, images


def _with_ancestors(concepts: Iterable[int], above: Sequence[int]) -> Iterator[int]:
    seen: set[int] = set()
    for concept in concepts:
        while concept >= 0 and concept not in seen:
            seen.add(concept)
            yield concept
            concept = above[concept]
