"""Keep or drop every image, with the reason; then its resolution bucket.

Enter IMAGES, what was measured of them, and DUPLICATES; leaves SELECTION. Measuring and deciding live apart, so a changed
threshold costs seconds and no model runs again. A row gets the first reason that holds, in this order: it failed (the code),
it is a copy ("duplicate", naming its keeper), a list of remedies names it ("remediated"), a rule hit it (the rule's name, in
the order of the rules), or it lies inside another picture, or shows all of one, and the policy says that it goes ("contained",
"container"). A copy goes even when its keeper is dropped: what is wrong with the best one of a group is wrong with the group.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.buckets import BASES_PX, bucket
from curation.columns import named_columns
from curation.containment import REASONS, Policy, dropped_by_containment
from curation.errors import ConfigError
from curation.remedies import REASON as REMEDIATED
from curation.rules import Rule, hits, parse_rules
from curation.schema import SELECTION, conform

DEFAULT_RULES: Final[tuple[Mapping[str, object], ...]] = (
    {"name": "nsfw", "column": "scores.nsfw", "above": 0.8},
    {"name": "blank", "column": "metrics.entropy", "below": 0.01},
)
"""Drops nothing that a person would miss: not-safe-for-work images, and pictures of one single colour."""


def select(
    *,
    images: pa.Table,
    duplicates: pa.Table,
    metrics: pa.Table | None = None,
    scores: pa.Table | None = None,
    ocr: pa.Table | None = None,
    tags: pa.Table | None = None,
    placeholders: pa.Table | None = None,
    watermarks: pa.Table | None = None,
    hierarchy: pa.Table | None = None,
    caption_fit: pa.Table | None = None,
    rules: Sequence[Mapping[str, object]] = DEFAULT_RULES,
    bases_px: Sequence[int] = BASES_PX,
    multiple_px: int = 16,
    max_aspect: float = 4.0,
    max_enlargement: float = 1.1,
    excluded: Mapping[str, str] | None = None,
    contained: Policy = "keep",
) -> pa.Table:
    """Return SELECTION, one row per row of `images`, which all other tables are aligned with.

    rules: see curation.rules; a rule may name any scalar column as 'table.column', images.flags, and the derived columns
        images.megapixels, images.aspect, tags.labels, tags.best, tags.best_score, ocr.num_lines and ocr.num_characters.
    watermarks: WATERMARKS.
    placeholders: by image, the reason and size of the placeholder that it is the keeper of, else null.
    bases_px, multiple_px, max_aspect, max_enlargement: see curation.buckets.bucket.
    excluded: why an image goes, by id, before any rule is asked; its reason is "remediated".
    contained: what becomes of a picture that lies inside another one, see curation.containment.
    Raises ConfigError for unknown columns, keys and impossible comparisons.
    """
    tables = {"metrics": metrics, "scores": scores, "ocr": ocr, "tags": tags, "duplicates": duplicates}
    tables |= {"placeholders": placeholders, "watermarks": watermarks, "hierarchy": hierarchy, "caption_fit": caption_fit}
    columns = named_columns({"images": images} | {name: table for name, table in tables.items() if table is not None})
    status, reason, detail = _failed_and_copies(images, duplicates)
    _exclude(excluded or {}, images["id"].to_pylist(), status, reason, detail)
    for rule in parse_rules(rules):
        _apply(rule, columns, status, reason, detail)
    keep = status == "kept"
    buckets = [
        bucket(width, height, bases_px=bases_px, multiple_px=multiple_px, max_aspect=max_aspect, max_enlargement=max_enlargement)
        if kept
        else None
        for kept, width, height in zip(keep, images["width"].to_pylist(), images["height"].to_pylist(), strict=True)
    ]
    decided = {
        "id": images["id"],
        "keep": keep,
        "status": pa.array(status, pa.string()),
        "reason": pa.array(reason, pa.string()),
        "detail": pa.array(detail, pa.string()),
        "bucket": pa.array(buckets, pa.string()),
    }
    found = conform(pa.table(decided), SELECTION)
    rows, others = dropped_by_containment(duplicates, keep, policy=contained)
    return without(found, rows, duplicates["id"].take(pa.array(others)).to_pylist(), policy=contained)


def without(selection: pa.Table, rows: np.ndarray, others: Sequence[str], *, policy: Policy) -> pa.Table:
    """Return SELECTION with kept rows dropped that lie inside others, or show all of them, as the policy says.

    rows: ascending; others: for each the id of the image in whose favour it goes.
    """
    if not len(rows):
        return selection
    relation = "lies inside" if policy == "drop_part" else "shows all of"
    said = {"keep": False, "status": "dropped", "reason": REASONS[policy], "bucket": None}
    goes = np.zeros(len(selection), bool)
    goes[rows] = True
    columns = {
        name: pc.if_else(goes, pa.scalar(value, SELECTION.field(name).type), selection[name]) for name, value in said.items()
    }
    told = pa.array([f"{relation} {other}" for other in others], pa.string())
    columns["detail"] = pc.replace_with_mask(selection["detail"].combine_chunks(), pa.array(goes), told)
    return conform(pa.table({name: columns.get(name, selection[name]) for name in selection.column_names}), SELECTION)


def _failed_and_copies(images: pa.Table, duplicates: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return status, reason and detail, object (rows,), before any rule."""
    status = np.full(images.num_rows, "kept", dtype=object)
    reason = np.full(images.num_rows, None, dtype=object)
    detail = np.full(images.num_rows, None, dtype=object)
    for row, copy in _where(pc.is_valid(duplicates["keeper"]), duplicates.select(["id", "keeper", "keeper_row", "similarity"])):
        status[row], reason[row], detail[row] = "dropped", "duplicate", _copy_detail(copy)
    for row, failed in _where(pc.is_valid(images["error"]), images.select(["error", "error_detail"])):
        status[row], reason[row], detail[row] = "failed", failed["error"], failed["error_detail"]
    return status, reason, detail


