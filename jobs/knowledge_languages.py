"""Which entities the language links speak of: by the page's number, by its title, or by its Q identifier."""

import numpy as np
import pyarrow as pa

from captioning.entities import MEANINGS, meanings
from curation.tables import Run
from jobs.knowledge_titles import index
from jobs.scratch import mapped


def language_entities(run: Run, languages: pa.Table) -> np.ndarray:
    """Return the entity of every row of LANGUAGES, -1 for one without."""
    titles = index(run)
    by_title = np.where(_valid(languages, "title"), titles.find(languages.column("title")), -1)
    by_identifier = np.where(_valid(languages, "wikidata"), titles.find(languages.column("wikidata")), -1)
    numbers, entities = mapped(run, "titles", "pages"), mapped(run, "titles", "page_entities")
    wanted = languages.column("page").combine_chunks().fill_null(-1).to_numpy()
    position = np.minimum(np.searchsorted(numbers, wanted), max(len(numbers) - 1, 0))
    by_number = np.where(numbers[position] == wanted, entities[position], -1) if len(numbers) else np.full(len(wanted), -1)
    return np.where(by_number >= 0, by_number, np.where(by_title >= 0, by_title, by_identifier)).astype(np.int64)


def _valid(rows: pa.Table, name: str) -> np.ndarray:
    return np.asarray(rows.column(name).is_valid().combine_chunks().to_numpy(zero_copy_only=False), bool)


def all_meanings(run: Run) -> pa.Table:
    """Return what the language links say of all entities, sorted by them."""
    if not run.has("languages"):
        return MEANINGS.empty_table()
    rows = run.read("languages")
    return meanings(rows, language_entities(run, rows)).combine_chunks()
