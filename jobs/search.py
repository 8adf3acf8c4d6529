"""The verb search: by picture, by words, by an image of the run, or by a community; every kind of answer has one shape."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cards import cards
from curation.errors import ConfigError
from curation.tables import Run
from graph import fulltext
from graph.search import cosines, nearest
from graph.vectors import Floats, unit, usable
from jobs import corpus
from jobs.explain import rows_called

Answer = dict[str, Any]
"""run, asked, how, kept_only, by (similarity or score), results (cards with the measure); for a community also its members,
for a picture file its path."""

MAX_MEMBERS = 100
"""Members of a community that are listed, nearest to the keeper first."""


def answer(
    run: Run,
    *,
    image: Path | None = None,
    text: str | None = None,
    community: str | None = None,
    id_: str | None = None,
    vector: str | None = None,
    k: int = 20,
    kept_only: bool = False,
    words: bool = False,
) -> Answer:
    """Return the answer to the one thing that is asked; raises ConfigError unless exactly one is."""
    asked = {"--image": image, "--text": text, "--community": community, "--id": id_, "--vector": vector}
    given = [option for option, value in asked.items() if value is not None]
    if len(given) != 1:
        raise ConfigError(f"search takes exactly one of {', '.join(asked)}; given: {', '.join(given) or 'none'}")
    if words and text is None:
        raise ConfigError("--words goes with --text only")
    if image is not None:
        found = by_image(run, image, k=k, kept_only=kept_only)
    elif text is not None:
        found = by_text(run, text, k=k, kept_only=kept_only, words=words)
    elif community is not None:
        found = by_community(run, community, k=k, kept_only=kept_only)
    elif vector is not None:
        found = by_vector(run, vector, k=k, kept_only=kept_only)
    else:
        found = by_id(run, str(id_), k=k, kept_only=kept_only)
    return found | {"run": str(run.root), "kept_only": kept_only}


def by_image(run: Run, path: Path, *, k: int, kept_only: bool) -> Answer:
    """Return the images nearest to a picture file."""
    found = _near(run, corpus.embed_file(run, path), k, kept_only)
    how = f"Nearest by the embedder {corpus.model(run)}."
    return {"asked": path.name, "file": str(path), "how": how, "by": "similarity", "results": found}


def by_id(run: Run, name: str, *, k: int, kept_only: bool) -> Answer:
    """Return the images nearest to an image of the run, which is itself left out; raises ConfigError when it has no vector."""
    row = _one(run, name)
    (vector,) = corpus.vectors_of(run, [row])
    if not usable(vector[None])[0]:
        raise ConfigError(f"{name} has no embedding, for it failed; `imageloom explain` tells why")
    found = _near(run, vector, k, kept_only, excluded=[row])
    return {"asked": name, "how": f"Nearest by the embedder {corpus.model(run)}.", "by": "similarity", "results": found}


def by_vector(run: Run, place: str, *, k: int, kept_only: bool) -> Answer:
    """Return the images nearest to a vector: FILE.npy, or FILE.npy:ROW of a matrix, such as a void's centroid.

    Raises ConfigError when there is no such vector, or it has another length than the run's.
    """
    vector = _stored_vector(place)
    (length,) = {part.shape[1] for _, part in islice(corpus.parts(run), 1)}
    if vector.shape != (length,) or not usable(vector[None])[0]:
        raise ConfigError(f"--vector {place} holds {vector.shape}, the run's vectors have {length} finite numbers, not all zero")
    found = _near(run, vector, k, kept_only)
    return {"asked": place, "how": f"Nearest by the embedder {corpus.model(run)}.", "by": "similarity", "results": found}


def by_text(run: Run, text: str, *, k: int, kept_only: bool, words: bool = False) -> Answer:
    """Return the images nearest to a text by the embedder's text tower, or those that hold its words.

    words: search words even when there is a text tower.
    """
    if not words and corpus.has_text_tower(run):
        (vector,) = corpus.embed_texts(run, [text])
        found = _near(run, vector, k, kept_only, centre=False)
        how = f"Nearest to the text by the embedder {corpus.model(run)}."
        return {"asked": text, "how": how, "by": "similarity", "results": found}
    how = "By words in names, captions, tags and text read from the images; those that hold every term come first."
    return {"asked": text, "how": how, "by": "score", "results": _with_words(run, text, k, kept_only)}


def by_community(run: Run, name: str, *, k: int, kept_only: bool) -> Answer:
    """Return the members of a community by similarity to its keeper, and the nearest other images to its centroid.

    name: a global row, an id, the beginning of an id, or a file name of any member.
    """
    row = int(name) if name.isdigit() and int(name) < run.offsets("images")[-1] else _one(run, name)
    members, keeper = members_of(run, row)
    matrix = corpus.vectors_of(run, members)
    to_keeper = cosines(query=matrix[members.index(keeper)], vectors=matrix)
    order = np.lexsort((np.array(members), -np.nan_to_num(to_keeper, nan=-2.0), np.array(members) != keeper))[:MAX_MEMBERS]
    listed = [int(members[i]) for i in order]
    described = cards(run, listed)
    for card, i in zip(described, order, strict=True):
        card |= {"similarity": _number(to_keeper[i]), "is_keeper": card["row"] == keeper}
    seen = matrix[usable(matrix)]
    found = _near(run, unit(seen).mean(0), k, kept_only, excluded=members) if len(seen) else []
    how = f"The community of row {min(members)}, and the images nearest to its centroid."
    return {
        "asked": f"community {name}",
        "how": how,
        "by": "similarity",
        "results": found,
        "members": described,
        "num_members": len(members),
    }


def members_of(run: Run, row: int) -> tuple[list[int], int]:
    """Return the rows of the community of a row, ascending, and its keeper: the row that most members stand behind.

    Raises ConfigError when the run has neither communities nor duplicates.
    """
    if not run.has("duplicates") and not run.has("communities"):
        raise ConfigError(f"{run.root} has no communities: run the stages communities and duplicates first")
    keepers = _keepers(run)
    column = run.read("communities", ["community"])["community"].to_numpy() if run.has("communities") else keepers
    members = np.flatnonzero(column == column[row])
    found, counts = np.unique(keepers[members], return_counts=True)
    keeper = int(found[np.lexsort((found, -counts))[0]])
    return sorted({*members.tolist(), keeper}), keeper


def _keepers(run: Run) -> NDArray[np.int64]:
    """Return int64 (rows,): the row that stands for each; itself where it is no copy."""
    own = np.arange(run.offsets("images")[-1], dtype=np.int64)
    if not run.has("duplicates"):
        return own
    column = run.read("duplicates", ["keeper_row"])["keeper_row"].to_numpy()
    return np.where(np.isnan(column.astype(float)), own, np.nan_to_num(column.astype(float))).astype(np.int64)


def _stored_vector(place: str) -> Floats:
    file, _, row = place.rpartition(":") if place.rpartition(":")[2].isdigit() else (place, "", "")
    try:
        matrix = np.load(file, allow_pickle=False)
        return np.asarray(matrix[int(row)] if row else matrix, np.float32)
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise ConfigError(f"--vector {place} cannot be read (FILE.npy or FILE.npy:ROW): {str(error).splitlines()[0]}") from None


def _near(
    run: Run, vector: Floats, k: int, kept_only: bool, *, excluded: Sequence[int] = (), centre: bool = True
) -> list[dict[str, Any]]:
    allowed = corpus.kept(run) if kept_only else None
    ((rows, cosine),) = nearest(
        queries=vector[None],
        parts=corpus.parts(run),
        k=k,
        mean=corpus.mean(run) if centre else None,
        allowed=allowed,
        excluded=np.array(excluded, np.int64),
    )
    described = cards(run, rows.tolist())
    return [card | {"similarity": _number(value)} for card, value in zip(described, cosine, strict=True)]


def _with_words(run: Run, text: str, k: int, kept_only: bool) -> list[dict[str, Any]]:
    index = corpus.full_text(run)
    try:
        hits = index.search(text, limit=k, allowed=corpus.kept(run) if kept_only else None)
    finally:
        index.close()
    shown = fulltext.matches(corpus.documents_of(run, [hit.row for hit in hits]), text)
    return [
        card | {"score": round(hit.score, 4), "complete": hit.complete, **_match(shown.get(hit.row))}
        for card, hit in zip(cards(run, [hit.row for hit in hits]), hits, strict=True)
    ]


def _match(match: fulltext.Match | None) -> dict[str, Any]:
    if match is None:
        return {"matched": [], "snippet": ""}
    return {"matched": list(match.fields), "snippet": match.snippet}


def _one(run: Run, name: str) -> int:
    rows = rows_called(run, name)
    ids = {run.take("images", np.array([row]), ["id"])["id"][0].as_py() for row in rows[:50]}
    if len(ids) > 1:
        raise ConfigError(f"{len(rows)} images are called {name!r}: give an id, or more of the path")
    return rows[0]


def _number(value: np.float32) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
