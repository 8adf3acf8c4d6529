"""Everything of an image that a rule or a grouping may name, by 'table.column', as one array each."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import ConfigError
from curation.rules import nearest


def named_columns(tables: Mapping[str, pa.Table]) -> dict[str, pa.Array]:
    """Return every scalar column, images.flags, and what is derived of sizes, tags and text lines; the tables are row-aligned."""
    found = {
        f"{table}.{field.name}": rows[field.name].combine_chunks()
        for table, rows in tables.items()
        for field in rows.schema
        if not pa.types.is_nested(field.type) or field.name == "flags"
    }
    found |= _size_columns(tables["images"])
    if "tags" in tables:
        found |= _tag_columns(tables["tags"]["tags"].combine_chunks())
    if "ocr" in tables:
        found |= _ocr_columns(tables["ocr"]["lines"].combine_chunks())
    return found


def grouping_column(columns: Mapping[str, pa.Array], by: str) -> pa.Array:
    """Return the column that `by` names, one value per image; without a table it is one of images.

    Raises ConfigError when there is none, or it holds lists.
    """
    name = by if "." in by else f"images.{by}"
    scalars = [name for name, column in columns.items() if not pa.types.is_list(column.type)]
    if name not in scalars:
        raise ConfigError(f'balance.by: there is no column "{name}" of single values{nearest(name, scalars)}')
    return columns[name]


def _size_columns(images: pa.Table) -> dict[str, pa.Array]:
    width = images["width"].combine_chunks().cast(pa.float64())
    height = images["height"].combine_chunks().cast(pa.float64())
    longer, shorter = pc.max_element_wise(width, height), pc.min_element_wise(width, height)
    return {
        "images.megapixels": pc.divide(pc.multiply(width, height), 1e6),
        "images.aspect": pc.divide(longer, shorter),
    }


def _tag_columns(tags: pa.ListArray) -> dict[str, pa.Array]:
    rows = tags.to_pylist()
    best = [row[0] if row else {"label": None, "score": None} for row in rows]
    labels = [None if row is None else [tag["label"] for tag in row] for row in rows]
    return {
        "tags.labels": pa.array(labels, pa.list_(pa.string())),
        "tags.best": pa.array([tag["label"] for tag in best], pa.string()),
        "tags.best_score": pa.array([tag["score"] for tag in best], pa.float32()),
    }


def _ocr_columns(lines: pa.ListArray) -> dict[str, pa.Array]:
    rows = lines.to_pylist()
    characters = [None if row is None else sum(len(line["text"] or "") for line in row) for row in rows]
    return {"ocr.num_lines": pc.list_value_length(lines), "ocr.num_characters": pa.array(characters, pa.int32())}
