"""Who stands for whom: the keeper of every image, the evidence against each copy, and the captions the copies leave behind.

Enters: IMAGES and EXACT, and either PARTITIONS (stars by similarity) or VERDICTS with COMMUNITIES (stars over verified pairs).
Leaves: DUPLICATES. Exact copies are one image from the start; the preferred of them represents all. Inside each community the
preferred image becomes a keeper and takes every image that was verified to be a copy of it; the best of the rest becomes the
next keeper, until none is left. So nothing is ever dropped through a chain of resemblances. Containment is reported in
`contained_in` and drops nothing.
"""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import schema
from graph.stars import edge_stars

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


HELD = pa.schema([("row", pa.int64()), ("other", pa.int64()), ("confidence", pa.float32())])
"""A row that lies whole inside another one, and how sure that is."""


@dataclass(frozen=True)
class Kept:
    """The keeper of every row, (N,), and what was measured of the rows that are not their own."""

    keeper: Rows
    similarity: Floats  # of the near copies
    evidence: dict[int, str]  # of near copies, by row; those without an entry were taken by similarity alone
    container: dict[int, int]  # row that shows all of a row


def by_similarity(*, partitions: pa.Table, count: int) -> Kept:
    """Return the keepers that PARTITIONS names for `count` rows."""
    keeper, similarity = np.arange(count, dtype=np.int64), np.ones(count, np.float32)
    rows = partitions["row"].to_numpy()
    keeper[rows], similarity[rows] = partitions["keeper_row"].to_numpy(), partitions["similarity"].to_numpy()
    return Kept(keeper, similarity, {}, {})


def by_verdicts(*, ids: pa.ChunkedArray, exact: pa.Table, rank: Rows, verdicts: pa.Table, communities: pa.Table) -> Kept:
    """Return the keepers over verified pairs; rank: place of every row in the order of preference, 0 the best."""
    count = len(rank)
    node = exact["representative"].to_numpy()
    best = np.full(count, count, np.int64)
    np.minimum.at(best, node, rank)
    face = np.argsort(rank)[np.minimum(best, count - 1)]  # the preferred of a node's exact copies
    community = communities["community"].to_numpy()
    copies = verdicts.filter(pc.equal(verdicts["relation"], "copy"))
    row_a, row_b = copies["row_a"].to_numpy(), copies["row_b"].to_numpy()
    a, b = node[row_a], node[row_b]
    use = np.flatnonzero((a != b) & (community[a] == community[b]))
    star = edge_stars(a[use], b[use], best)[node]
    final = face[star]
    near = np.flatnonzero(star != node)
    edge = use[_surest(a[use], b[use], copies["confidence"].to_numpy()[use], node[near], star[near], count)]
    similarity = np.ones(count, np.float32)
    similarity[near] = copies["similarity"].to_numpy()[edge]
    measured = np.where(node[row_a[edge]] == node[near], row_a[edge], row_b[edge])
    evidence = _evidence(copies.take(pa.array(edge)), near, measured, ids)
    held = surest_containers(containers(verdicts, final))
    return Kept(final, similarity, evidence, dict(zip(held["row"].to_pylist(), held["other"].to_pylist(), strict=True)))


def duplicates(*, images: pa.Table, exact: pa.Table, kept: Kept, exact_similarity: Floats | None = None) -> pa.Table:
    """Return DUPLICATES, one row per row of `images`.

    images: IMAGES with id, uri and caption. exact_similarity: (N,) cosine of exact copies to their keeper; 1 without.
    """
    count = len(images)
    rows, ids = np.arange(count), images["id"].combine_chunks()
    node = exact["representative"].to_numpy()
    dropped = kept.keeper != rows
    same = dropped & (node == node[kept.keeper])
    similarity = np.where(same, 1 if exact_similarity is None else exact_similarity, kept.similarity).astype(np.float32)
    group_size = np.bincount(kept.keeper, minlength=count)[kept.keeper] if count else rows
    container = np.full(count, -1, np.int64)
    container[list(kept.container)] = list(kept.container.values())
    keeper = pa.array(kept.keeper, mask=~dropped)
    columns = {
        "id": ids,
        "keeper": ids.take(keeper),
        "keeper_row": keeper,
        "similarity": pa.array(similarity, mask=~dropped),
        "evidence": _told(ids, kept, dropped, same),
        "group_size": group_size.astype(np.int32),
        "contained_in": ids.take(pa.array(container, mask=container < 0)),
        "merged_captions": _merged_captions(images, kept.keeper),
    }
    return schema.conform(pa.table(columns), schema.DUPLICATES)


