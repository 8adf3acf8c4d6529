"""Who stands for whom: star-shaped groups of copies, one keeper each, every drop with its measured reason.

Enters: IMAGES, VERDICTS and COMMUNITIES, with METRICS for the keeper's choice. Leaves: DUPLICATES. Exact copies (same bytes, or
same size and colours) are one image from the start: the best of them, first in source order when nothing else tells them apart,
represents all. Inside each community the best image becomes a keeper and takes every image that was verified to be a copy of
it; the best of the rest becomes the next keeper, until none is left. So nothing is ever dropped through a chain of
resemblances. Containment is reported in `contained_in` and drops nothing.
"""

import json
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import schema
from curation.errors import ConfigError

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
Edge = tuple[float, float, str]  # similarity, confidence, evidence

CRITERIA = ("resolution", "bits", "sharpness", "caption", "source")
"""What a keeper can be chosen by, the more the better: pixels inside uniform borders, so that a frame added around a picture
does not make it the better one; encoded bits per pixel (less compressed); METRICS.sharpness;
whether the source has a caption; the place of the sub-collection in `source_priority`."""


def duplicates(
    *,
    images: pa.Table,
    verdicts: pa.Table,
    communities: pa.Table,
    metrics: pa.Table | None = None,
    vectors: Floats | None = None,
    pixel_hashes: Sequence[str | None] | None = None,
    keeper: Sequence[str] = ("resolution", "caption", "bits", "sharpness"),
    source_priority: Sequence[str] = (),
) -> pa.Table:
    """Return DUPLICATES, one row per row of `images`.

    keeper: criteria of CRITERIA in order; row order breaks ties. metrics: needed by sharpness,
    used by resolution. vectors: float32 (N, d)
    unit vectors, for the similarity of exact copies that no verdict names; 1.0 without. pixel_hashes: KEYPOINTS.pixel_hash.
    source_priority: values of IMAGES.group, most trusted first.
    Raises ConfigError when a criterion is unknown or lacks its table.
    """
    rank = _rank(images, metrics, keeper, source_priority)
    ids = images["id"].to_pylist()
    usable = np.array([error is None for error in images["error"].to_pylist()], bool)
    exact, how = _exact(ids, pixel_hashes, rank, usable)
    edges = _edges(verdicts, exact, vectors)
    final = _stars(exact, edges, communities["community"].to_numpy(), rank)
    size = np.bincount(final, minlength=len(ids))[final] if len(ids) else final
    inside = _containers(verdicts, exact, final)
    rows = []
    for row, id_ in enumerate(ids):
        at, similarity, evidence = _reason(row, int(final[row]), int(exact[row]), how[row], edges, vectors)
        rows.append(
            {
                "id": id_,
                "keeper": None if at is None else ids[at],
                "keeper_row": at,
                "similarity": similarity,
                "evidence": evidence,
                "group_size": int(size[row]),
                "contained_in": ids[inside[row]] if row in inside else None,
            }
        )
    return schema.conform(pa.Table.from_pylist(rows, schema=schema.DUPLICATES), schema.DUPLICATES)


def _rank(images: pa.Table, metrics: pa.Table | None, keeper: Sequence[str], source_priority: Sequence[str]) -> Rows:
    """Return the place of every row in the order of preference, 0 the best; no two rows share a place."""
    columns = [-_criterion(name, images, metrics, source_priority) for name in keeper]
    order = np.lexsort((np.arange(len(images)), *reversed(columns)))
    rank = np.empty(len(images), np.int64)
    rank[order] = np.arange(len(images))
    return rank


def _criterion(name: str, images: pa.Table, metrics: pa.Table | None, source_priority: Sequence[str]) -> NDArray[np.float64]:
    pixels = _numbers(images["width"]) * _numbers(images["height"])
    if name == "resolution":
        return _framed_pixels(images, metrics)
    if name == "bits":
        return np.asarray(np.round(_numbers(images["length"]) * 8 / np.maximum(pixels, 1), 4))
    if name == "caption":
        return np.array([bool((text or "").strip()) for text in images["caption"].to_pylist()], np.float64)
    if name == "source":
        place = {group: -i for i, group in enumerate(source_priority)}
        return np.array([place.get(group, -len(place)) for group in images["group"].to_pylist()], np.float64)
    if name == "sharpness" and metrics is not None and name in metrics.column_names:
        return np.asarray(np.round(_numbers(metrics[name]), 6))
    if name == "sharpness":
        raise ConfigError("keeper: 'sharpness' needs METRICS with that column; leave it out or run the profile stage")
    raise ConfigError(f"keeper: unknown criterion {name!r}; possible: {', '.join(CRITERIA)}")


