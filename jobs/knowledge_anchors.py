"""Stages of a knowledge base that gather the surface forms and count where they stand without being links.

Every worker cuts its forms into the same ranges of texts and writes one record batch per range; a range is then gathered from all
files by mapping them. So the forms are sorted as a whole, and no worker holds more than a part and a range.
"""

import numpy as np
import pyarrow as pa

from captioning.forms import chinese_forms, cut, merged, shown_forms, title_forms
from captioning.link_rows import target_entities
from captioning.occurrences import count_unlinked, form_hashes, sieve
from captioning.string_keys import find
from curation.schema import ANCHORS, FORMS, OCCURRENCES
from curation.tables import Run
from jobs.knowledge_languages import language_entities
from jobs.knowledge_titles import index, summary
from jobs.scratch import mapped, saved, scratch
from jobs.stage import Item, Output

UNSEEN = np.uint64(0)
"""Hash of a form whose occurrences are not counted."""


def plan_surfaces(run: Run, **_: object) -> list[Item]:
    """Return one item per part of PAGES, of TITLES and of LANGUAGES."""
    work = [(table, part) for table in ("pages", "titles", "languages") for part in range(run.num_parts(table))]
    return [{"parts": [number], "table": table, "part": part} for number, (table, part) in enumerate(work)]


def work_surfaces(run: Run, item: Item, *, language: str, **_: object) -> list[Output]:
    """Write the forms that one part of a table gives, a record batch per range of texts."""
    about = summary(run)
    rows = _forms(run, item["table"], int(item["part"]), language, int(about["articles"]))
    (number,) = item["parts"]
    name = _file(number)
    path = scratch(run, "surfaces", name)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, FORMS.remove_metadata(), options=options) as writer:
        for piece in cut(rows, about["range_starts"]):
            writer.write_batch(_one_batch(piece))
    return [Output(number, None, files={name: path}, counts={"ok": rows.num_rows})]


def _forms(run: Run, table: str, part: int, language: str, num_articles: int) -> pa.Table:
    if table == "titles":
        return title_forms(run.read_part("titles", part), num_articles, language=language)
    if table == "languages":
        rows = run.read_part("languages", part)
        return chinese_forms(rows.column("title_zh").combine_chunks(), language_entities(run, rows))
    rows = run.read_part("pages", part, ["title", "title_zh", "links"])
    titles = index(run)
    shown = shown_forms(rows, target_entities(rows, titles), language=language)
    return merged([shown, chinese_forms(rows.column("title_zh").combine_chunks(), titles.find(rows.column("title")))])


def _one_batch(piece: pa.Table) -> pa.RecordBatch:
    columns = [column.combine_chunks() for column in piece.columns]
    return pa.RecordBatch.from_arrays(columns, schema=FORMS.remove_metadata())


def _file(number: int) -> str:
    return f"part-{number:05d}.arrow"


def plan_ranges(run: Run, **_: object) -> list[Item]:
    """Return one item per range of texts."""
    return [{"parts": [part]} for part in range(len(summary(run)["range_starts"]) + 1)]


def work_forms(run: Run, item: Item, **_: object) -> list[Output]:
    """Gather one range of texts from all files, and hash its forms."""
    (part,) = item["parts"]
    batches = []
    for number in range(run.num_parts("surfaces")):
        with pa.memory_map(str(run.folder("surfaces") / _file(number))) as file:
            batches.append(pa.ipc.open_file(file).get_batch(part))
    rows = merged([pa.Table.from_batches(batches)])
    hashes = form_hashes(rows.column("text").to_pylist())
    files = saved(run, "forms", **{f"hashes-{part:05d}": hashes})
    return [Output(part, rows, files=files)]


def plan_one(run: Run, **_: object) -> list[Item]:
    """Return a single item of one part."""
    return [{"parts": [0]}]


def work_lexicon(run: Run, item: Item, **_: object) -> list[Output]:
    """Sort the hashes of all forms, each once."""
    parts = [mapped(run, "forms", f"hashes-{part:05d}") for part in range(run.num_parts("forms"))]
    hashes = np.unique(np.concatenate(parts))
    hashes = hashes[hashes != UNSEEN]
    return [Output(0, None, files=saved(run, "lexicon", hashes=hashes, sieve=sieve(hashes)), counts={"ok": len(hashes)})]


def work_occurrences(run: Run, item: Item, **_: object) -> list[Output]:
    """Count the forms in the running text of one part of PAGES."""
    (part,) = item["parts"]
    texts = run.read_part("pages", part, ["text"]).column("text")
    forms, counts = count_unlinked(texts, mapped(run, "lexicon", "hashes"), mapped(run, "lexicon", "sieve"))
    return [Output(part, pa.Table.from_arrays([pa.array(forms), pa.array(counts)], schema=OCCURRENCES))]


def work_tally(run: Run, item: Item, **_: object) -> list[Output]:
    """Sum up over all parts: links into every entity, and unlinked occurrences of every form."""
    links_in = np.zeros(int(summary(run)["entities"]), np.int64)
    for part in range(run.num_parts("links")):
        np.add.at(links_in, run.read_part("links", part, ["target"]).column("target").to_numpy(), 1)
    unlinked = np.zeros(len(mapped(run, "lexicon", "hashes")), np.int64)
    for part in range(run.num_parts("occurrences")):
        rows = run.read_part("occurrences", part)
        unlinked[rows.column("form").to_numpy()] += rows.column("count").to_numpy()
    return [Output(0, None, files=saved(run, "tally", links_in=links_in, unlinked=unlinked), counts={"ok": len(links_in)})]


def work_anchors(run: Run, item: Item, **_: object) -> list[Output]:
    """Return ANCHORS of one range of texts: its forms with their occurrences."""
    (part,) = item["parts"]
    rows = run.read_part("forms", part)
    form = find(mapped(run, "lexicon", "hashes"), np.asarray(mapped(run, "forms", f"hashes-{part:05d}")))
    unlinked = mapped(run, "tally", "unlinked")
    free = np.where(form >= 0, unlinked[np.maximum(form, 0)], 0) if len(unlinked) else np.zeros(len(form), np.int64)
    text = rows.column("text").combine_chunks().dictionary_encode().indices.to_numpy()
    links = rows.column("links").to_numpy()
    linked = np.bincount(text, links, minlength=1).astype(np.int64)[text] if len(text) else links
    table = rows.append_column("occurrences", pa.array(linked + free))
    return [Output(part, table.select(ANCHORS.names).cast(ANCHORS).combine_chunks())]
