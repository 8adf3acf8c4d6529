"""ENTITIES: what PAGES, the language links and the links say of every entity, one row each, in the order of the numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from captioning.page_kinds import OUTSIDE
from curation.schema import ENTITIES

Integers = NDArray[np.int64]
MEANINGS = pa.schema(
    [
        ("entity", pa.int64()),
        ("title_zh", pa.string()),
        ("wikidata", pa.string()),
        ("description", pa.string()),
        ("classes", pa.list_(pa.string())),
    ]
)
"""LANGUAGES with entities for pages, each entity once, sorted."""
COMPLETED = ("title_zh", "wikidata", "description")
"""Columns that the language links fill where the page itself says nothing."""


def meanings(languages: pa.Table, entities: Integers) -> pa.Table:
    """Return MEANINGS of LANGUAGES rows whose entities are given (-1: none); of several rows of an entity the first counts."""
    kept = np.flatnonzero(entities >= 0)
    unique, first = np.unique(entities[kept], return_index=True)
    rows = languages.take(pa.array(kept[first])).set_column(0, "entity", pa.array(unique))
    return rows.select(MEANINGS.names).cast(MEANINGS)


def articles(pages: pa.Table, owned: Integers, *, first: int, links_in: Integers, known: pa.Table) -> pa.Table:
    """Return ENTITIES of a part's articles.

    owned: rows of the part that are entities, in order; the first of them has number `first`.
    links_in: (entities,) for all of them. known: the part's rows of MEANINGS.
    """
    rows = pages.take(pa.array(owned))
    columns = {name: rows.column(name).combine_chunks() for name in ENTITIES.names if name in rows.column_names}
    where = pc.index_in(pa.array(np.arange(first, first + len(owned))), known.column("entity").combine_chunks())
    for name in COMPLETED:
        columns[name] = pc.coalesce(columns[name], known.column(name).combine_chunks().take(where))
    columns["classes"] = known.column("classes").combine_chunks().take(where)
    columns["links_in"] = pa.array(links_in[first : first + len(owned)])
    return pa.Table.from_arrays([columns[name].cast(ENTITIES.field(name).type) for name in ENTITIES.names], schema=ENTITIES)


def outside(titles: pa.Table, *, links_in: Integers, known: pa.Table) -> pa.Table:
    """Return ENTITIES of TITLES rows that are only linked to: their titles, and what the language links say."""
    entity = titles.column("entity").combine_chunks()
    count = titles.num_rows
    where = pc.index_in(entity, known.column("entity").combine_chunks())
    columns = {name: pa.nulls(count, ENTITIES.field(name).type) for name in ENTITIES.names}
    columns |= {name: known.column(name).combine_chunks().take(where) for name in (*COMPLETED, "classes")}
    columns["title"] = titles.column("title").combine_chunks()
    columns["kind"] = pa.array([OUTSIDE] * count, pa.string())
    columns["links_in"] = pa.array(links_in[entity.to_numpy()])
    return pa.Table.from_arrays([columns[name] for name in ENTITIES.names], schema=ENTITIES)
