"""A full-text index over what is known of images in words: names, captions, tags, and the text read from them.

Documents enter part by part, ranked rows leave. It is SQLite's FTS5 in one file: an inverted index with BM25, no server and
nothing to install. The index holds no texts, only where words stand, so it stays smaller than the captions; what is shown
of a hit (the fields that matched, a snippet) is found in the few documents of the hits themselves.

BM25 as FTS5 has it, k1 = 1.2 and b = 0.75: Robertson and Zaragoza 2009, https://doi.org/10.1561/1500000019
"""

import json
import logging
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph.words import BREAK, Term, joined, parse, separated

log = logging.getLogger(__name__)

FIELDS = ("name", "caption", "tags", "text")
WEIGHTS = (0.5, 1.0, 1.0, 1.0)
"""What a match in each field counts: a file's name says less of a picture than words meant to describe it."""

VERSION = 1
"""Grows when documents or words are made differently; an index of another version is built again."""

OPENING, CLOSING = "\x02", "\x03"
"""What surrounds the matched words of a snippet; texts cannot hold these characters."""

_TOKENIZER = "porter unicode61 remove_diacritics 2"


@dataclass(frozen=True)
class Document:
    """The words of one image, by field."""

    name: str
    caption: str
    tags: str
    text: str


@dataclass(frozen=True)
class Hit:
    """A row that matched: `score` is BM25, higher is better; `complete` when every term of the query stands in it."""

    row: int
    score: float
    complete: bool


@dataclass(frozen=True)
class Match:
    """What is shown of a hit."""

    fields: tuple[str, ...]
    snippet: str


def documents(
    *, images: pa.Table, captions: pa.Table | None = None, tags: pa.Table | None = None, ocr: pa.Table | None = None
) -> list[Document | None]:
    """Return the words of every row of `images`, with which the other tables are aligned; None where the image failed."""
    keys, sources = images["key"].to_pylist(), images["caption"].to_pylist()
    written = _column(captions, "captions", "text", len(images))
    labels, lines = _column(tags, "tags", "label", len(images)), _column(ocr, "lines", "text", len(images))
    return [
        None
        if error is not None
        else Document(separated(key), _texts([source, *texts]), _texts(row_labels), separated(" ".join(row_lines)))
        for error, key, source, texts, row_labels, row_lines in zip(
            images["error"].to_pylist(), keys, sources, written, labels, lines, strict=True
        )
    ]


def _column(table: pa.Table | None, column: str, name: str, num: int) -> list[list[str]]:
    if table is None:
        return [[]] * num
    return [[item[name] for item in row or [] if item[name]] for row in table[column].to_pylist()]


def _texts(texts: Iterable[str | None]) -> str:
    return f" {BREAK} ".join(separated(text) for text in dict.fromkeys(texts) if text)


