"""Selection: rules and copies are judged row by row, a part at a time.

A policy on contained pictures compares images anywhere in the collection: with one, all parts are judged in one task, one after
another, and what is left of them is written once it is known which pictures go in favour of others.
"""

import itertools
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import schema
from curation.containment import Policy, gone
from curation.errors import ConfigError
from curation.remedies import checked_remedies
from curation.selection import select, without
from curation.spill import Spill, mapped_array
from curation.tables import Run
from graph.placeholders import by_image
from jobs.scratch import scratch
from jobs.stage import Item, Output
from jobs.whole import one_item

Rows = NDArray[np.int64]

TABLES = ("images", "metrics", "scores", "ocr", "tags", "duplicates", "watermarks", "hierarchy", "caption_fit")
OPTIONAL = ("hierarchy", "caption_fit")


def plan(run: Run, *, contained: str, exclude: str | None = None, exclude_sha256: str = "", **_: object) -> list[Item]:
    """Return one item per part, or one for all with a policy on contained pictures.

    Raises ConfigError when `exclude` names no image of this run.
    """
    if exclude is not None:
        _check_excluded(run, checked_remedies(exclude, exclude_sha256).drops)
    return one_item(run) if contained != "keep" else [{"parts": [part]} for part in range(run.num_parts("images"))]


def work(
    run: Run, item: Item, *, exclude: str | None = None, exclude_sha256: str = "", contained: Policy = "keep", **parameters: Any
) -> Iterator[Output]:
    """Decide for every image; exclude: a file of remedies, whose drops go before any rule is asked."""
    excluded = {} if exclude is None else checked_remedies(exclude, exclude_sha256).drops
    if contained != "keep":
        yield from _without_contained(run, excluded, contained, parameters)
        return
    (part,) = item["parts"]
    yield Output(part, _selected(run, part, excluded, parameters))


def _selected(run: Run, part: int, excluded: Mapping[str, str], parameters: Mapping[str, Any]) -> pa.Table:
    """Return SELECTION of one part, whatever contains what."""
    begin, end = run.offsets("images")[part : part + 2]
    found = {name: run.read_part(name, part) for name in TABLES if name not in OPTIONAL or run.has(name)}
    named = by_image(_within(run.read("placeholders"), begin, end), num_images=int(end - begin))
    here = set(found["images"]["id"].to_pylist())
    excluded = {image: why for image, why in excluded.items() if image in here}
    return select(**found, placeholders=named, excluded=excluded, **parameters)


def _without_contained(run: Run, excluded: Mapping[str, str], policy: Policy, parameters: Mapping[str, Any]) -> Iterator[Output]:
    """Yield SELECTION of every part; only the pictures that lie inside others are held of all of them."""
    offsets = run.offsets("images").tolist()
    folder = scratch(run, "selection", "arrays")
    folder.mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        decided = stack.enter_context(Spill(folder / "decided", num_bins=len(offsets), shape=schema.SELECTION))
        left, keeper = (
            mapped_array(folder / "left", offsets[-1], np.bool_),
            mapped_array(folder / "keeper", offsets[-1], np.int64),
        )
        parts, names = [np.empty(0, np.int64)], [pa.array([], pa.string())]
        for part, (begin, end) in enumerate(itertools.pairwise(offsets)):
            rows = _selected(run, part, excluded, parameters)
            decided.add(rows, np.full(len(rows), part))
            left[begin:end] = rows["keep"].to_numpy()
            found = run.read_part("duplicates", part, ["keeper_row", "contained_in"])
            keeper[begin:end] = pc.coalesce(found["keeper_row"], pa.array(np.arange(begin, end))).to_numpy()
            parts.append(begin + np.flatnonzero(pc.is_valid(found["contained_in"]).to_numpy()))
            names.append(found["contained_in"].drop_null().combine_chunks())
        inside, whole = np.concatenate(parts), _rows_of(run, pa.concat_arrays(names))
        known = whole >= 0
        dropped, others = gone(inside[known], keeper[whole[known]], left, policy=policy)
        ids = run.take("images", others, ["id"])["id"].to_pylist()
        for part, (begin, end) in enumerate(itertools.pairwise(offsets)):
            first, last = np.searchsorted(dropped, [begin, end])
            yield Output(part, without(decided.read(part), dropped[first:last] - begin, ids[first:last], policy=policy))


def _rows_of(run: Run, names: pa.Array) -> Rows:
    """Return the first row of every id, (N,); -1 where no image has it."""
    wanted = names.dictionary_encode()
    rows = np.full(len(wanted.dictionary), -1, np.int64)
    offsets = run.offsets("images")
    for part in range(run.num_parts("images") if len(wanted.dictionary) else 0):
        place = pc.index_in(run.read_part("images", part, ["id"])["id"], value_set=wanted.dictionary).fill_null(-1).to_numpy()
        here = np.flatnonzero(place >= 0)[::-1]  # the first of several is written last
        fresh = here[rows[place[here]] < 0]
        rows[place[fresh]] = fresh + offsets[part]
    return np.asarray(rows[wanted.indices.to_numpy()])


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
