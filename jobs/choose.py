"""Selection: rules and copies are judged row by row, a part at a time.

A policy on contained pictures compares images anywhere in the collection; with one, all rows are judged in one task.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from curation.errors import ConfigError
from curation.remedies import checked_remedies
from curation.selection import select
from curation.tables import Run
from graph.placeholders import by_image
from jobs.stage import Item, Output
from jobs.whole import one_item, over_all

TABLES = ("images", "metrics", "scores", "ocr", "tags", "duplicates", "watermarks", "hierarchy", "caption_fit")
OPTIONAL = ("hierarchy", "caption_fit")


def plan(run: Run, *, contained: str, exclude: str | None = None, exclude_sha256: str = "", **_: object) -> list[Item]:
    """Return one item per part, or one for all with a policy on contained pictures.

    Raises ConfigError when `exclude` names no image of this run.
    """
    if exclude is not None:
        _check_excluded(run, checked_remedies(exclude, exclude_sha256).drops)
    return one_item(run) if contained != "keep" else [{"parts": [part]} for part in range(run.num_parts("images"))]


def work(run: Run, item: Item, *, exclude: str | None = None, exclude_sha256: str = "", **parameters: Any) -> list[Output]:
    """Decide for every image; exclude: a file of remedies, whose drops go before any rule is asked."""
    if exclude is not None:
        parameters["excluded"] = checked_remedies(exclude, exclude_sha256).drops
    tables = tuple(name for name in TABLES if name not in OPTIONAL or run.has(name))
    if parameters["contained"] != "keep":
        named = by_image(run.read("placeholders"), num_images=int(run.offsets("images")[-1]))
        return over_all(run, tables, select, placeholders=named, **parameters)
    (part,) = item["parts"]
    begin, end = run.offsets("images")[part : part + 2]
    found = {name: run.read_part(name, part) for name in tables}
    named = by_image(_within(run.read("placeholders"), begin, end), num_images=int(end - begin))
    here = set(found["images"]["id"].to_pylist())
    parameters["excluded"] = {image: why for image, why in (parameters.get("excluded") or {}).items() if image in here}
    return [Output(part, select(**found, placeholders=named, **parameters))]


def _within(placeholders: pa.Table, begin: int, end: int) -> pa.Table:
    """Return the placeholders whose keepers are among some rows, as positions among them."""
    rows = placeholders["keeper_row"].to_numpy()
    inside = np.flatnonzero((rows >= begin) & (rows < end))
    table = placeholders.take(pa.array(inside))
    return table.set_column(table.column_names.index("keeper_row"), "keeper_row", pa.array(rows[inside] - begin))


def _check_excluded(run: Run, excluded: Mapping[str, str]) -> None:
    parts = range(run.num_parts("images"))
    if excluded and not any(excluded.keys() & set(run.read_part("images", part, ["id"])["id"].to_pylist()) for part in parts):
        raise ConfigError(f"exclude: none of its {len(excluded)} ids is an image of this run; was the list made for another one?")
