"""Exact copies: the same bytes, or the same decoded pixels; collapsed before any graph, and counted apart from near copies.

A placeholder that occurs 100,000 times would be five thousand million near pairs; as exact copies it is one image. The pixels
compared are those the profile analysed, with the size of the image: a PNG and a WebP of one picture are the same, a picture
and its enlargement are not.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import schema

Rows = NDArray[np.int64]


def exact(*, images: pa.Table, metrics: pa.Table) -> pa.Table:
    """Return EXACT, row-aligned with `images`: which image represents each, and how that was seen.

    images: IMAGES with id and error. metrics: METRICS with pixel_hash; null hashes and failed images equal nothing by pixels,
    and failed images nothing by bytes either.
    """
    usable = pc.is_null(images["error"]).to_numpy()
    ids = images["id"].combine_chunks()
    by_bytes = _first(_codes(ids), usable)
    hashes = metrics["pixel_hash"].combine_chunks().take(pa.array(by_bytes))
    known = usable & pc.is_valid(hashes).to_numpy(zero_copy_only=False)
    by_pixels = _first(_codes(hashes), known)
    representative = np.where(known, by_pixels, by_bytes)
    same_bytes = _codes(ids) == _codes(ids)[representative]
    alone = representative == np.arange(len(representative))
    how = np.where(same_bytes, "same_bytes", "same_pixels").astype(object)
    how[alone] = None
    table = pa.table({"id": ids, "representative": representative, "how": pa.array(how, pa.string())})
    return schema.conform(table, schema.EXACT)


def _codes(values: pa.Array) -> Rows:
    """Return an integer per value; equal values share it, nulls are -1."""
    return np.asarray(pc.fill_null(values.dictionary_encode().indices, -1).to_numpy(zero_copy_only=False), np.int64)


def _first(codes: Rows, usable: NDArray[np.bool_]) -> Rows:
    """Return the first usable row of the same code; rows that are not usable stand for themselves."""
    rows = np.arange(len(codes), dtype=np.int64)
    first = np.full(int(codes.max(initial=-1)) + 1, len(codes), np.int64)
    np.minimum.at(first, codes[usable], rows[usable])
    result = rows.copy()
    result[usable] = first[codes[usable]]
    return result
