"""Stage of a knowledge base that writes ENTITIES: articles part by part, then the titles that are only linked to."""

from itertools import pairwise

import numpy as np
import pyarrow as pa

from captioning.entities import articles, outside
from captioning.link_rows import page_entities
from curation.tables import Run
from jobs.knowledge_languages import all_meanings
from jobs.knowledge_titles import index, summary
from jobs.scratch import mapped, scratch
from jobs.stage import Item, Output

OUTSIDE_PER_PART = 200_000


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item per part of PAGES, and as many for the outside titles as they fill."""
    about = summary(run)
    first, articles_end, end = about["first_entity"], int(about["articles"]), int(about["entities"])
    borders = [*range(articles_end, end, OUTSIDE_PER_PART), end]
    ranges = [("pages", *pair) for pair in pairwise(first)] + [("titles", *pair) for pair in pairwise(borders)]
    return [
        {"parts": [part], "table": table, "first": begin, "end": behind} for part, (table, begin, behind) in enumerate(ranges)
    ]


def work(run: Run, item: Item, **_: object) -> list[Output]:
    """Return ENTITIES of one range of numbers."""
    (part,) = item["parts"]
    first, end = int(item["first"]), int(item["end"])
    links_in, known = mapped(run, "tally", "links_in"), _meanings(run, first, end)
    if item["table"] == "titles":
        rows = run.take("titles", np.arange(first, end))
        return [Output(part, outside(rows, links_in=links_in, known=known))]
    pages = run.read_part("pages", part)
    found = page_entities(pages, index(run))
    rows_, position = np.unique(found, return_index=True)
    owned = np.sort(position[(rows_ >= first) & (rows_ < end)])
    return [Output(part, articles(pages, owned, first=first, links_in=links_in, known=known))]


def plan_meanings(run: Run, **_: object) -> list[Item]:
    """Return a single item."""
    return [{"parts": [0]}]


def work_meanings(run: Run, item: Item, **_: object) -> list[Output]:
    """Join the language links with the entities, sorted, in a file that workers map."""
    rows = all_meanings(run)
    path = scratch(run, "meanings", "meanings.arrow")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return [Output(0, None, files={"meanings.arrow": path}, counts={"ok": rows.num_rows})]


def _meanings(run: Run, first: int, end: int) -> pa.Table:
    with pa.memory_map(str(run.folder("meanings") / "meanings.arrow")) as file:
        rows = pa.ipc.open_file(file).read_all()
    entity = rows.column("entity").combine_chunks().to_numpy() if rows.num_rows else np.zeros(0, np.int64)
    begin, behind = np.searchsorted(entity, [first, end])
    return rows.slice(int(begin), int(behind - begin)).combine_chunks()
