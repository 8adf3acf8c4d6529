"""Placeholders: groups of copies that stand where other pictures should; the images of large groups are gathered by group."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.spill import Spill
from curation.tables import Run
from graph.placeholders import agreement, least_size, named, spaced, table_of
from jobs.scratch import scratch
from jobs.stage import Item, Output

MEMBERS = pa.schema([("row", pa.int64()), ("caption", pa.string()), ("uri", pa.string()), ("group", pa.string())])
MOST_CAPTIONS = 100
"""Captions compared, evenly spaced."""


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item: a group is large or small beside the whole collection."""
    return [{"parts": [0]}]


def work(
    run: Run, item: Item, *, min_size: int, min_share: float, min_caption_share: float, max_captions: int = MOST_CAPTIONS
) -> list[Output]:
    """Name the placeholders."""
    count = int(run.offsets("images")[-1])
    keepers, captions = _survey(run, least_size(count, min_size=min_size, min_share=min_share))
    background = agreement(_captions(run, spaced(captions, max_captions)))
    keeping = run.take("images", keepers, ["id"])["id"].to_pylist()
    flatness = run.take("metrics", keepers, ["flatness"])["flatness"].to_pylist()
    lines = run.take("ocr", keepers, ["lines"])["lines"].to_pylist()
    with Spill(scratch(run, "placeholders", "groups"), num_bins=max(1, len(keepers)), shape=MEMBERS) as groups:
        for part in range(run.num_parts("images") if len(keepers) else 0):
            groups.add(*_members(run, part, keepers))
        rows = [
            named(
                keeper=int(keeper),
                identity=keeping[number],
                members=groups.read(number),
                lines=lines[number],
                flatness=flatness[number],
                num_images=count,
                background=background,
                min_caption_share=min_caption_share,
                max_captions=max_captions,
            )
            for number, keeper in enumerate(keepers)
        ]
    return [Output(0, table_of([row for row in rows if row]))]


def _survey(run: Run, least: int) -> tuple[NDArray[np.int64], int]:
    """Return the keepers of groups of at least `least` images, ascending, and how many images have a caption."""
    offsets, found, captions = run.offsets("images"), [np.empty(0, np.int64)], 0
    for part in range(run.num_parts("images")):
        copies = run.read_part("duplicates", part, ["keeper_row", "group_size"])
        large = pc.is_null(copies["keeper_row"]).to_numpy() & (copies["group_size"].to_numpy() >= least)
        found.append(np.flatnonzero(large) + int(offsets[part]))
        captions += int(_said(run.read_part("images", part, ["caption"])["caption"]).sum())
    return np.concatenate(found), captions


def _captions(run: Run, places: list[int]) -> list[str]:
    """Return the captions at some places among those of all images that have one."""
    found: list[str] = []
    before = 0
    for part in range(run.num_parts("images") if places else 0):
        texts = run.read_part("images", part, ["caption"])["caption"]
        said = np.flatnonzero(_said(texts))
        wanted = [place - before for place in places if before <= place < before + len(said)]
        found += texts.take(pa.array(said[wanted])).to_pylist()
        before += len(said)
    return found


def _said(captions: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(pc.greater(pc.utf8_length(pc.fill_null(captions, "")), 0).to_numpy(), bool)


def _members(run: Run, part: int, keepers: NDArray[np.int64]) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return the images of one part that belong to a large group, and which of the groups."""
    begin, end = run.offsets("images")[part : part + 2]
    keeper = pc.fill_null(run.read_part("duplicates", part, ["keeper_row"])["keeper_row"], -1).to_numpy()
    rows = np.arange(begin, end)
    keeper = np.where(keeper < 0, rows, keeper)
    place = np.minimum(np.searchsorted(keepers, keeper), len(keepers) - 1)
    inside = np.flatnonzero(keepers[place] == keeper)
    images = run.read_part("images", part, ["caption", "uri", "group"]).take(pa.array(inside))
    return images.add_column(0, "row", pa.array(rows[inside])), place[inside]
