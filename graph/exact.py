"""Exact copies: the same bytes, or the same decoded pixels; collapsed before any graph, and counted apart from near copies.

A placeholder that occurs 100,000 times would be five thousand million near pairs; as exact copies it is one image. The pixels
compared are those the profile analysed, with the size of the image: a PNG and a WebP of one picture are the same, a picture
and its enlargement are not.

`exact` looks at a whole collection. One that is larger than memory goes through the same three questions bin by bin: of every
part the `firsts` alone travel, `by_bytes` sees all that share an id, `by_pixels` all that share a pixel hash.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import schema

Rows = NDArray[np.int64]

FIRSTS = pa.schema([("row", pa.int64()), ("id", pa.string()), ("pixel_hash", pa.string())])
HEADS = pa.schema([("row", pa.int64()), ("head", pa.int64()), ("pixel_hash", pa.string())])
"""head: the first usable row of the same bytes; pixel_hash: the head's."""
FOUND = pa.schema([("row", pa.int64()), ("head", pa.int64()), ("representative", pa.int64())])


def exact(*, images: pa.Table, metrics: pa.Table) -> pa.Table:
    """Return EXACT, row-aligned with `images`: which image represents each, and how that was seen.

    images: IMAGES with id and error. metrics: METRICS with pixel_hash; null hashes and failed images equal nothing by pixels,
    and failed images nothing by bytes either.
    """
    return settled(images=images, metrics=metrics, found=by_pixels(by_bytes(firsts(images=images, metrics=metrics))))


def firsts(*, images: pa.Table, metrics: pa.Table, first_row: int = 0) -> pa.Table:
    """Return FIRSTS of one part: of the usable images of the same bytes the first.

    first_row: the global row at which the part begins.
    """
    usable = pc.is_null(images["error"]).to_numpy()
    chosen = np.flatnonzero(usable & (_first(_codes(images["id"]), usable) == np.arange(len(images))))
    columns = {"row": chosen + first_row, "id": images["id"].take(chosen), "pixel_hash": metrics["pixel_hash"].take(chosen)}
    return pa.table(columns).cast(FIRSTS)


def by_bytes(found: pa.Table) -> pa.Table:
    """Return HEADS of all FIRSTS of some ids, in ascending order of row."""
    first = _first(_codes(found["id"]), np.ones(len(found), bool))
    table = pa.table({"row": found["row"], "head": found["row"].take(first), "pixel_hash": found["pixel_hash"].take(first)})
    return table.cast(HEADS)


def by_pixels(found: pa.Table) -> pa.Table:
    """Return FOUND of all HEADS of some pixel hashes, in any order; a head without one represents its own bytes alone."""
    head = found["head"].to_numpy()
    known = pc.is_valid(found["pixel_hash"]).to_numpy()
    representative = head.copy()
    codes = _codes(found["pixel_hash"])
    smallest = np.full(int(codes.max(initial=-1)) + 1, np.iinfo(np.int64).max, np.int64)
    np.minimum.at(smallest, codes[known], head[known])
    representative[known] = smallest[codes[known]]
    return pa.table({"row": found["row"], "head": head, "representative": representative}).cast(FOUND)


def settled(*, images: pa.Table, metrics: pa.Table, found: pa.Table, first_row: int = 0) -> pa.Table:
    """Return EXACT of one part, given FOUND of its firsts in any order."""
    rows = np.arange(len(images), dtype=np.int64)
    usable = pc.is_null(images["error"]).to_numpy()
    first = _first(_codes(images["id"]), usable)
    place = found["row"].to_numpy() - first_row
    head, representative = rows + first_row, rows + first_row
    head[place], representative[place] = found["head"].to_numpy(), found["representative"].to_numpy()
    head, representative = head[first], representative[first]
    how = np.where(head == representative, "same_bytes", "same_pixels").astype(object)
    how[representative == rows + first_row] = None
    table = pa.table({"id": images["id"], "representative": representative, "how": pa.array(how, pa.string())})
    return schema.conform(table, schema.EXACT)


def _codes(values: pa.ChunkedArray) -> Rows:
    """Return an integer per value; equal values share it, nulls are -1."""
    indices = values.combine_chunks().dictionary_encode().indices
    return np.asarray(pc.fill_null(indices, -1).to_numpy(zero_copy_only=False), np.int64)


def _first(codes: Rows, usable: NDArray[np.bool_]) -> Rows:
    """Return the first usable row of the same code; rows that are not usable stand for themselves."""
    rows = np.arange(len(codes), dtype=np.int64)
    first = np.full(int(codes.max(initial=-1)) + 1, len(codes), np.int64)
    np.minimum.at(first, codes[usable], rows[usable])
    result = rows.copy()
    result[usable] = first[codes[usable]]
    return result
