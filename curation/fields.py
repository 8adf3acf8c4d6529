"""What all tables share: fields that say what they mean, the columns of every table, and `conform`.

A field carries its meaning and its unit in its Arrow metadata, from which docs/tables.md is generated.
"""

import pyarrow as pa

from curation.errors import SchemaError

VERSION = 1
"""Version of all schemas; it grows when a column is added and old files must still read."""


def field(name: str, kind: pa.DataType, doc: str, *, unit: str = "", nullable: bool = True) -> pa.Field:
    """Return an Arrow field whose metadata holds its meaning and unit."""
    metadata = {"doc": doc} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


ID = field("id", pa.string(), "first 32 hex digits of the SHA-256 of the file's bytes", nullable=False)
ERROR = field("error", pa.string(), "why this row has no result; null when it has one")


def vector_type(dimension: int) -> pa.DataType:
    """Return the type of a float16 vector; the child is called element because Parquet returns it so."""
    return pa.list_(pa.field("element", pa.float16()), dimension)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with exactly the columns, order and types of `schema`.

    Raises SchemaError naming the first missing or extra column, or the column that cannot be cast.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    extra = [name for name in table.column_names if name not in schema.names]
    if missing or extra:
        raise SchemaError(f"columns do not match: missing {missing}, not in the schema {extra}")
    columns = [_cast(table.column(field.name), field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        cast = column if column.type.equals(field.type) else column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"column {field.name}: {column.type} cannot become {field.type}: {error}") from error
    if not field.nullable and cast.null_count:
        raise SchemaError(f"column {field.name} has {cast.null_count} nulls, but every row must have a value")
    return cast
