"""Which of two copies is the better one: an order over images by criteria that the user lists.

Enters: IMAGES, with METRICS and SCORES where a criterion needs them. Leaves: a place for every row. A criterion measures with an
error, so each has a tolerance: of a group, the images that are as good as its best within the tolerance are equal, and the next
criterion decides between them. No single measurement tells an original from all its copies: an enlarged copy has more pixels, a
sharpened one more contrast, one saved again without loss more bytes. Together they say what was lost and what was added.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.errors import ConfigError
from graph.consensus import distance

Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]
Tables = Mapping[str, pa.Table | None]


@dataclass(frozen=True)
class Criterion:
    """What an image is measured by, the more the better, and how far below the best of its group is still as good."""

    function: Callable[[Tables], Numbers]
    tolerance: float = 0.0


COARSE_STEP = 8.0
"""Quantisation step, JPEG quality 70, up to which compression is hardly seen."""
TRACED_STEP = 3.0
"""Step, JPEG quality 88, from which the pixels still show it when they are saved again."""
UNTRACED_STEP = 2.1
"""What a file without loss and without such traces is taken for: as good as a JPEG of quality 92, of which it may be made."""
GRAIN_DB = 25.0
"""Rise of the grain, in dB, that goes with every doubling of the detail between a picture and a blurred one."""
MAX_TONAL_GAPS = 0.5
"""From here on a palette: a stretched scan has up to .4 itself, and its copies as JPEG fill the gaps."""
LAYOUT = (8, 8, 3)


def preference(
    *,
    images: pa.Table,
    metrics: pa.Table | None = None,
    scores: pa.Table | None = None,
    keeper: Sequence[str],
    source_priority: Sequence[str] = (),
    groups: Rows | None = None,
    some: bool = False,
) -> Rows:
    """Return the place of every row in the order of preference, (N,), 0 the best; no two rows share a place.

    keeper: names of CRITERIA, the first decides. source_priority: values of IMAGES.group, most trusted first. groups: a number
    per row, equal for rows that may be copies of each other; without it all rows are compared with all, and `consensus` says
    nothing. Last come the id and the row, so that the order of the rows matters only between files of the same bytes. some: the
    rows are some of a collection, so a column that none of them fills is no error.
    Raises ConfigError for an unknown criterion, and for one whose table or column is not there.
    """
    check(keeper)
    tables: Tables = {"images": images, "metrics": metrics, "scores": scores}
    ids = images["id"].combine_chunks().dictionary_encode()
    place = np.empty(len(ids.dictionary), np.int64)
    place[pc.sort_indices(ids.dictionary).to_numpy()] = np.arange(len(ids.dictionary))
    last = place[ids.indices.to_numpy()]
    cell = np.zeros(len(images), np.int64) if groups is None else np.unique(groups, return_inverse=True)[1]
    columns: list[Rows] = []
    for name in keeper:
        if name == "source":
            values = _source(images, source_priority)
        elif name == "consensus" and groups is not None:
            _require(name, tables, some)
            values = _consensus(tables, groups, last)
        else:
            _require(name, tables, some)
            values = CRITERIA[name].function(tables)
        columns.append(_levels(values, cell, CRITERIA[name].tolerance))
        cell = np.unique(cell * (int(columns[-1].max(initial=0)) + 1) + columns[-1], return_inverse=True)[1]
    order = np.lexsort((np.arange(len(images)), last, *reversed(columns)))
    rank = np.empty(len(images), np.int64)
    rank[order] = np.arange(len(images))
    return rank


def _levels(values: Numbers, cell: Rows, tolerance: float) -> Rows:
    """Return 0 for the rows within `tolerance` of the best of their cell, 1 for those within it of the best of the rest, ..."""
    if not tolerance:
        return np.asarray(np.unique(-values, return_inverse=True)[1], np.int64)
    level = np.zeros(len(values), np.int64)
    rest = np.arange(len(values))
    while len(rest):
        best = np.full(int(cell.max()) + 1, -np.inf)
        np.maximum.at(best, cell[rest], values[rest])
        rest = rest[values[rest] < best[cell[rest]] - tolerance]
        level[rest] += 1
    return level


def check(keeper: Sequence[str]) -> None:
    """Raise ConfigError for the first name that is no criterion."""
    for name in keeper:
        if name not in CRITERIA:
            raise ConfigError(f"duplicates.keeper: unknown criterion {name!r}; possible: {', '.join(sorted(CRITERIA))}")


def tables_of(keeper: Sequence[str]) -> set[str]:
    """Return the tables that the criteria read; raises ConfigError for an unknown one."""
    check(keeper)
    return {table for name in keeper for table, _ in _NEEDS.get(name, ())}


def needs(keeper: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return criterion, table and column of everything without which a criterion says nothing."""
    check(keeper)
    return [(name, table, column) for name in keeper for table, column in _NEEDS.get(name, ())]