def _where(mask: pa.ChunkedArray, table: pa.Table) -> list[tuple[int, dict[str, object]]]:
    rows = np.flatnonzero(mask.to_numpy())
    return list(zip(rows.tolist(), table.take(rows).to_pylist(), strict=True))


def _copy_detail(copy: Mapping[str, object]) -> str:
    if copy["keeper"] == copy["id"]:
        return f"copy of {copy['keeper']}, same bytes as row {copy['keeper_row']}"
    measured = "not measured" if copy["similarity"] is None else f"{copy['similarity']:.4f}"
    return f"copy of {copy['keeper']}, cosine {measured}"


def _exclude(excluded: Mapping[str, str], ids: Sequence[str], status: np.ndarray, reason: np.ndarray, detail: np.ndarray) -> None:
    """Drop the kept rows whose id is listed; raises ConfigError when none of the ids is an image of this run."""
    listed = [row for row, image_id in enumerate(ids) if image_id in excluded]
    if excluded and not listed:
        raise ConfigError(f"exclude: none of its {len(excluded)} ids is an image of this run; was the list made for another one?")
    for row in listed:
        if status[row] == "kept":
            status[row], reason[row], detail[row] = "dropped", REMEDIATED, excluded[ids[row]]


def _apply(rule: Rule, columns: Mapping[str, pa.Array], status: np.ndarray, reason: np.ndarray, detail: np.ndarray) -> None:
    """Drop the kept rows that the rule hits."""
    dropped = np.flatnonzero(hits(rule, columns, columns["images.group"]) & (status == "kept"))
    measured = columns[rule.column].take(pa.array(dropped, pa.int64())).to_pylist()
    status[dropped], reason[dropped] = "dropped", rule.name
    limit = rule.value if not isinstance(rule.value, list | tuple) else list(rule.value)
    for row, value in zip(dropped.tolist(), measured, strict=True):
        shown = "missing" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        detail[row] = f"{rule.column} is {shown}, dropped when {rule.limit.replace('_', ' ')} {limit}"
