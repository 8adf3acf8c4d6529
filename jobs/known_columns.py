"""What rules of the selection and groups of the balance may name, known before any stage has run.

The stages before them can take hours. So a rule is asked about tables without rows as soon as the configuration is complete, by
the code that asks it about the run's own tables later: an unknown column and a value of another kind are found at once.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from curation import schema
from curation.columns import grouping_column, named_columns
from curation.rules import hits, parse_rules

GRAPH_TABLES = ("hierarchy", "caption_fit")
"""Tables that only some methods of deduplication write."""


def check_rules(rules: Sequence[Mapping[str, object]], *, method: str) -> None:
    """Raise ConfigError when a rule names a column that a run by `method` has not, or compares it with what it never holds."""
    from jobs.choose import TABLES

    columns = _columns(("placeholders", *TABLES), method)
    for rule in parse_rules(rules):
        hits(rule, columns, columns["images.group"])


def check_grouping(by: str, *, method: str) -> None:
    """Raise ConfigError when `by` is no column of single values that a run by `method` has."""
    from jobs.balance import TABLES

    grouping_column(_columns(TABLES, method), by)


def _columns(tables: Sequence[str], method: str) -> dict[str, pa.Array]:
    """Return the columns of `tables` as `curation.columns.named_columns` does, without rows."""
    from curation.metrics import METRICS_SCHEMA
    from graph.placeholders import by_image

    written = [name for name in tables if name not in GRAPH_TABLES or method != "similarity"]
    empty = {name: (METRICS_SCHEMA if name == "metrics" else getattr(schema, name.upper())).empty_table() for name in written}
    if "placeholders" in empty:  # rules know what stands for a placeholder image by image
        empty["placeholders"] = by_image(empty["placeholders"], num_images=0)
    return named_columns(empty)
