"""A run's tables on disk: parts, commit records, manifests and aligned reads.

    <run>/<table>/part-00000.parquet        what anyone may read; names starting with "_" are skipped by Arrow, Spark and DuckDB
                 /_attempts/                 finished but not yet published files of one attempt
                 /_commits/part-00000.json   created exclusively: of two attempts at a part exactly one counts
                 /_stage.json                created exclusively when the stage starts: parameters and input digests
                 /_manifest.json             written last: if it exists, the table is complete

A part is the unit of work, of failure and of resume. Execution is at least once; the exclusive commit record makes the visible
output exactly once. A crash between commit and publish is mended by `recover`, which finishes the rename.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.errors import AlreadyExists, CorruptPart, SchemaError
from curation.schema import EDIT_PAIRS, PAIR_SHARDS, SHARDS
from curation.store import LocalStore

JSON = Mapping[str, Any]
"""A JSON object: parameters and records whose keys their writer defines."""


LOCK = "_lock"
"""Name of the empty file that a run's driver locks; its presence says that a folder is a run."""

_MAY_HAVE_NO_PART = {"shards": SHARDS, "edit_pairs": EDIT_PAIRS, "pair_shards": PAIR_SHARDS}
"""Tables that are complete without any part: nothing kept, nothing packed."""


@dataclass(frozen=True)
class Commit:
    """The record that makes one part visible; `files` maps keys in the run to (sha256, bytes)."""

    part: int
    files: dict[str, tuple[str, int]]
    rows: int
    counts: dict[str, int]
    fingerprint: str
    wall_seconds: float
    cpu_seconds: float
    attempts: dict[str, str]


@dataclass(frozen=True)
class Cost:
    """What computing one part took."""

    wall_seconds: float
    cpu_seconds: float


def part_stem(table: str, part: int) -> str:
    """Return the file stem of a part: shards keep the name that readers of WebDataset expect."""
    return f"shard-{part:06d}" if table in ("shards", "pair_shards") else f"part-{part:05d}"


def canonical(value: object) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def fingerprint(value: object) -> str:
    """Return the sha256 in hex of a JSON value."""
    return hashlib.sha256(canonical(value)).hexdigest()


