"""What deduplication did, counted: exact copies apart from near ones, sizes of groups, pairs refused, components and levels.

Enters: complete tables of a run, by name. Leaves: plain numbers for the report. Every number is counted from the tables with
Arrow's kernels, so a column of a billion JSON texts is never parsed in Python.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Rows = NDArray[np.int64]

METHOD = r'"method":\s*"(?P<method>[a-z_]+)"'
"""Where a JSON text of evidence names the method that decided."""

EXACT = ("same_bytes", "same_pixels")
"""Methods that need no measure: the copy is the same picture."""

SIZE_BINS = ((2, 2), (3, 3), (4, 4), (5, 9), (10, 19), (20, 49), (50, 99), (100, 999), (1000, None))
"""Sizes of groups that are counted together."""


def methods(evidence: pa.ChunkedArray) -> dict[str, int]:
    """Return how many rows of an evidence column each method decided, most first; null rows are no evidence."""
    found = pc.struct_field(pc.extract_regex(pc.drop_null(evidence), METHOD), "method")
    counted = _counts(pc.fill_null(found, "unknown"))
    return dict(sorted(counted.items(), key=lambda row: (-row[1], row[0])))


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {str(row["values"]): int(row["counts"]) for row in pc.value_counts(column.combine_chunks()).to_pylist()}


def copies(duplicates: pa.Table, exact: pa.Table | None = None) -> dict[str, int]:
    """Return images, groups, copies in all, and of these the exact ones (same bytes, same pixels) and the near ones.

    duplicates: columns keeper_row, evidence, group_size of DUPLICATES. exact: column how of EXACT; it counts an exact copy of
    an image that is itself a near copy as exact, which the evidence against the keeper cannot.
    """
    copied = pc.is_valid(duplicates["keeper_row"])
    total = int(pc.sum(copied).as_py() or 0)
    decided = methods(duplicates["evidence"].filter(copied)) if exact is None else _counts(exact["how"].drop_null())
    same = {name: decided.get(name, 0) for name in EXACT}
    keepers = pc.and_(pc.invert(copied), pc.greater(duplicates["group_size"], 1))
    return {
        "images": duplicates.num_rows,
        "groups": int(pc.sum(keepers).as_py() or 0),
        "copies": total,
        **same,
        "near": total - sum(same.values()),
    }


def group_sizes(duplicates: pa.Table) -> list[dict[str, Any]]:
    """Return the number of groups in each of SIZE_BINS that holds any: label, groups, copies (images less keepers)."""
    keepers = pc.and_(pc.is_null(duplicates["keeper_row"]), pc.greater(duplicates["group_size"], 1))
    sizes = duplicates["group_size"].filter(keepers).to_numpy()
    rows = []
    for low, high in SIZE_BINS:
        inside = sizes[(sizes >= low) & (sizes <= (high or np.inf))]
        if len(inside):
            label = f"{low}" if low == high else f"{low} to {high}" if high else f"{low} or more"
            rows.append({"label": label, "groups": len(inside), "copies": int(inside.sum() - len(inside))})
    return rows


def near_similarities(duplicates: pa.Table) -> NDArray[np.float64]:
    """Return the cosine to its keeper of every copy that is no exact one."""
    evidence = pc.fill_null(duplicates["evidence"], "")
    exact = pc.is_in(pc.struct_field(pc.extract_regex(evidence, METHOD), "method"), value_set=pa.array(EXACT))
    near = pc.and_(pc.is_valid(duplicates["keeper_row"]), pc.invert(pc.fill_null(exact, False)))
    found = pc.drop_null(duplicates["similarity"].filter(near)).to_numpy().astype(np.float64)
    return np.asarray(found[np.isfinite(found)])


def giants(communities: pa.Table, keeper: Rows, *, num: int = 5, min_size: int = 50) -> list[dict[str, int]]:
    """Return the largest connected components of at least `min_size` images, largest first.

    keeper: int64 (N,), the row that stands for each image. Each: component (its smallest row), images, communities, keepers.
    """
    component, community = (communities[name].to_numpy() for name in ("component", "community"))
    names, sizes = np.unique(component, return_counts=True)
    order = np.lexsort((names, -sizes))[:num]
    found = []
    for name, size in zip(names[order].tolist(), sizes[order].tolist(), strict=True):
        if size >= min_size:
            inside = component == name
            parts, stand = len(np.unique(community[inside])), len(np.unique(keeper[inside]))
            found.append({"component": name, "images": size, "communities": parts, "keepers": stand})
    return found


def levels(hierarchy: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return, for each level column of `hierarchy`, the number of clusters, and the median and largest size."""
    rows = []
    for name in names:
        sizes = np.unique(hierarchy[name].drop_null().to_numpy(), return_counts=True)[1]
        if len(sizes):
            rows.append({"level": name, "clusters": len(sizes), "median": float(np.median(sizes)), "largest": int(sizes.max())})
    return rows
