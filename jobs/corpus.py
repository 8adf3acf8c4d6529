"""What search, remediation and voids read of a run: vectors part by part, who was kept, words, and the run's own embedder."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.embedding import Embedder
from curation.encoders import load_encoder
from curation.errors import ConfigError, SourceError
from curation.ingest import ingest
from curation.items import Json
from curation.tables import Run, fingerprint
from graph.fulltext import Document, FullText, documents
from graph.regions import Labels
from graph.search import Part, corpus_mean
from graph.vectors import Floats, embedding_matrix, unit

FOLDER = "_search"
"""Where a run keeps what was made for searching; it may be deleted at any time."""

WORDS = ("captions", "tags", "ocr")


def parts(run: Run) -> Iterator[Part]:
    """Yield the run's vectors, part by part."""
    _need(run, "embeddings", "embed")
    for commit, start in zip(run.commits("embeddings"), run.offsets("embeddings"), strict=False):
        yield int(start), embedding_matrix(run.read_part("embeddings", commit.part, ["embedding"]))


def masked(run: Run, counted: NDArray[np.bool_]) -> Iterator[Part]:
    """Yield the run's vectors, part by part, with NaN in the rows that do not count."""
    for start, vectors in parts(run):
        vectors[~counted[start : start + len(vectors)]] = np.nan
        yield start, vectors


def vectors_of(run: Run, rows: Sequence[int]) -> Floats:
    """Return the vectors (n, d) of global rows; NaN where an image failed."""
    _need(run, "embeddings", "embed")
    return embedding_matrix(run.take("embeddings", np.array(rows, np.int64), ["embedding"]))


def mean(run: Run) -> Floats:
    """Return the mean of the run's distinct vectors; it is kept beside the run's tables until they change."""
    _need(run, "embeddings", "embed")
    path = run.root / FOLDER / f"mean-{run.digest('embeddings')[:16]}.npy"
    if path.is_file():
        return np.asarray(np.load(path), np.float32)
    found = corpus_mean(lambda: parts(run))
    try:
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.npy")
        np.save(temporary, found)
        os.replace(temporary, path)
    except OSError:  # a folder that is only read is searched all the same
        pass
    return found


def kept(run: Run) -> NDArray[np.bool_]:
    """Return bool (rows,): images that the selection keeps; raises ConfigError before there is one."""
    _need(run, "selection", "select")
    return np.asarray(run.read("selection", ["keep"])["keep"].to_numpy(), bool)


def counted(run: Run) -> NDArray[np.bool_]:
    """Return bool (rows,): the kept images, or before the selection those that did not fail."""
    if run.has("selection"):
        return kept(run)
    return np.asarray(run.read("images", ["error"])["error"].is_null().to_numpy(), bool)


def hierarchy(run: Run) -> list[Labels]:
    """Return the semantic community of every image at each level of HIERARCHY, coarsest first; nothing without the table."""
    if not run.has("hierarchy"):
        return []
    table = run.read("hierarchy")
    return [table[name].to_numpy().astype(np.int32) for name in table.column_names if name.startswith("level_")]


def model(run: Run) -> str:
    """Return the name of the embedder that made the run's vectors."""
    _need(run, "embeddings", "embed")
    record = run.manifest("embeddings") or run.started("embeddings") or {}
    return str(record["parameters"]["model"])


def has_text_tower(run: Run) -> bool:
    """Say whether the run's embedder maps texts into the space of its images."""
    return run.num_parts("embeddings") > 0 and "text_embedding" in run.read_part("embeddings", 0).column_names


def embed_texts(run: Run, texts: Sequence[str]) -> Floats:
    """Return the unit vectors (n, d) of texts by the run's embedder; it must have a text tower."""
    return unit(load_encoder(model(run), device="cpu").encode_texts(list(texts)))


def embed_files(run: Run, paths: Sequence[Path]) -> tuple[Floats, list[str | None]]:
    """Return the vectors (n, d) of picture files by the run's embedder, and why a file has none."""
    items: list[Json] = [{"path": str(path.absolute())} for path in paths]
    rows = ingest({"kind": "files", "root": "/", "items": items})
    made = Embedder(model=model(run))(images=rows)
    details = [detail or code for code, detail in zip(rows["error"].to_pylist(), rows["error_detail"].to_pylist(), strict=True)]
    errors = [None if error is None else f"{error}: {why}" for error, why in zip(made["error"].to_pylist(), details, strict=True)]
    return embedding_matrix(made), errors


def embed_file(run: Run, path: Path) -> Floats:
    """Return the vector (d,) of one picture; raises SourceError when it cannot be read."""
    vectors, (error,) = embed_files(run, [path])
    if error is not None:
        raise SourceError(f"{path} cannot be read as an image: {error}")
    return np.asarray(vectors[0])


def full_text(run: Run) -> FullText:
    """Return the run's full-text index, brought up to date with its tables; raises ConfigError when there are no words.

    It lies in the run folder; when that cannot be written, it is made in memory.
    """
    if not has_words(run):
        raise ConfigError(
            f"{run.root} has no words to search: its images came without captions, and captions, tags and ocr have not run. "
            "Run those stages, or search with --image or --id"
        )
    index = _opened(run.root / FOLDER / "words.sqlite")
    tables = [table for table in WORDS if run.num_parts(table)]
    index.update(digests=_digests(run, tables), starts=run.offsets("images")[:-1].tolist(), read=document_reader(run))
    return index


def has_words(run: Run) -> bool:
    """Say whether anything but file names is known of the run's images in words."""
    tables = any(run.num_parts(table) for table in WORDS)
    return tables or run.read("images", ["caption"])["caption"].null_count < run.offsets("images")[-1]


def document_reader(run: Run) -> Callable[[int], list[Document | None]]:
    """Return the function that reads the words of a part."""
    committed = {table: {commit.part for commit in run.commits(table)} for table in WORDS}

    def read(part: int) -> list[Document | None]:
        present = {table: run.read_part(table, part) for table in WORDS if part in committed[table]}
        return documents(images=run.read_part("images", part, ["key", "caption", "error"]), **present)

    return read


def documents_of(run: Run, rows: Sequence[int]) -> dict[int, Document]:
    """Return the words of the images at global rows."""
    read, starts = document_reader(run), run.offsets("images")
    part_of = np.searchsorted(starts, np.array(rows, np.int64), side="right") - 1
    held = {int(part): read(int(part)) for part in np.unique(part_of)}
    found = {row: held[int(part)][row - int(starts[part])] for row, part in zip(rows, part_of, strict=True)}
    return {row: document for row, document in found.items() if document is not None}


def _digests(run: Run, tables: Sequence[str]) -> list[str]:
    """Return a hash of the committed files of every part that the index reads."""
    files: dict[int, list[object]] = {commit.part: [] for commit in run.commits("images")}
    for table in ("images", *tables):
        for commit in run.commits(table):
            files[commit.part] += [table, sorted(commit.files.items())]
    return [fingerprint(files[part]) for part in sorted(files)]


def _opened(path: Path) -> FullText:
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("ab"):
            pass
    except OSError:
        return FullText(None)
    return FullText(path)


def _need(run: Run, table: str, stage: str) -> None:
    if not run.num_parts(table):
        raise ConfigError(f"{run.root} has no {table}/ table yet: run the stage {stage} first")
