"""Entity linking of images: which entities of a knowledge base their texts name, with a score and the span that says so.

IMAGES, TAGS and OCR enter, MENTIONS leaves. The knowledge base is a folder of the tables ENTITIES, LINKS and ANCHORS. What
linking needs of them is written once into memory-mapped files beside them, by whichever process comes first, and shared by all.

An entity is listed once per image, by the mention in the most trusted text. Entities that are persons are never taken from a
tagger's labels: who somebody is, only the source's words or the picture's own text can say.
"""

import fcntl
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from captioning import dictionary, profiles
from captioning.answer import Backend
from captioning.choice import choose
from captioning.dictionary import Dictionary
from captioning.linking import LINKABLE, Linked, Span, link
from captioning.passages import METADATA_KEYS, SOURCES, Passage, passages
from captioning.profiles import Profiles
from captioning.rerank import SecondLook
from captioning.surface import Integers
from curation.errors import ConfigError, SchemaError
from curation.schema import ANCHORS, ENTITIES, LINKS, MENTIONS, conform
from curation.tables import Run, fingerprint

log = logging.getLogger(__name__)

TABLES = {"entities": ENTITIES, "anchors": ANCHORS, "links": LINKS}
"""Tables that linking reads; links may be absent."""
FOLDER = "_linking"
"""Folder in a knowledge base that holds what `Knowledge` maps into memory."""
VERSION = 1
"""Grows when the files are made differently."""
_TOLD = ("title", "title_zh", "description")
Mention = dict[str, Any]  # one MENTION struct


def digest(path: Path | str) -> str:
    """Return the hash of what linking reads of a knowledge base; raises ConfigError when there is none in `path`."""
    run = Run(path)
    for name in ("entities", "anchors"):
        if not run.has(name):
            raise ConfigError(f"{run.root} is no knowledge base: it holds no finished table {name}")
    return fingerprint({name: run.digest(name) for name in TABLES if run.has(name)})


class Knowledge:
    """A knowledge base as linking sees it: names, profiles, and what is told of an entity."""

    def __init__(self, path: Path | str) -> None:
        folder = prepared(path)
        self.dictionary, self.profiles = Dictionary(folder), Profiles(folder)
        with pa.memory_map(str(folder / "entities.arrow")) as file:
            self._told = pa.ipc.open_file(file).read_all()

    def told(self, entities: Sequence[int]) -> list[dict[str, str | None]]:
        """Return title, Chinese title and description of each entity."""
        rows: list[dict[str, str | None]] = self._told.take(pa.array(entities, pa.int64())).to_pylist()
        return rows

    def link(
        self,
        texts: Sequence[str],
        sample: Integers,
        *,
        min_link_probability: float = 0.03,
        given: Sequence[Span] | None = None,
        kinds: Sequence[str] = LINKABLE,
    ) -> Linked:
        """Return the names in texts and what they may stand for; see `captioning.linking.link`."""
        return link(
            texts,
            sample,
            self.dictionary,
            self.profiles,
            min_link_probability=min_link_probability,
            given=given,
            kinds=kinds,
        )


