"""Candidates: the pairs that the neighbours of each part name, and those that only hashes propose.

Every task writes its pairs sorted by their first row, as the tasks of a join do, so that `edges` merges them range by range.
Hashes are searched by block against block: what is held is one block of the collection, whatever its size.
"""

import itertools

import numpy as np
import pyarrow as pa

from curation.tables import Run
from graph.edges import edges, heaviest
from graph.hashes import Hashes, HashIndex, unpack
from graph.pairs import count_pairs, save_pairs
from graph.selfjoin import Pairs
from graph.vectors import Rows
from jobs.adopt import adopted, base_rows
from jobs.edges import cosines
from jobs.lists import scratch
from jobs.stage import Item, Output

HASH_ROWS = 1 << 24
"""Images of a block of hashes that is searched: 700 MB."""
ASKED_ROWS = 1 << 21
"""Images whose hashes are looked for in one item: some twenty minutes where there are many blocks."""
LISTED_ROWS = 1 << 18
"""Images whose neighbours become pairs in one item: 400 MB at 20 neighbours. A task of `edges` opens every item's files."""


def plan(
    run: Run,
    *,
    hash_neighbours: int,
    hash_rows: int = HASH_ROWS,
    asked_rows: int = ASKED_ROWS,
    listed_rows: int = LISTED_ROWS,
    **_: object,
) -> list[Item]:
    """Return items of parts of NEIGHBOURS, and one per pair of blocks of hashes; with a base, those that name new images."""
    known = adopted(run, "pairs").parts
    first = adopted(run, "neighbours").parts if known else 0
    listed = [(max(a, first), b) for a, b in _blocks(run, listed_rows) if b > first]
    work: list[Item] = [{"neighbours": list(block)} for block in listed]
    new = base_rows(run) if known else 0
    offsets = run.offsets("metrics")
    asking = [block for block in _blocks(run, asked_rows) if offsets[block[1]] > new] if hash_neighbours else []
    pairs = [(a, b) for b in _blocks(run, hash_rows) for a in asking]
    work += [{"asking": list(a), "answering": list(b)} for a, b in pairs]
    return [{"parts": [known + number], **item} for number, item in enumerate(work)]


def work(
    run: Run, item: Item, *, max_hash_distance: int, min_hash_quality: int, hash_neighbours: int, **_: object
) -> list[Output]:
    """Write the pairs of one part or of one pair of blocks, sorted, each once."""
    (number,) = item["parts"]
    if "neighbours" in item:
        parts = range(*item["neighbours"])
        first = int(run.offsets("neighbours")[parts[0]])
        found = edges(neighbours=pa.concat_tables([run.read_part("neighbours", part) for part in parts]), first_row=first)
        row_a, row_b, similarity = (found[name].to_numpy() for name in ("row_a", "row_b", "similarity"))
    else:
        row_a, row_b = _hashed(run, item, max_hash_distance, min_hash_quality, hash_neighbours)
        row_a, row_b, similarity = heaviest(row_a, row_b, cosines(run, row_a, row_b))
    pairs = Pairs(row_a, row_b, similarity.astype(np.float32))
    return [Output(number, count_pairs(pairs), files=save_pairs(pairs, scratch(run, "pairs"), number))]


def _hashed(run: Run, item: Item, distance: int, quality: int, k: int) -> tuple[Rows, Rows]:
    """Return the pairs of an image of the block that asks and one of the block that answers."""
    new = base_rows(run) if adopted(run, "pairs").parts else 0
    offsets = run.offsets("metrics")
    upright = [_upright(_hashes(run, part)) for part in range(*item["answering"])]
    answering = Hashes(*(np.concatenate([getattr(one, name) for one in upright]) for name in ("bits", "quality")))
    index = HashIndex(answering, min_quality=quality)
    found = [np.empty((0, 2), np.int64)]
    for part in range(*item["asking"]):
        late = np.arange(offsets[part], offsets[part + 1]) >= new
        asked = _hashes(run, part)
        left, right = index.pairs(Hashes(asked.bits[late], asked.quality[late]), max_distance=distance, k=k)
        first = int(offsets[part]) + int((~late).sum())
        found.append(np.stack([left + first, right + int(offsets[item["answering"][0]])], 1))
    pairs = np.concatenate(found)
    return pairs[:, 0], pairs[:, 1]


def _blocks(run: Run, hash_rows: int) -> list[tuple[int, int]]:
    """Return ranges of parts with about `hash_rows` images each."""
    offsets = run.offsets("images")
    number = offsets[:-1] // hash_rows
    cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(offsets) - 1]
    return list(itertools.pairwise(cuts))


def _hashes(run: Run, part: int) -> Hashes:
    return unpack(run.read_part("metrics", part, ["pdq_dihedral", "pdq_quality"]))


def _upright(hashes: Hashes) -> Hashes:
    return Hashes(hashes.bits[:, :1].copy(), hashes.quality)