def refuse_unmeasured(name: str, table: str, column: str) -> ConfigError:
    """Return the error of a criterion whose column holds nothing for any image."""
    return ConfigError(f"duplicates.keeper: {name!r} needs {table}.{column}, but no image has one; configure its judge")


def _require(name: str, tables: Tables, some: bool) -> None:
    """Raise ConfigError where a criterion has nothing to measure by."""
    for table, column in _NEEDS.get(name, ()):
        there = tables[table]
        if there is None or column not in there.column_names:
            raise ConfigError(
                f"duplicates.keeper: {name!r} needs {table}.{column}; leave it out or run the stage that measures it"
            )
        if not some and there.num_rows and there[column].null_count == there.num_rows:
            raise refuse_unmeasured(name, table, column)


def _column(tables: Tables, table: str, column: str) -> Numbers:
    found = tables[table]
    if found is None or column not in found.column_names:
        return np.zeros(0)
    return np.asarray(np.nan_to_num(found[column].cast(pa.float64()).to_numpy(), nan=0.0))


def _nothing(tables: Tables) -> Numbers:
    images = tables["images"]
    assert images is not None
    return np.zeros(len(images))


def _sides(tables: Tables) -> Numbers:
    """Return log2 of the geometric mean of the sides of the picture without its padding, in px."""
    pixels = _column(tables, "images", "width") * _column(tables, "images", "height")
    padding = _column(tables, "metrics", "padding")
    inside = pixels * (1 - np.minimum(padding, 0.95) if len(padding) else 1)
    return np.asarray(np.log2(np.maximum(inside, 1)) / 2)


def _resolution(tables: Tables) -> Numbers:
    """Return log2 of the sides that hold detail."""
    return np.asarray(_sides(tables) + _detail(tables))


def _detail(tables: Tables) -> Numbers:
    detail = _column(tables, "metrics", "detail")
    return np.asarray(np.log2(np.where(detail > 0, detail, 1)))


def _compression(tables: Tables) -> Numbers:
    return np.asarray(-np.log2(np.maximum(_column(tables, "metrics", "quantisation_step"), COARSE_STEP)))


def _quantisation(tables: Tables) -> Numbers:
    images = tables["images"]
    assert images is not None
    step = np.maximum(_column(tables, "metrics", "quantisation_step"), 1)
    stated = pc.fill_null(pc.equal(images["format"], "jpeg"), False).to_numpy()
    return np.asarray(-np.log2(np.where(stated | (step >= TRACED_STEP), step, UNTRACED_STEP)))


def _grain(tables: Tables) -> Numbers:
    """Return minus the grain that the detail does not explain: noise and sharpening add more of it than detail."""
    return GRAIN_DB * _resolution(tables) - _column(tables, "metrics", "grain")


def _tones(tables: Tables) -> Numbers:
    return np.asarray(-(_column(tables, "metrics", "tonal_gaps") >= MAX_TONAL_GAPS).astype(np.float64))


def _bits(tables: Tables) -> Numbers:
    pixels = _column(tables, "images", "width") * _column(tables, "images", "height")
    return np.asarray(np.round(_column(tables, "images", "length") * 8 / np.maximum(pixels, 1), 4))


def _consensus(tables: Tables, groups: Rows, order: Rows) -> Numbers:
    """Return minus the mean distance to the group, by pictures that have a layout; the others are as far as the farthest."""
    images, metrics = tables["images"], tables["metrics"]
    assert images is not None and metrics is not None
    known = np.flatnonzero(metrics["layout"].is_valid().to_numpy())
    pixels = np.frombuffer(b"".join(metrics["layout"].take(pa.array(known)).to_pylist()), np.uint8).reshape(-1, *LAYOUT)
    sides = (np.maximum(_column(tables, "images", name)[known], 1) for name in ("width", "height"))
    apart = np.ones(len(images))
    apart[known] = distance(layouts=pixels, aspects=np.divide(*sides), groups=groups[known], order=order[known])
    return -apart


