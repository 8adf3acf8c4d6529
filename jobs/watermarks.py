"""Watermarks: strings that are on many images of a source, counted over the whole collection in bins of strings."""

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from captioning.watermarks import STRINGS, common, marked, readable, strings
from curation.spill import Spill
from curation.tables import Run
from graph.quantiser import hash_ids
from jobs.scratch import scratch
from jobs.stage import Item, Output
from jobs.whole import one_item

IMAGES_PER_BIN = 1 << 22
"""Images whose strings one bin holds on average."""


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(run: Run, item: Item, *, min_share: float, min_images: int, images_per_bin: int = IMAGES_PER_BIN) -> Iterator[Output]:
    """Mark the lines that are watermarks."""
    bins = -(-int(run.offsets("images")[-1]) // images_per_bin) or 1
    totals: Counter[str] = Counter()
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    with Spill(scratch(run, "watermarks", "strings"), num_bins=bins, shape=STRINGS) as dealt:
        for part in item["parts"]:
            tables = _tables(run, part)
            totals += readable(**tables)
            some = strings(**tables)
            hashed = hash_ids([name.encode() for name in some["name"].to_pylist()])
            dealt.add(some, np.asarray((hashed >> np.uint64(16)) % np.uint64(bins), np.int64))
        for some in dealt:
            for group, shares in common(some, totals=totals, min_share=min_share, min_images=min_images).items():
                found[group] |= shares
    for part in item["parts"]:
        tables = _tables(run, part)
        yield Output(part, marked(images=tables["images"], ocr=tables["ocr"], found=found))


def _tables(run: Run, part: int) -> dict[str, pa.Table]:
    columns = {"images": ["id", "group"], "ocr": ["lines"], "duplicates": ["keeper"]}
    return {table: run.read_part(table, part, names) for table, names in columns.items()}
