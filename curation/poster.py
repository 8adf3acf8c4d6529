"""One picture with everything that is known of it: text read, linked entities with their spans, captions with their evidence."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from curation.charts import polygons
from curation.exhibits import Exhibit, by_level, described, thumbnails
from curation.mark_exhibit import marks_of
from curation.tables import Run


def poster(run: Run, *, max_parts: int = 40) -> Exhibit | None:
    """Return the kept image that shows best what the run knows: linked entities count most, then lines, then languages.

    None when no kept image has both text and captions. Only the first `max_parts` parts are looked at.
    """
    if not (run.has("ocr") and run.has("captions")):
        return None
    best = max((found for part in range(min(max_parts, run.num_parts("ocr"))) for found in _candidates(run, part)), default=None)
    if best is None:
        return None
    row = -best[-1]
    one = np.array([row])
    lines = run.take("ocr", one, ["lines"])["lines"][0].as_py() or []
    captions = run.take("captions", one, ["captions"])["captions"][0].as_py() or []
    mentions = (run.take("mentions", one, ["mentions"])["mentions"][0].as_py() or []) if run.has("mentions") else None
    image = described(run, [row])[row]
    outlines = polygons([line["polygon"] or [] for line in lines], width_px=image["width"], height_px=image["height"])
    picture = thumbnails(run, [row], side_px=640, max_total_bytes=600_000).get(row)
    found = {
        "picture": picture,
        "lines": lines,
        "outlines": outlines,
        "levels": by_level(captions),
        "marks": marks_of(run, [row])[0],
    }
    return image | found | {"mentions": None if mentions is None else [_spoken(one) for one in mentions]}


def _candidates(run: Run, part: int) -> list[tuple[int, int, int, int]]:
    """Return (entities, languages, lines up to 8, -row) of the images of a part that could be shown."""
    names = [name for name in ("ocr", "captions", "selection", "mentions") if run.has(name)]
    tables = run.aligned(names, part)
    start = int(run.offsets("ocr")[part])
    columns: dict[str, list[Any]] = {
        name: tables[name][column].to_pylist()
        if name in tables
        else [True if name == "selection" else None] * tables["ocr"].num_rows
        for name, column in (("ocr", "lines"), ("captions", "captions"), ("selection", "keep"), ("mentions", "mentions"))
    }
    found = []
    for place, (lines, captions, keep, mentions) in enumerate(zip(*columns.values(), strict=True)):
        if lines and captions and keep:
            entities = {one["entity"] for one in mentions or []}
            languages = {line["language"] for line in lines}
            found.append((len(entities), len(languages), min(len(lines), 8), -(start + place)))
    return found


def _spoken(mention: Mapping[str, Any]) -> Exhibit:
    """Return what the page shows of a mention: the entity, and where its span stands."""
    where = f"{mention['source']} {mention['field']}" if mention["field"] else str(mention["source"])
    names = ("title", "title_zh", "description", "score", "text", "start", "end")
    return {name: mention[name] for name in names} | {"where": where}