def _caption(tables: Tables) -> Numbers:
    images = tables["images"]
    assert images is not None
    trimmed = pc.utf8_trim_whitespace(pc.fill_null(images["caption"], ""))
    return np.asarray(pc.greater(pc.utf8_length(trimmed), 0).to_numpy(), np.float64)


def _source(images: pa.Table, priority: Sequence[str]) -> Numbers:
    place = pc.fill_null(pc.index_in(images["group"], value_set=pa.array(list(priority), pa.string())), len(priority))
    return np.asarray(-place.to_numpy(), np.float64)


def _rounded(table: str, column: str, sign: int = 1) -> Callable[[Tables], Numbers]:
    return lambda tables: np.asarray(sign * np.round(_column(tables, table, column), 6))


CRITERIA: dict[str, Criterion] = {
    "tones": Criterion(_tones),
    "compression": Criterion(_compression, 0.3),
    "resolution": Criterion(_resolution, 0.5),
    "enlargement": Criterion(_detail, 0.3),
    "consensus": Criterion(_nothing, 0.002),
    "caption": Criterion(_caption),
    "detail": Criterion(_resolution, 0.25),
    "borders": Criterion(_rounded("metrics", "padding", -1), 0.04),
    "grain": Criterion(_grain, 5.0),
    "clipping": Criterion(_rounded("metrics", "clipped", -1), 0.015),
    "noise": Criterion(_rounded("metrics", "grain", -1), 3.0),
    "pixels": Criterion(lambda tables: _column(tables, "images", "width") * _column(tables, "images", "height")),
    "quantisation": Criterion(_quantisation, 0.25),
    "bytes": Criterion(lambda tables: -_column(tables, "images", "length")),
    "bits": Criterion(_bits),
    "sharpness": Criterion(_rounded("metrics", "sharpness")),
    "source": Criterion(_nothing),
    "watermark": Criterion(_rounded("scores", "watermark", -1)),
    "aesthetics": Criterion(_rounded("scores", "aesthetics")),
}
"""What a keeper can be chosen by, the more the better, with what is measured and the tolerance:

tones          no gaps among the levels as a palette leaves them
compression    log2 of the quantisation step above COARSE_STEP
borders        share of the picture that is no ground of one colour around it
resolution     log2 of the sides without such ground that hold detail
enlargement    log2 of the share of the sides that holds detail: pixels without any are an enlargement's
grain          finest over coarse power in dB less what the resolution explains, the less the better: noise, sharpening
consensus      closeness to the other copies; the picture that edits were made of lies amid them. Of two copies it says nothing
caption        the source has one
detail         as resolution, with less tolerance
clipping       share of pixels that are not at the ends of the scale
noise          finest over coarse power in dB, the less the better
pixels         width times height
quantisation   log2 of the quantisation step, UNTRACED_STEP where neither file nor pixels tell
bytes          the smaller file: where nothing else differs, more bytes say that it was saved again
bits           encoded bits per pixel
sharpness      variance of the Laplacian
source         place of the sub-collection in `source_priority`
watermark      the less probable the better
aesthetics     as the judge scores it
"""

DEFAULT = (
    "tones", "compression", "resolution", "enlargement", "consensus", "caption", "detail", "borders", "grain", "clipping",
    "noise", "pixels", "quantisation", "bytes",
)  # fmt: skip
"""The order that kept most originals among their copies, see benchmarks/results/keeper.md."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "images": ("id", "uri", "group", "caption", "format", "width", "height", "length"),
    "metrics": ("detail", "sharpness", "grain", "quantisation_step", "tonal_gaps", "clipped", "padding", "layout"),
    "scores": ("watermark", "aesthetics"),
}
"""Columns that criteria read, by table, and what else DUPLICATES says of an image."""

_NEEDS: dict[str, tuple[tuple[str, str], ...]] = {
    "tones": (("metrics", "tonal_gaps"),),
    "compression": (("metrics", "quantisation_step"),),
    "quantisation": (("metrics", "quantisation_step"),),
    "borders": (("metrics", "padding"),),
    "resolution": (("metrics", "detail"),),
    "enlargement": (("metrics", "detail"),),
    "detail": (("metrics", "detail"),),
    "consensus": (("metrics", "layout"),),
    "clipping": (("metrics", "clipped"),),
    "grain": (("metrics", "grain"), ("metrics", "detail")),
    "noise": (("metrics", "grain"),),
    "sharpness": (("metrics", "sharpness"),),
    "watermark": (("scores", "watermark"),),
    "aesthetics": (("scores", "aesthetics"),),
}
"""Columns without which a criterion says nothing."""
