"""Which of two copies is the better one: an order over images by criteria that the user lists.

Enters: IMAGES, with METRICS and SCORES where a criterion needs them. Leaves: a place for every row. Sizes alone would prefer an
enlarged copy to its original, so resolution counts only what holds detail, in steps of a factor of two: what lies between is
within the error of that measurement, and the next criterion decides.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.errors import ConfigError

Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]
Tables = Mapping[str, pa.Table | None]

FRAME = 0.02
"""Least share of a picture's width or height that a border on either side takes up."""


def preference(
    *,
    images: pa.Table,
    metrics: pa.Table | None = None,
    scores: pa.Table | None = None,
    keeper: Sequence[str],
    source_priority: Sequence[str] = (),
    some: bool = False,
) -> Rows:
    """Return the place of every row in the order of preference, (N,), 0 the best; no two rows share a place.

    keeper: names of CRITERIA, the first decides. source_priority: values of IMAGES.group, most trusted first. Last come the
    id and the row, so that the order of the rows matters only between files of the same bytes. some: the rows are some of a
    collection, so a column that none of them fills is no error.
    Raises ConfigError for an unknown criterion, and for one whose table or column is not there.
    """
    check(keeper)
    tables: Tables = {"images": images, "metrics": metrics, "scores": scores}
    columns = [-_source(images, source_priority) if name == "source" else -_measured(name, tables, some) for name in keeper]
    ids = images["id"].combine_chunks().dictionary_encode()
    place = np.empty(len(ids.dictionary), np.int64)
    place[pc.sort_indices(ids.dictionary).to_numpy()] = np.arange(len(ids.dictionary))
    order = np.lexsort((np.arange(len(images)), place[ids.indices.to_numpy()], *reversed(columns)))
    rank = np.empty(len(images), np.int64)
    rank[order] = np.arange(len(images))
    return rank


def check(keeper: Sequence[str]) -> None:
    """Raise ConfigError for the first name that is no criterion."""
    for name in keeper:
        if name not in CRITERIA:
            raise ConfigError(f"duplicates.keeper: unknown criterion {name!r}; possible: {', '.join(sorted(CRITERIA))}")


def tables_of(keeper: Sequence[str]) -> set[str]:
    """Return the tables that the criteria read; raises ConfigError for an unknown one."""
    check(keeper)
    return {table for name in keeper for table, _ in _NEEDS.get(name, ())}


def needs(keeper: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return criterion, table and column of everything without which a criterion says nothing."""
    check(keeper)
    return [(name, table, column) for name in keeper for table, column in _NEEDS.get(name, ())]


def refuse_unmeasured(name: str, table: str, column: str) -> ConfigError:
    """Return the error of a criterion whose column holds nothing for any image."""
    return ConfigError(f"duplicates.keeper: {name!r} needs {table}.{column}, but no image has one; configure its judge")


def _measured(name: str, tables: Tables, some: bool) -> Numbers:
    for table, column in _NEEDS.get(name, ()):
        there = tables[table]
        if there is None or column not in there.column_names:
            raise ConfigError(
                f"duplicates.keeper: {name!r} needs {table}.{column}; leave it out or run the stage that measures it"
            )
        if not some and there.num_rows and there[column].null_count == there.num_rows:
            raise refuse_unmeasured(name, table, column)
    return CRITERIA[name](tables)


def _column(tables: Tables, table: str, column: str) -> Numbers:
    found = tables[table]
    if found is None or column not in found.column_names:
        return np.zeros(0)
    return np.asarray(np.nan_to_num(found[column].cast(pa.float64()).to_numpy(), nan=0.0))


def _resolution(tables: Tables) -> Numbers:
    """Return log2 of the pixels inside uniform borders that hold detail, in whole steps; 0 pixels count as 1."""
    sides = [_column(tables, "images", name) for name in ("width", "height")]
    for axis, ends in enumerate((("left", "right"), ("top", "bottom"))):
        for end in ends:
            border = _column(tables, "metrics", f"border_{end}_px")
            sides[axis] = sides[axis] - border if len(border) else sides[axis]
    detail = _column(tables, "metrics", "detail")
    pixels = np.maximum(sides[0], 0) * np.maximum(sides[1], 0) * (np.where(detail > 0, detail, 1) ** 2 if len(detail) else 1)
    return np.asarray(np.floor(np.log2(np.maximum(pixels, 1)) + 0.5))


def _bits(tables: Tables) -> Numbers:
    pixels = _column(tables, "images", "width") * _column(tables, "images", "height")
    return np.asarray(np.round(_column(tables, "images", "length") * 8 / np.maximum(pixels, 1), 4))


def _borders(tables: Tables) -> Numbers:
    """Return 0 for a picture without a frame, -1 where two opposite sides are one-coloured by FRAME of its size, -2 for four.

    A border on one side alone is often sky or a wall, and nobody's frame.
    """
    framed = np.zeros(len(_column(tables, "metrics", "border_left_px")))
    for length, sides in (("width", ("left", "right")), ("height", ("top", "bottom"))):
        least = np.maximum(FRAME * _column(tables, "images", length), 1)
        framed += np.logical_and(*(_column(tables, "metrics", f"border_{side}_px") >= least for side in sides))
    return -framed


def _caption(tables: Tables) -> Numbers:
    images = tables["images"]
    assert images is not None
    trimmed = pc.utf8_trim_whitespace(pc.fill_null(images["caption"], ""))
    return np.asarray(pc.greater(pc.utf8_length(trimmed), 0).to_numpy(), np.float64)


def _source(images: pa.Table, priority: Sequence[str]) -> Numbers:
    place = pc.fill_null(pc.index_in(images["group"], value_set=pa.array(list(priority), pa.string())), len(priority))
    return np.asarray(-place.to_numpy(), np.float64)


def _rounded(table: str, column: str, sign: int = 1) -> Callable[[Tables], Numbers]:
    return lambda tables: np.asarray(sign * np.round(_column(tables, table, column), 6))


CRITERIA: dict[str, Callable[[Tables], Numbers]] = {
    "resolution": _resolution,
    "pixels": lambda tables: _column(tables, "images", "width") * _column(tables, "images", "height"),
    "bits": _bits,
    "sharpness": _rounded("metrics", "sharpness"),
    "borders": _borders,
    "caption": _caption,
    "source": lambda tables: np.zeros(0),
    "watermark": _rounded("scores", "watermark", -1),
    "aesthetics": _rounded("scores", "aesthetics"),
}
"""What a keeper can be chosen by, the more the better: resolution (pixels inside uniform borders that hold detail, in steps of
two), pixels (width times height), bits (encoded bits per pixel: less compressed), sharpness, borders (no frame rather than one),
caption (the source has one), source (place of the sub-collection in `source_priority`), watermark (the less probable the
better), aesthetics."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "images": ("id", "uri", "group", "caption", "width", "height", "length"),
    "metrics": ("detail", "sharpness", *(f"border_{side}_px" for side in ("left", "right", "top", "bottom"))),
    "scores": ("watermark", "aesthetics"),
}
"""Columns that criteria read, by table, and what else DUPLICATES says of an image."""

_NEEDS: dict[str, tuple[tuple[str, str], ...]] = {
    "resolution": (("metrics", "detail"),),
    "sharpness": (("metrics", "sharpness"),),
    "borders": (("metrics", "border_left_px"),),
    "watermark": (("scores", "watermark"),),
    "aesthetics": (("scores", "aesthetics"),),
}
"""Columns without which a criterion says nothing."""