def prepared(path: Path | str) -> Path:
    """Return the folder of files that `Knowledge` maps, built when it is absent or was made from other tables."""
    root = Path(path).absolute()
    name = fingerprint({"version": VERSION, "tables": digest(root)})[:16]
    done = root / FOLDER / name
    if (done / "_done.json").exists():
        return done
    try:
        (root / FOLDER).mkdir(exist_ok=True)
        with (root / FOLDER / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process builds, the others wait for it
            if not (done / "_done.json").exists():
                _build(root, done)
    except OSError as error:
        raise ConfigError(f"knowledge.path {root}: what linking needs cannot be written there: {error}") from error
    return done


def _build(root: Path, done: Path) -> None:
    log.info("indexing the names of %s", root)
    for old in done.parent.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    made = done.with_name(f".{done.name}")
    made.mkdir()
    run = Run(root)
    dictionary.build(_parts(run, "anchors"), made)
    profiles.build(_parts(run, "entities"), _parts(run, "links"), made)
    schema = pa.schema([ENTITIES.field(name) for name in _TOLD])
    with pa.OSFile(str(made / "entities.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema.remove_metadata()) as file:
        for part in _parts(run, "entities", _TOLD):
            file.write_table(part.cast(schema).replace_schema_metadata())
    made.rename(done)
    (done / "_done.json").write_text(json.dumps({"version": VERSION}) + "\n")


def _parts(run: Run, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the parts of a table of the knowledge base; none of one that is not there."""
    for commit in run.commits(table) if run.has(table) else ():
        part = run.read_part(table, commit.part, columns)
        missing = set(columns or TABLES[table].names) - set(part.column_names)
        if missing:
            raise SchemaError(f"{table}/ of {run.root} lacks the column {sorted(missing)[0]}")
        yield part


class Linker:
    """Maps IMAGES, TAGS, OCR and WATERMARKS to MENTIONS.

    knowledge: folder of the knowledge base; knowledge_digest: what `digest` said when the run was planned. min_score: entities
    that are less surely meant are left out. rerank: none, text or image (captioning/rerank.py); embedder: the encoder whose text
    tower compares candidates with pictures, as `embed.model`. backend: a model that chooses where the score is unsure
    (captioning/choice.py). The other parameters are those of `passages` and `link`.
    Raises ConfigError when the knowledge base is not there or has changed since, or the embedder has no text tower.
    """

    def __init__(
        self,
        *,
        knowledge: str,
        knowledge_digest: str = "",
        min_score: float = 0.5,
        min_link_probability: float = 0.03,
        metadata_keys: Sequence[str] = METADATA_KEYS,
        min_line_confidence: float = 0.8,
        rerank: str = "none",
        embedder: str = "",
        backend: Backend | None = None,
    ) -> None:
        if knowledge_digest and digest(knowledge) != knowledge_digest:
            raise ConfigError(f"knowledge.path {knowledge} has changed since the run was planned; start the run again")
        self.knowledge = Knowledge(knowledge)
        self._min_score, self._min_link_probability = min_score, min_link_probability
        self._metadata_keys, self._min_line_confidence = tuple(metadata_keys), min_line_confidence
        self._backend = backend
        self._look = None if rerank == "none" else SecondLook(rerank, embedder)

    def __call__(
        self,
        *,
        images: pa.Table,
        tags: pa.Table,
        ocr: pa.Table,
        watermarks: pa.Table | None = None,
        embeddings: pa.Table | None = None,
    ) -> pa.Table:
        """Return MENTIONS, one row per row of `images`; a failed image keeps its error and has null mentions.

        embeddings: EMBEDDINGS, read when candidates are compared with pictures.
        """
        read: list[list[Passage]] = []
        errors: list[str | None] = []
        rows = images.select(["id", "caption", "metadata", "error"]).to_pylist()
        marks = [None] * len(rows) if watermarks is None else watermarks["texts"].to_pylist()
        others = (tags.select(["tags"]).to_pylist(), ocr.select(["lines"]).to_pylist(), marks)
        for image, labels, lines, own in zip(rows, *others, strict=True):
            error, found = image["error"], []
            if error is None:
                try:
                    found = passages(
                        image=image,
                        tags=labels,
                        ocr=lines,
                        watermarks=own or (),
                        metadata_keys=self._metadata_keys,
                        min_line_confidence=self._min_line_confidence,
                    )
                except Exception as failure:  # the per-image boundary: one odd row must not lose the part
                    error = f"{type(failure).__name__}: {failure}"[:200]
            read.append(found)
            errors.append(error)
        mentions = self.mentions(read, pictures=None if embeddings is None else embeddings["embedding"])
        listed = [None if error is not None else found for error, found in zip(errors, mentions, strict=True)]
        columns = {"id": images["id"], "mentions": pa.array(listed, MENTIONS.field("mentions").type)}
        return conform(pa.table(columns | {"error": pa.array(errors, pa.string())}), MENTIONS)

    def mentions(self, read: Sequence[Sequence[Passage]], *, pictures: pa.ChunkedArray | None = None) -> list[list[Mention]]:
        """Return the mentions of every image from its passages, those of the most trusted texts first.

        pictures: vectors of the images, null where there is none.
        """
        flat = [passage for found in read for passage in found]
        sample = np.repeat(np.arange(len(read)), [len(found) for found in read])
        texts = [passage.text for passage in flat]
        linked = self.knowledge.link(texts, sample, min_link_probability=self._min_link_probability)
        if self._look is not None:
            candidates = self.knowledge.told(linked.rows.entity.tolist())
            linked = self._look(linked, texts, sample, candidates, pictures=pictures)
        if self._backend is not None:
            linked = self._chosen(linked, texts, self._backend)
        made: list[list[Mention]] = [[] for _ in read]
        for row in _best_of_each(linked, flat, sample, self._allowed(linked, flat)):
            made[sample[linked.text[linked.rows.span[linked.best[row]]]]].append(_mention(linked, row, flat))
        every = [mention for found in made for mention in found]
        for mention, told in zip(every, self.knowledge.told([mention["entity"] for mention in every]), strict=True):
            mention |= told
        return made

    def _chosen(self, linked: Linked, texts: Sequence[str], backend: Backend) -> Linked:
        """Return the same names with the entities that a model chose among unsure candidates."""
        choice = choose(linked, texts, self.knowledge.told(linked.rows.entity.tolist()), backend)
        if choice.failed:
            log.warning("%d of %d choices among names had no usable answer; the statistics decided", choice.failed, choice.asked)
        return linked._replace(best=choice.best, score=choice.score)

    def _allowed(self, linked: Linked, flat: Sequence[Passage]) -> Integers:
        """Return the rows of `linked.best` that are sure enough, without persons seen by a tagger."""
        text = linked.text[linked.rows.span[linked.best]]
        from_tag = np.array([passage.source == "tag" for passage in flat], np.bool_)[text]
        person = self.knowledge.profiles.is_person(linked.rows.entity[linked.best])
        return np.flatnonzero((linked.score >= self._min_score) & ~(from_tag & person))


def _best_of_each(linked: Linked, flat: Sequence[Passage], sample: Integers, rows: Integers) -> Integers:
    """Return of every image and entity the row whose text is trusted most, the surest of them; ordered by trust and place."""
    span = linked.rows.span[linked.best[rows]]
    text, entity = linked.text[span], linked.rows.entity[linked.best[rows]]
    trust = np.array([SOURCES.index(passage.source) for passage in flat], np.int64)[text]
    order = np.lexsort((linked.start[span], text, -linked.score[rows], trust, entity, sample[text]))
    first = dictionary.changes(sample[text][order], entity[order])
    kept = np.sort(order[first])
    return np.asarray(rows[kept[np.lexsort((linked.start[span][kept], text[kept]))]], np.int64)


def _mention(linked: Linked, row: int, flat: Sequence[Passage]) -> Mention:
    best = linked.best[row]
    span = linked.rows.span[best]
    passage = flat[linked.text[span]]
    start, end = int(linked.start[span]), int(linked.end[span])
    return {
        "entity": int(linked.rows.entity[best]),
        "score": float(linked.score[row]),
        "link_probability": float(linked.rows.link_probability[best]),
        "commonness": float(linked.rows.commonness[best]),
        "coherence": float(linked.context.coherence[best]),
        "source": passage.source,
        "field": passage.field,
        "text": passage.text[start:end],
        "start": start,
        "end": end,
    }
