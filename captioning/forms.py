"""Surface forms: every text that names an entity, and how often as a link.

Names come from four places: titles and redirects, a title without its qualifier in brackets, Chinese titles by language links,
and the texts of links. They are grouped by ranges of the text, cut at quantiles of the titles, so that the whole table comes out
sorted although no worker sees more than one range.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from captioning.string_keys import string_keys
from curation.schema import FORMS

ORIGINS = ("title", "redirect", "langlink", "anchor")
"""Values of ANCHORS.origin, the strongest first."""
SAMPLED_PER_RANGE = 64
"""Titles that are looked at per range to find where to cut."""
MAX_FORM_CHARACTERS = 200
_QUALIFIED = re.compile(r"^(.+?)\s*[(（][^()（）]+[)）]$")

Integers = NDArray[np.int64]


def shown_forms(pages: pa.Table, entities: Integers, *, language: str) -> pa.Table:
    """Return the forms of a part's links; entities: (links,) what the links' targets mean, -1 for nothing."""
    flat = pages.column("links").combine_chunks().flatten()
    known = pa.array(entities >= 0)
    text = flat.field("shown").filter(known)
    rows = _rows(text, language, entities[entities >= 0], "anchor", flat.field("count").filter(known).cast(pa.int64()))
    return merged([rows])


def title_forms(titles: pa.Table, num_articles: int, *, language: str) -> pa.Table:
    """Return the forms of TITLES rows: themselves, and for articles the title without its qualifier in brackets."""
    origin = pc.if_else(pc.equal(titles.column("origin"), "redirect"), "redirect", "title").combine_chunks()
    entity = titles.column("entity").to_numpy()
    text = titles.column("title").combine_chunks()
    own = _rows(text, _languages(text, language), entity, origin)
    stripped = [_QUALIFIED.sub(r"\1", title) for title in titles.column("title").to_pylist()]
    qualified = np.array([len(a) for a in stripped]) < pc.utf8_length(titles.column("title")).to_numpy()
    qualified &= entity < num_articles
    base = _rows(pa.array(stripped, pa.string()).filter(pa.array(qualified)), language, entity[qualified], "anchor")
    return merged([own, base])


def chinese_forms(titles_zh: pa.Array, entities: Integers) -> pa.Table:
    """Return the forms of Chinese titles; rows without a title or an entity give none."""
    known = pc.and_(pa.array(entities >= 0), titles_zh.is_valid())
    found, entity = titles_zh.filter(known), entities[np.asarray(known.to_numpy(zero_copy_only=False), bool)]
    base = pa.array([_QUALIFIED.sub(r"\1", title) for title in found.to_pylist()], pa.string())
    different = pc.not_equal(base, found)
    bare = _rows(base.filter(different), "zh", entity[np.asarray(different.to_numpy(zero_copy_only=False), bool)], "anchor")
    return merged([_rows(found, "zh", entity, "langlink"), bare])


def _languages(texts: pa.Array, language: str) -> pa.Array:
    """Return the language of titles: Chinese characters in a wiki of another script are Chinese names, as some redirects are."""
    if language in ("zh", "ja", "ko"):
        return pa.array([language] * len(texts), pa.string())
    return pc.if_else(pc.match_substring_regex(texts, r"^[\x{3400}-\x{9fff}]+$"), "zh", language)


def _rows(
    text: pa.Array, language: str | pa.Array, entity: Integers, origin: str | pa.Array, links: pa.Array | None = None
) -> pa.Table:
    count = len(text)
    columns = [
        text.cast(pa.string()),
        pa.array([language] * count, pa.string()) if isinstance(language, str) else language,
        pa.array(entity, pa.int64()),
        pa.array([origin] * count, pa.string()) if isinstance(origin, str) else origin,
        pa.array(np.zeros(count, np.int64)) if links is None else links,
    ]
    return pa.Table.from_arrays(columns, schema=FORMS)


def merged(tables: Sequence[pa.Table]) -> pa.Table:
    """Return FORMS with one row per text, language and entity, sorted by them: links summed, the strongest origin kept."""
    rows = pa.concat_tables(tables)
    length = pc.utf8_length(rows.column("text"))
    rows = rows.filter(pc.and_(pc.greater(length, 0), pc.less_equal(length, MAX_FORM_CHARACTERS)))
    rank = pc.index_in(rows.column("origin"), pa.array(ORIGINS))
    rows = rows.set_column(3, "rank", rank.combine_chunks() if isinstance(rank, pa.ChunkedArray) else rank)
    grouped = rows.group_by(["text", "language", "entity"], use_threads=False).aggregate([("rank", "min"), ("links", "sum")])
    grouped = grouped.sort_by([("text", "ascending"), ("language", "ascending"), ("entity", "ascending")])
    origin = pa.array(ORIGINS).take(grouped.column("rank_min").combine_chunks())
    columns = [grouped.column("text"), grouped.column("language"), grouped.column("entity"), origin, grouped.column("links_sum")]
    return pa.Table.from_arrays([column.cast(field.type) for column, field in zip(columns, FORMS, strict=True)], schema=FORMS)


def range_starts(titles: pa.ChunkedArray, *, rows_per_range: int) -> list[str]:
    """Return the texts at which the ranges of forms begin, without the first; a function of the set of titles alone."""
    count = -(-len(titles) // rows_per_range)
    if count < 2:
        return []
    keys = string_keys(titles)
    sample = np.sort(np.argpartition(keys, min(len(keys), SAMPLED_PER_RANGE * count) - 1)[: SAMPLED_PER_RANGE * count])
    names = sorted(set(titles.take(pa.array(sample)).to_pylist()))
    return sorted({names[len(names) * number // count] for number in range(1, count)})


def cut(rows: pa.Table, starts: Sequence[str]) -> list[pa.Table]:
    """Return sorted FORMS cut into ranges, one more than there are starts."""
    text = rows.column("text").combine_chunks()
    ends = [0, *(bisect_left(_Texts(text), start) for start in starts), len(text)]
    return [rows.slice(begin, end - begin) for begin, end in pairwise(ends)]


class _Texts(Sequence[str]):
    """A sorted Arrow array as bisect wants it."""

    def __init__(self, texts: pa.Array) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return str(self._texts[index].as_py())