def _framed_pixels(images: pa.Table, metrics: pa.Table | None) -> NDArray[np.float64]:
    """Return the pixels inside the uniform borders that METRICS measured; all pixels without METRICS."""
    sides = [_numbers(images["width"]), _numbers(images["height"])]
    for axis, ends in enumerate((("left", "right"), ("top", "bottom"))):
        for end in ends:
            if metrics is not None and f"border_{end}_px" in metrics.column_names:
                sides[axis] = sides[axis] - _numbers(metrics[f"border_{end}_px"])
    return np.asarray(np.maximum(sides[0], 0) * np.maximum(sides[1], 0))


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(np.nan_to_num(column.cast(pa.float64()).to_numpy(), nan=0.0))


def _exact(
    ids: list[str], pixel_hashes: Sequence[str | None] | None, rank: Rows, usable: NDArray[np.bool_]
) -> tuple[Rows, list[str]]:
    """Return the row that stands for each row among its exact copies, and by which evidence."""
    by_bytes = _best_of([id_ if usable[row] else f"row {row}" for row, id_ in enumerate(ids)], rank)
    final, how = by_bytes.copy(), ["same_bytes"] * len(ids)
    if pixel_hashes is not None:
        keys = [key if key is not None and usable[row] else f"row {row}" for row, key in enumerate(pixel_hashes)]
        by_pixels = _best_of(keys, rank)
        for row in np.argsort(rank):
            target = int(by_pixels[by_bytes[row]])
            final[row] = target
            how[row] = "same_bytes" if ids[target] == ids[row] else "same_pixels"
    return final, how


def _best_of(keys: Sequence[str], rank: Rows) -> Rows:
    best: dict[str, int] = {}
    for row in np.argsort(rank):
        best.setdefault(keys[row], int(row))
    return np.array([best[key] for key in keys], np.int64)


def _edges(verdicts: pa.Table, exact: Rows, vectors: Floats | None) -> dict[tuple[int, int], Edge]:
    """Return the verified copies between representatives: the surest edge of each pair, smaller row first."""
    copies = verdicts.filter(pa.compute.equal(verdicts["relation"], "copy"))
    columns = [copies[name].to_pylist() for name in ("row_a", "row_b", "similarity", "confidence", "evidence")]
    found: dict[tuple[int, int], Edge] = {}
    for a, b, similarity, confidence, evidence in zip(*columns, strict=True):
        pair = (min(exact[a], exact[b]), max(exact[a], exact[b]))
        if pair[0] != pair[1] and (pair not in found or found[pair][1] < confidence):
            found[pair] = (similarity, confidence, evidence)
    return found


def _stars(exact: Rows, edges: dict[tuple[int, int], Edge], community: Rows, rank: Rows) -> Rows:
    """Return the keeper of every row: itself, or one that it has a verified edge to, or its representative's keeper."""
    adjacent: defaultdict[int, list[int]] = defaultdict(list)
    for a, b in edges:
        if community[a] == community[b]:
            adjacent[a].append(b)
            adjacent[b].append(a)
    keeper = np.full(len(exact), -1, np.int64)
    for row in np.argsort(rank):
        if exact[row] != row or keeper[row] >= 0:
            continue
        keeper[row] = row
        for other in adjacent[int(row)]:
            if keeper[other] < 0:
                keeper[other] = row
    return keeper[exact]


def _containers(verdicts: pa.Table, exact: Rows, final: Rows) -> dict[int, int]:
    """Return, for each row shown whole inside another image, the row of the surest such image."""
    best: dict[int, tuple[float, int]] = {}
    columns = [verdicts[name].to_pylist() for name in ("row_a", "row_b", "relation", "confidence")]
    for a, b, relation, confidence in zip(*columns, strict=True):
        if relation not in ("contains", "contained"):
            continue
        whole, piece = (a, b) if relation == "contains" else (b, a)
        if final[whole] != final[piece]:
            best[piece] = max(best.get(piece, (0.0, -1)), (confidence, -whole))
    return {piece: -whole for piece, (_, whole) in best.items()}


def _reason(
    row: int, keeper: int, exact: int, how: str, edges: dict[tuple[int, int], Edge], vectors: Floats | None
) -> tuple[int | None, float | None, str | None]:
    if keeper == row:
        return None, None, None
    if keeper == exact:
        cosine = 1.0 if how == "same_bytes" or vectors is None else float(vectors[row] @ vectors[keeper])
        return keeper, cosine, json.dumps({"method": how})
    similarity, confidence, evidence = edges[min(keeper, exact), max(keeper, exact)]
    measured = json.loads(evidence) | {"confidence": round(confidence, 4)}
    if exact != row:
        measured["through"] = how  # the edge was measured on an exact copy of this image
    return keeper, similarity, json.dumps(measured, sort_keys=True)