class FullText:
    """An index in one file, or in memory when `path` is None; a file that is no index any more is replaced."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            self._connection = self._opened(path)
        except sqlite3.DatabaseError as error:
            if path is None or not path.exists() or isinstance(error, sqlite3.OperationalError):
                raise OSError(f"the full-text index {path} cannot be opened: {error}") from error
            log.warning("%s is no index any more (%s) and is built again", path, error)
            path.unlink()
            self._connection = self._opened(path)

    def _opened(self, path: Path | None) -> sqlite3.Connection:
        connection = sqlite3.connect(path or ":memory:", timeout=120, isolation_level=None)
        connection.execute("CREATE TABLE IF NOT EXISTS parts (part INTEGER PRIMARY KEY, digest TEXT NOT NULL)")
        connection.execute(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5({', '.join(FIELDS)}, content='', tokenize='{_TOKENIZER}')"
        )
        return connection

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def update(self, *, digests: Sequence[str], starts: Sequence[int], read: Callable[[int], Sequence[Document | None]]) -> int:
        """Index the parts that are not in yet, and return how many; when one has changed, all are indexed again.

        digests: a content hash of each part's words. starts: the global row of each part's first document. read: a part's
        documents. Each part is one transaction, so an interrupted build goes on where it stopped.
        """
        versioned = [f"{VERSION}:{digest}" for digest in digests]
        done = 0
        with self._transaction():
            known = dict(self._execute("SELECT part, digest FROM parts"))
            if any(part >= len(versioned) or versioned[part] != digest for part, digest in known.items()):
                self._execute("INSERT INTO words(words) VALUES ('delete-all')")
                self._execute("DELETE FROM parts")
        for part, digest in enumerate(versioned):
            with self._transaction():
                if not self._execute("SELECT 1 FROM parts WHERE part = ?", (part,)):
                    self._add(part, digest, starts[part], read(part))
                    done += 1
        return done

    def search(self, query: str, *, limit: int, allowed: NDArray[np.bool_] | None = None) -> list[Hit]:
        """Return the best `limit` rows: those that hold every term of the query before those that hold some, each by BM25.

        allowed: bool (rows,); the others are passed over. Equal scores are ordered by row.
        Raises ConfigError when the query has no letter or digit.
        """
        terms = parse(query)
        hits = self._matching(terms, "AND", limit, allowed, set())
        if len(terms) > 1 and len(hits) < limit:
            hits += self._matching(terms, "OR", limit - len(hits), allowed, {hit.row for hit in hits})
        return hits

    def rows(self, query: str, *, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Return all rows, ascending, that hold every term of the query."""
        with self._told():
            matching = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid"
            found = self._connection.execute(matching, (_expression(parse(query), "AND"),))
            rows = np.fromiter((row for (row,) in found), np.int64)
        return rows if allowed is None else rows[allowed[rows]]

    def count(self, query: str) -> int:
        """Return how many rows hold every term of the query."""
        found = self._execute("SELECT count(*) FROM words WHERE words MATCH ?", (_expression(parse(query), "AND"),))
        return int(found[0][0])

    def holding(self, query: str, *, among: Sequence[int]) -> dict[str, set[int]]:
        """Return, for every term of the query, which of the rows `among` hold it."""
        rows = json.dumps([int(row) for row in among])
        found: dict[str, set[int]] = {}
        for term in parse(query):
            hits = self._execute(
                "SELECT rowid FROM words WHERE words MATCH ? AND rowid IN (SELECT value FROM json_each(?))",
                (term.expression, rows),
            )
            found[term.text] = {row for (row,) in hits}
        return found

    def frequencies(self, query: str) -> dict[str, int]:
        """Return, for every term of the query, how many rows hold it."""
        count = "SELECT count(*) FROM words WHERE words MATCH ?"
        return {term.text: int(self._execute(count, (term.expression,))[0][0]) for term in parse(query)}

    def __len__(self) -> int:
        return int(self._execute("SELECT count(*) FROM words_docsize")[0][0])

    def _matching(
        self, terms: Sequence[Term], operator: str, limit: int, allowed: NDArray[np.bool_] | None, known: set[int]
    ) -> list[Hit]:
        weights = ", ".join(str(weight) for weight in WEIGHTS)
        ranked = f"SELECT rowid, bm25(words, {weights}) AS score FROM words WHERE words MATCH ? ORDER BY score, rowid"
        with self._told():
            wanted = (
                Hit(row, -score, operator == "AND")
                for row, score in self._connection.execute(ranked, (_expression(terms, operator),))
                if row not in known and (allowed is None or allowed[row])
            )
            return list(islice(wanted, limit))

    def _add(self, part: int, digest: str, start: int, found: Sequence[Document | None]) -> None:
        rows = [(start + row, *astuple(document)) for row, document in enumerate(found) if document is not None]
        with self._told():
            self._connection.executemany(f"INSERT INTO words(rowid, {', '.join(FIELDS)}) VALUES (?, ?, ?, ?, ?)", rows)
        self._execute("INSERT INTO parts VALUES (?, ?)", (part, digest))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _execute(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a statement; raises OSError when the file is damaged, locked for long, or cannot grow."""
        with self._told():
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise OSError(f"the full-text index {self._path}: {error}; it may be deleted, and is built again") from error


def matches(found: Mapping[int, Document], query: str, *, num_words: int = 24) -> dict[int, Match]:
    """Return, for documents by row, which fields hold a term of the query, and the best piece of text with it.

    The matched words stand between OPENING and CLOSING. Rows without a match are left out.
    """
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f"CREATE VIRTUAL TABLE words USING fts5({', '.join(FIELDS)}, tokenize='{_TOKENIZER}')")
        rows = [(row, *astuple(document)) for row, document in found.items()]
        connection.executemany(f"INSERT INTO words(rowid, {', '.join(FIELDS)}) VALUES (?, ?, ?, ?, ?)", rows)
        expression = _expression(parse(query), "OR")
        fields: dict[int, list[str]] = {}
        for field in FIELDS:
            inside = connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (f"{{{field}}} : ({expression})",))
            for (row,) in inside:
                fields.setdefault(row, []).append(field)
        snippets = connection.execute(
            "SELECT rowid, snippet(words, -1, ?, ?, '...', ?) FROM words WHERE words MATCH ?",
            (OPENING, CLOSING, num_words, expression),
        )
        return {row: Match(tuple(fields[row]), _tidy(text)) for row, text in snippets if row in fields}
    finally:
        connection.close()


def _expression(terms: Sequence[Term], operator: str) -> str:
    return f" {operator} ".join(term.expression for term in terms)


def _tidy(snippet: str) -> str:
    """Return a snippet as it was written, with neighbouring marks as one."""
    return re.sub(f"{CLOSING}(\\s*){OPENING}", r"\1", joined(snippet))