class Run:
    """A run folder: reads tables by name, part or global row, and commits parts."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        self.store = LocalStore(self.root)

    # reading ---------------------------------------------------------------------------------------------------------

    def folder(self, table: str) -> Path:
        """Return the local folder of a table."""
        return self.root / table

    def has(self, table: str) -> bool:
        """Say whether the table is complete."""
        return self.store.exists(f"{table}/_manifest.json")

    def manifest(self, table: str) -> dict[str, Any] | None:
        """Return the manifest of a complete table."""
        return self._json(f"{table}/_manifest.json")

    def started(self, table: str) -> dict[str, Any] | None:
        """Return what the stage was started with: parameters, inputs and number of parts."""
        return self._json(f"{table}/_stage.json")

    def commits(self, table: str) -> list[Commit]:
        """Return the committed parts in order; parts may be missing while the stage runs."""
        if not self.folder(table).is_dir():
            return []
        keys = [key for key in self.store.list(f"{table}/_commits") if not Path(key).name.startswith(".")]
        return sorted((_commit(key, self.store.get(key)) for key in keys), key=lambda commit: commit.part)

    def num_parts(self, table: str) -> int:
        """Return the number of committed parts."""
        manifest = self.manifest(table)
        return len(self.commits(table)) if manifest is None else int(manifest["parts"])

    def read_part(self, table: str, part: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return one part; raises FileNotFoundError when it is not committed, CorruptPart when it is no parquet any more."""
        key = f"{table}/{part_stem(table, part)}.parquet"
        try:
            value = self.store.get(key)
        except FileNotFoundError as error:
            if self.store.exists(f"{table}/_commits/{part_stem(table, part)}.json"):
                raise CorruptPart(f"{key} was committed but is missing") from error
            raise
        try:
            # Not read_table: its threads may let go of Python's buffer while the interpreter ends, which aborts the process.
            file = pq.ParquetFile(pa.BufferReader(value))
            return file.read(columns=list(columns) if columns else None, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise CorruptPart(f"{key} cannot be read, so it has changed since it was committed: {_line(error)}") from error

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all committed rows in order; raises FileNotFoundError when there are none and the table is not complete."""
        parts = [self.read_part(table, commit.part, columns) for commit in self.commits(table)]
        if not parts and table in _MAY_HAVE_NO_PART and self.has(table):
            empty = _MAY_HAVE_NO_PART[table].empty_table()
            return empty.select(list(columns)) if columns else empty
        if not parts:
            raise FileNotFoundError(f"{table}/ has no committed part in {self.root}")
        return pa.concat_tables(parts)

    def offsets(self, table: str) -> np.ndarray:
        """Return int64 (parts + 1,): the global row at which each part begins, and the total."""
        manifest = self.manifest(table) or {}
        rows = manifest.get("part_rows") or [commit.rows for commit in self.commits(table)]
        return np.cumsum([0, *rows], dtype=np.int64)

    def take(self, table: str, rows: np.ndarray, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the given global rows in the given order, reading only the parts that hold them."""
        rows = np.asarray(rows, dtype=np.int64)
        offsets = self.offsets(table)
        if rows.size and (rows.min() < 0 or rows.max() >= offsets[-1]):
            raise IndexError(f"{table}/ has {offsets[-1]} rows, asked for {rows.min()}..{rows.max()}")
        wanted = np.unique(rows)
        part_of = np.searchsorted(offsets, wanted, side="right") - 1
        pieces = [
            self.read_part(table, int(part), columns).take(wanted[part_of == part] - offsets[part]) for part in np.unique(part_of)
        ]
        found = pa.concat_tables(pieces) if pieces else self.read_part(table, 0, columns).slice(0, 0)
        return found.take(np.searchsorted(wanted, rows))

    def aligned(self, tables: Sequence[str], part: int) -> dict[str, pa.Table]:
        """Return one part of several row-aligned tables; raises SchemaError when their ids differ."""
        found = {table: self.read_part(table, part) for table in tables}
        ids = [table.column("id").combine_chunks() for table in found.values()]
        for name, other in zip(found, ids, strict=True):
            if not other.equals(ids[0]):
                raise SchemaError(f"{name}/ part {part} is not aligned with {tables[0]}/: its ids differ")
        return found

    def digest(self, table: str) -> str:
        """Return the content hash of a table: a function of its committed files alone; a complete table's manifest holds it."""
        manifest = self.manifest(table)
        return self.committed_digest(table) if manifest is None else str(manifest["digest"])

    def committed_digest(self, table: str) -> str:
        """Return the content hash as the commit records alone give it, whatever the manifest says."""
        return fingerprint([[commit.part, sorted(commit.files.items())] for commit in self.commits(table)])

    # writing ---------------------------------------------------------------------------------------------------------

    def start(self, table: str, record: JSON) -> None:
        """Record what a stage is started with; keeps the first record when there is one."""
        try:
            self.store.create(f"{table}/_stage.json", canonical(record) + b"\n")
        except AlreadyExists:
            pass

    def commit_part(
        self,
        table: str,
        part: int,
        rows: pa.Table | None,
        *,
        fingerprint: str,
        cost: Cost,
        files: Mapping[str, Path] | None = None,
        published: Sequence[str] = (),
        counts: Mapping[str, int] | None = None,
    ) -> Commit:
        """Publish one part exactly once and return the commit that counts, ours or an earlier one.

        rows: the part's table, or None for a stage that writes no table.
        files: finished local files to move beside the part, by file name.
        published: keys of files that the stage has already put in their place (checkpoints, the report).
        counts: rows by status; by default taken from the columns status or error.
        """
        attempt = f"{table}/_attempts/{uuid4().hex}"
        moved = {f"{table}/{name}": self._put_attempt(f"{attempt}.{name}", path) for name, path in (files or {}).items()}
        if rows is not None:
            name = f"{part_stem(table, part)}.parquet"
            moved[f"{table}/{name}"] = self._put_table(f"{attempt}.{name}", rows)
        record = Commit(
            part=part,
            files={key: self.store.sha256(source) for key, source in moved.items()}
            | {key: self.store.sha256(key) for key in published},
            rows=rows.num_rows if rows is not None else sum((counts or {}).values()),
            counts=dict(counts) if counts is not None else count_by_status(rows),
            fingerprint=fingerprint,
            wall_seconds=round(cost.wall_seconds, 3),
            cpu_seconds=round(cost.cpu_seconds, 3),
            attempts=moved,
        )
        return self._publish(table, record)

    def recover(self, table: str) -> list[Commit]:
        """Finish publishes that a crash interrupted, forget commits whose files are gone, return the rest."""
        return [commit for commit in self.commits(table) if self._recovered(table, commit)]

    def finish(self, table: str, record: JSON) -> dict[str, Any]:
        """Write the manifest of a complete table and clear leftover attempts."""
        commits = self.commits(table)
        totals: Counter[str] = Counter()
        for commit in commits:
            totals.update(commit.counts)
        manifest = {
            **record,
            "parts": len(commits),
            "rows": sum(commit.rows for commit in commits),
            "part_rows": [commit.rows for commit in commits],
            "counts": dict(sorted(totals.items())),
            "digest": self.digest(table),
            "wall_seconds": round(sum(commit.wall_seconds for commit in commits), 3),
            "cpu_seconds": round(sum(commit.cpu_seconds for commit in commits), 3),
        }
        for key in list(self.store.list(f"{table}/_attempts")):
            self.store.delete(key)
        self.store.put(f"{table}/_manifest.json", json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")
        return manifest

    def verify(self, table: str) -> Iterator[CorruptPart]:
        """Yield an error for every committed file that is missing or has another sha256 than recorded."""
        for commit in self.commits(table):
            for key, (sha256, _) in commit.files.items():
                if not self.store.exists(key):
                    yield CorruptPart(f"{key} is missing; it was committed with sha256 {sha256[:12]}")
                elif self.store.sha256(key)[0] != sha256:
                    yield CorruptPart(f"{key} has changed since it was committed with sha256 {sha256[:12]}")

    # below -----------------------------------------------------------------------------------------------------------

    def _json(self, key: str) -> dict[str, Any] | None:
        return _record(key, self.store.get(key)) if self.store.exists(key) else None

    def _put_attempt(self, key: str, path: Path) -> str:
        self.store.put_file(key, path)
        return key

    def _put_table(self, key: str, table: pa.Table) -> str:
        sink = pa.BufferOutputStream()
        # Numbers of vectors hardly repeat: a dictionary of them makes float16 five times slower to read and no smaller.
        pq.write_table(table, sink, compression="zstd", use_dictionary=not _has_vectors(table.schema))
        value = sink.getvalue().to_pybytes()
        if pq.read_metadata(pa.BufferReader(value)).num_rows != table.num_rows:
            raise CorruptPart(f"{key}: wrote another number of rows than {table.num_rows}")
        self.store.put(key, value)
        return key

    def _publish(self, table: str, commit: Commit) -> Commit:
        key = f"{table}/_commits/{part_stem(table, commit.part)}.json"
        try:
            self.store.create(key, canonical(asdict(commit)) + b"\n")
        except AlreadyExists:
            for attempt in commit.attempts.values():
                self.store.delete(attempt)
            return _commit(key, self.store.get(key))
        for target, attempt in commit.attempts.items():
            self.store.publish(attempt, target)
        return commit

    def _recovered(self, table: str, commit: Commit) -> bool:
        for target, attempt in commit.attempts.items():
            if not self.store.exists(target) and self.store.exists(attempt):
                self.store.publish(attempt, target)
        if all(self.store.exists(key) for key in commit.files):
            return True
        self.store.delete(f"{table}/_commits/{part_stem(table, commit.part)}.json")
        return False


def _has_vectors(schema: pa.Schema) -> bool:
    return any(pa.types.is_fixed_size_list(field.type) and pa.types.is_float16(field.type.value_type) for field in schema)


def count_by_status(rows: pa.Table | None) -> dict[str, int]:
    """Return rows by status: the column status if there is one, else ok and each error's code."""
    if rows is None:
        return {}
    if "status" in rows.column_names:
        column = rows.column("status")
    elif "error" in rows.column_names:
        column = pc.fill_null(rows.column("error"), "ok")
    else:
        return {"ok": rows.num_rows}
    counts = pc.value_counts(column.combine_chunks())
    return dict(sorted((str(pair["values"]), int(pair["counts"])) for pair in counts.to_pylist()))


def _commit(key: str, value: bytes) -> Commit:
    record = _record(key, value)
    try:
        files = {name: (str(sha256), int(size)) for name, (sha256, size) in record.pop("files").items()}
        return Commit(files=files, **record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptPart(f"{key} is no commit record any more: {_line(error)}") from error


def _record(key: str, value: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(value))
    except (ValueError, TypeError) as error:
        raise CorruptPart(f"{key} is no JSON object any more: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
