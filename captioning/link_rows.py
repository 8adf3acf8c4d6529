"""LINKS of one part of PAGES: titles become entities, redirects are followed, links of a page to itself are left out."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captioning.string_keys import Keys, find, string_keys
from curation.schema import LINKS

Integers = NDArray[np.int64]


class TitleIndex:
    """What every title means: arrays sorted by the titles' keys, which may lie on disk."""

    def __init__(self, keys: Keys, entities: Integers) -> None:
        self._keys, self._entities = keys, entities

    def find(self, titles: pa.Array | pa.ChunkedArray) -> Integers:
        """Return the entity of every title in normal form, -1 for one that is not known."""
        found = find(self._keys, string_keys(titles))
        if not len(self._entities):
            return found
        return np.where(found >= 0, self._entities[np.maximum(found, 0)], -1)


def title_arrays(titles: pa.Table) -> tuple[Keys, Integers]:
    """Return the arrays of a TitleIndex for TITLES."""
    keys = string_keys(titles.column("title"))
    order = np.argsort(keys, kind="stable")
    return keys[order], titles.column("entity").to_numpy()[order]


def page_entities(pages: pa.Table, index: TitleIndex) -> Integers:
    """Return the entity of every row of PAGES that is an article, -1 for the others."""
    own = index.find(pages.column("title"))
    has_text = pages.column("text").is_valid().combine_chunks().to_numpy(zero_copy_only=False)
    return np.where(has_text, own, -1)


def target_entities(pages: pa.Table, index: TitleIndex) -> Integers:
    """Return what every link of the part leads to, -1 for nothing."""
    return index.find(pages.column("links").combine_chunks().flatten().field("target"))


def link_rows(pages: pa.Table, index: TitleIndex) -> pa.Table:
    """Return LINKS of a part of PAGES, one row per pair, sorted."""
    links = pages.column("links").combine_chunks()
    per_page = np.diff(links.offsets.to_numpy()) if len(links) else np.zeros(0, np.int64)
    source = np.repeat(page_entities(pages, index), per_page)
    target = target_entities(pages, index)
    count = links.flatten().field("count").to_numpy().astype(np.int64)
    kept = (source >= 0) & (target >= 0) & (source != target)
    source, target, count = source[kept], target[kept], count[kept]
    order = np.lexsort((target, source))
    source, target, count = source[order], target[order], count[order]
    first = np.flatnonzero(np.concatenate([[True], (np.diff(source) != 0) | (np.diff(target) != 0)])[: len(source)])
    totals = np.add.reduceat(count, first) if len(first) else count
    columns = [pa.array(source[first]), pa.array(target[first]), pa.array(totals.astype(np.int32))]
    return pa.Table.from_arrays(columns, schema=LINKS)