def same_pixels(*, exact: pa.Table, kept: Kept) -> tuple[Rows, Rows]:
    """Return the rows that were dropped for having the same pixels as their keeper in other bytes, and the keepers."""
    node = exact["representative"].to_numpy()
    rows = np.flatnonzero((kept.keeper != np.arange(len(node))) & (node == node[kept.keeper]))
    ids = exact["id"].combine_chunks()
    other = pc.not_equal(ids.take(pa.array(rows)), ids.take(pa.array(kept.keeper[rows]))).to_numpy(zero_copy_only=False)
    return rows[other], kept.keeper[rows[other]]


def _surest(a: Rows, b: Rows, confidence: Floats, left: Rows, right: Rows, count: int) -> Rows:
    """Return which of the edges (a, b) is the surest between each left and right; every such pair has one."""
    key = np.minimum(a, b) * count + np.maximum(a, b)
    order = np.lexsort((-confidence, key))
    return np.asarray(order[np.searchsorted(key[order], np.minimum(left, right) * count + np.maximum(left, right))], np.int64)


def _evidence(edges: pa.Table, rows: Rows, measured: Rows, ids: pa.ChunkedArray) -> dict[int, str]:
    """Return the evidence of every row: what its edge says, its confidence, and the exact copy it was measured on."""
    same_id = pc.equal(ids.take(pa.array(rows)), ids.take(pa.array(measured))).to_pylist()
    told = {}
    columns = (edges["evidence"].to_pylist(), edges["confidence"].to_pylist(), same_id)
    for row, on, text, confidence, same in zip(rows.tolist(), measured.tolist(), *columns, strict=True):
        found = json.loads(text) | {"confidence": round(confidence, 4)}
        if on != row:
            found["through"] = "same_bytes" if same else "same_pixels"
        told[row] = json.dumps(found, sort_keys=True)
    return told


def containers(verdicts: pa.Table, final: Rows) -> pa.Table:
    """Return HELD: the rows shown whole inside another image that is kept apart. final: (N,) the keeper of every row."""
    found = verdicts.filter(pc.is_in(verdicts["relation"], pa.array(["contains", "contained"])))
    whole, piece = found["row_a"].to_numpy(), found["row_b"].to_numpy()
    turned = pc.equal(found["relation"], "contained").to_numpy()
    whole, piece = np.where(turned, piece, whole), np.where(turned, whole, piece)
    apart = np.flatnonzero(final[whole] != final[piece])
    confidence = found["confidence"].take(pa.array(apart))
    return pa.table({"row": piece[apart], "other": whole[apart], "confidence": confidence}).cast(HELD)


def surest_containers(held: pa.Table) -> pa.Table:
    """Return of every row the surest of its entries in HELD, of equally sure ones that with the smallest other row."""
    row, other, confidence = (held[name].to_numpy() for name in HELD.names)
    order = np.lexsort((other, -confidence, row))
    return held.take(pa.array(order[np.unique(row[order], return_index=True)[1]]))


_KINDS = [json.dumps({"method": name}) for name in ("similarity", "same_bytes", "same_pixels")]


def _told(ids: pa.Array, kept: Kept, dropped: NDArray[np.bool_], same: NDArray[np.bool_]) -> pa.Array:
    same_id = pc.equal(ids, ids.take(pa.array(kept.keeper))).to_numpy(zero_copy_only=False)
    kind = np.where(same, np.where(same_id, 1, 2), 0)
    listed = sorted(row for row in kept.evidence if dropped[row] and not same[row])
    kind[listed] = len(_KINDS) + np.arange(len(listed))
    texts = pa.array(_KINDS + [kept.evidence[row] for row in listed], pa.string())
    return texts.take(pa.array(kind, mask=~dropped))


def _merged_captions(images: pa.Table, keeper: Rows) -> pa.Array:
    """Return, for every keeper, the distinct captions of its copies that differ from its own; null where there are none."""
    text = pc.utf8_trim_whitespace(pc.fill_null(images["caption"], "")).combine_chunks()
    code = text.dictionary_encode().indices.to_numpy().astype(np.int64)
    said = pc.greater(pc.utf8_length(text), 0).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(said & (keeper != np.arange(len(keeper))))
    rows = rows[code[rows] != code[keeper[rows]]]
    order = rows[np.lexsort((rows, code[rows], keeper[rows]))]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (np.diff(keeper[order]) != 0) | (np.diff(code[order]) != 0)
    chosen = order[fresh]
    chosen = chosen[np.lexsort((chosen, keeper[chosen]))]
    length = np.bincount(keeper[chosen], minlength=len(keeper))
    offsets = pa.array(np.concatenate([[0], np.cumsum(length)]).astype(np.int32), mask=np.append(length == 0, False))
    some = images.take(pa.array(chosen))
    values = pa.StructArray.from_arrays(
        [text.take(pa.array(chosen)), *(some[name].combine_chunks() for name in ("uri", "id"))], fields=list(schema.MERGED)
    )
    return pa.ListArray.from_arrays(offsets, values)
