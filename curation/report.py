"""A run -> one static HTML page that shows what is in the collection and what became of it.

The page needs nothing but itself: pictures are data URIs, charts are inline SVG, there is no script, and its own
Content-Security-Policy forbids everything else, since captions, file names and text read from images are other people's
words. Every section appears as soon as its tables are complete, so a report can be made in the middle of a run.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from curation import charts, exhibits, learning, ledger
from curation.concept_exhibit import concepts
from curation.decisions import decisions
from curation.loss_exhibit import loss_exhibit
from curation.mark_exhibit import marks_of, watermark_rows
from curation.pair_loss_exhibit import pair_loss_exhibit
from curation.poster import poster
from curation.tables import Run


def render(
    run: Run,
    *,
    copies: Mapping[str, Any] | None = None,
    neighbourhood: str | None = None,
    losses: pa.Table | None = None,
    pair_losses: pa.Table | None = None,
) -> str:
    """Return the report of a run as one HTML page, from whatever tables are complete.

    copies: what is to be shown of deduplication, as `graph.showcase.copies` returns it; that section is left out without it.
    neighbourhood: a picture of one concept among its neighbours, as `graph.concept_picture` draws it in SVG.
    losses: SAMPLE_LOSS of a model that was trained outside of the run; by default that of the run.
    pair_losses: PAIR_LOSS of a model that was asked about the run's pair shards; that section is left out without it.
    """
    counted, stages = ledger.balance(run), list(ledger.stage_rows(run))
    page: dict[str, Any] = {
        "name": run.root.name,
        "source": (run.manifest("images") or {}).get("parameters", {}).get("source"),
        "balance": counted,
        "stages": stages,
        "summary": _embedded({"balance": counted, "stages": stages}),
        "histograms": list(_histograms(run)),
        "sizes": _sizes(run),
        "buckets": ledger.bucket_rows(run),
        "tags": _top_tags(run),
        "concepts": concepts(run),
        "neighbourhood": None if neighbourhood is None else svg_uri(neighbourhood),
        "copies": copies,
        "poster": poster(run),
        "texts": _texts(run),
        "watermarks": watermark_rows(run),
        "captions": exhibits.captioned(run) if run.has("captions") else [],
        "failures": ledger.failure_rows(run),
        "max_failures": ledger.MAX_FAILURES,
        "shards": ledger.shard_rows(run),
        "training": learning.training_curves(run.root / "checkpoints" / "log.jsonl"),
        "losses": loss_exhibit(run, losses=losses),
        "pair_losses": None if pair_losses is None else pair_loss_exhibit(run, pair_losses),
        "grid": learning.grid_picture(run.root / "samples" / "grid.png"),
        "evaluation": learning.evaluation_table(run.root / "evaluation" / "evaluation.json"),
    }
    return environment().get_template("report.html.j2").render(page)


def svg_uri(text: str) -> str:
    """Return an SVG as a data URI: as an image it runs nothing and loads nothing, whatever it says."""
    return f"data:image/svg+xml;base64,{base64.b64encode(text.encode()).decode()}"


def _kept(run: Run, num: int) -> np.ndarray:
    """Return bool (num,): kept images, or all before the selection."""
    if not run.has("selection"):
        return np.ones(num, dtype=bool)
    kept: np.ndarray = decisions(run)["keep"].to_numpy()
    return kept


def _histograms(run: Run) -> Iterator[dict[str, Any]]:
    """Yield a histogram and its figures for every numeric column of METRICS and SCORES that has values."""
    for table in ("metrics", "scores"):
        if not run.has(table):
            continue
        for field in run.read_part(table, 0).schema:
            if pt.is_integer(field.type) or pt.is_floating(field.type):
                yield from _histogram(run, table, field)


def _histogram(run: Run, table: str, field: pa.Field) -> Iterator[dict[str, Any]]:
    column = run.read(table, [field.name])[field.name]
    measured = column.cast(pa.float64()).fill_null(float("nan")).to_numpy()
    known = np.isfinite(measured)
    if not known.any():
        return
    values, kept = measured[known], _kept(run, len(measured))[known]
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    yield {
        "name": f"{table}.{field.name}",
        "doc": metadata.get("doc", ""),
        "unit": metadata.get("unit", ""),
        "low": values.min(),
        "median": np.median(values),
        "high": values.max(),
        "log": charts.is_skewed(values),
        "missing": int((~known).sum()),
        "chart": charts.histogram(values, kept, name=field.name),
    }


def _sizes(run: Run) -> Markup | None:
    if not run.has("images"):
        return None
    table = run.read("images", ["width", "height"]).drop_null()
    return charts.size_map(table["width"].to_numpy(), table["height"].to_numpy()) if table.num_rows else None


def _texts(run: Run) -> list[exhibits.Exhibit]:
    """Return the examples of text lines, each with those of its lines that are watermarks."""
    found = exhibits.text_lines(run) if run.has("ocr") else []
    return [one | {"marks": marks} for one, marks in zip(found, marks_of(run, [one["row"] for one in found]), strict=True)]


def _top_tags(run: Run, *, num: int = 24) -> list[tuple[str, int]]:
    if not run.has("tags"):
        return []
    listed = run.read("tags", ["tags"])["tags"].combine_chunks()
    labels = pc.struct_field(pc.list_flatten(listed), "label").to_pylist()
    return sorted(Counter(str(label) for label in labels).items(), key=lambda pair: (-pair[1], pair[0]))[:num]


def _embedded(value: object) -> Markup:
    """Return JSON that can stand inside a script element: no character that could close it."""
    text = json.dumps(value, sort_keys=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates of all pages; text is escaped, and a name that a page lacks is an error."""
    made = Environment(
        loader=PackageLoader("curation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"shown": shown, "count": _count, "figure": _figure, "size": _size, "seconds": _seconds}
    return made


def shown(text: object, max_characters: int = 300) -> str:
    """Return text that was written by others, fit to be shown: control characters replaced, cut at a length."""
    value = "".join(character if character.isprintable() or character == " " else "\ufffd" for character in str(text))
    return value if len(value) <= max_characters else value[: max_characters - 3] + "..."


def _count(value: int) -> str:
    return f"{value:,}"


def _figure(value: object) -> str:
    return charts.short(float(value)) if learning.is_number(value) else shown(value)  # type: ignore[arg-type]


def _size(value: int | None) -> str:
    if value is None:
        return ""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value} B"


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
