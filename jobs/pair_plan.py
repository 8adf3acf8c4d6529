"""Which pictures become edit pairs: units of work, chosen by hashes of ids, so that no part border and no worker matters."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc

from curation.phrases import sure_texts
from curation.tables import Run
from graph.near_pairs import near_pairs
from jobs.adopt import base_rows
from jobs.stage import Item

UNITS_PER_PART = 8
"""Scenes, or mined pairs, of one part: about a minute of one core."""
MAX_PHRASES = 200
"""Texts of the collection that are handed to every part."""

Unit = dict[str, Any]


def plan(run: Run, *, seed: int, layouts: int, text_images: int, pictures: int, near: int, min_side_px: int,
         min_similarity: float, max_similarity: float, **_: object) -> list[Item]:  # fmt: skip
    """Return the items: each with its units, and the phrases of the collection that drawn text may use."""
    images = run.read("images", ["id", "group", "width", "height"])
    flatness = run.read("metrics", ["flatness"])["flatness"].fill_null(1.0).to_numpy()
    keep = run.read("selection", ["keep"])["keep"].to_numpy(zero_copy_only=False).copy()
    new = np.arange(len(keep)) >= base_rows(run)  # pairs of a base's images are its own
    sides = np.minimum(images["width"].fill_null(0).to_numpy(), images["height"].fill_null(0).to_numpy())
    large = keep & new & (sides >= min_side_px)
    ids = images["id"].to_pylist()
    phrases, counts = _texts(run, keep, seed)
    photos = large & (flatness < 0.5) & (counts == 0)
    grounds = first(photos, ids, f"{seed}:ground", layouts)
    photo = [grounds[number % len(grounds)] if grounds else None for number in range(layouts)]
    units: list[Unit] = [{"kind": "layout", "number": base_rows(run) + n, "photo": photo[n]} for n in range(layouts)]
    units += [{"kind": "text", "row": row} for row in first(large & (counts >= 2), ids, f"{seed}:text", text_images)]
    units += [{"kind": "parametric", "row": row} for row in first(photos, ids, f"{seed}:picture", pictures)]
    if near:
        units += list(_near(run, images, keep, new, ids, seed, near, min_similarity, max_similarity, min_side_px))
    batches = [units[begin : begin + UNITS_PER_PART] for begin in range(0, len(units), UNITS_PER_PART)]
    return [{"parts": [part], "units": batch, "phrases": phrases} for part, batch in enumerate(batches)]


def first(allowed: np.ndarray, ids: list[str], salt: str, count: int) -> list[int]:
    """Return up to `count` allowed rows, those with the smallest salted hash of their ids; one row per id."""
    ranked = sorted((hash_of(salt, ids[row]), int(row)) for row in np.flatnonzero(allowed)) if count else []
    once: dict[bytes, int] = {}
    for digest, row in ranked:
        once.setdefault(digest, row)
    return list(once.values())[:count]


def hash_of(salt: str, name: str) -> bytes:
    """Return 8 bytes that depend on salt and name alone."""
    return hashlib.blake2b(f"{salt}:{name}".encode(), digest_size=8).digest()


def _texts(run: Run, keep: np.ndarray, seed: int) -> tuple[list[str], np.ndarray]:
    """Return texts that were surely read in kept images, MAX_PHRASES by hash, and the number of lines of every image."""
    texts: set[str] = set()
    counts: list[int] = []
    for part in range(run.num_parts("ocr")):
        lines = run.read_part("ocr", part, ["lines"])["lines"]
        kept = keep[len(counts) : len(counts) + len(lines)]
        texts |= set(sure_texts(row for row, one in zip(lines.to_pylist(), kept, strict=True) if one))
        counts += pc.fill_null(pc.list_value_length(lines), 0).to_pylist()
    chosen = sorted(texts, key=lambda text: hash_of(f"{seed}:phrase", text))[:MAX_PHRASES]
    return sorted(chosen), np.array(counts, np.int64)


def _near(run: Run, images: Any, keep: np.ndarray, new: np.ndarray, ids: list[str], seed: int, count: int,
          low: float, high: float, min_side_px: int) -> Iterator[Unit]:  # fmt: skip
    """Yield mined pairs with at least one new image, the first `count` by hash, each image in one pair."""
    sides = np.minimum(images["width"].fill_null(0).to_numpy(), images["height"].fill_null(0).to_numpy())
    found = near_pairs(
        edges=run.read("edges"),
        images=images,
        keep=keep & (sides >= min_side_px),
        neighbours=run.read("neighbours") if run.has("neighbours") else None,
        verdicts=run.read("verdicts", ["row_a", "row_b", "relation"]) if run.has("verdicts") else None,
        min_similarity=low,
        max_similarity=high,
    )
    used: set[int] = set()
    ranked = sorted(found.to_pylist(), key=lambda pair: hash_of(f"{seed}:near", f"{ids[pair['row_a']]}{ids[pair['row_b']]}"))
    for pair in ranked:
        a, b = pair["row_a"], pair["row_b"]
        if len(used) < 2 * count and not {a, b} & used and (new[a] or new[b]):
            used |= {a, b}
            yield {"kind": "mined", "rows": [a, b], "similarity": round(pair["similarity"], 6)}
