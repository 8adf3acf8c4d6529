"""Duplicates: every group's keeper, and for every other member the evidence against that keeper."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from curation.tables import Run
from graph.duplicates import Kept, by_similarity, by_verdicts, duplicates, same_pixels
from graph.increment import old_first, open_verdicts, settle
from graph.keeper import preference, tables_of
from graph.vectors import Floats, embedding_matrix
from jobs.adopt import base_run
from jobs.stage import Item, Output
from jobs.whole import aligned_outputs, one_item


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(
    run: Run, item: Item, *, keeper: Sequence[str], source_priority: Sequence[str], rekey_base: bool = False
) -> list[Output]:
    """Name the keepers over verified pairs; those of a base stay, unless rekey_base."""
    needed = tables_of(keeper)
    rank = preference(
        images=run.read("images", ["id", "width", "height", "length", "caption", "group"]),
        metrics=run.read("metrics") if "metrics" in needed else None,
        scores=run.read("scores") if "scores" in needed and run.has("scores") else None,
        keeper=keeper,
        source_priority=source_priority,
    )
    tables = ["verdicts", "confirmations"] if run.has("confirmations") else ["verdicts"]
    verdicts = pa.concat_tables([run.read(table) for table in tables])
    exact, base = run.read("exact"), base_run(run)
    old = base.read("duplicates") if base is not None and not rekey_base else None
    kept = by_verdicts(
        ids=run.read("images", ["id"])["id"],
        exact=exact,
        rank=rank if old is None else old_first(rank, base_rows=len(old)),
        verdicts=verdicts if old is None else open_verdicts(verdicts, base=old, exact=exact),
        communities=run.read("communities"),
    )
    return _outputs(run, kept if old is None else settle(kept, base=old))


def work_similarity(run: Run, item: Item, **_: object) -> list[Output]:
    """Gather the keepers that every bin has named."""
    return _outputs(run, by_similarity(partitions=run.read("partitions"), count=int(run.offsets("images")[-1])))


def _outputs(run: Run, kept: Kept) -> list[Output]:
    exact = run.read("exact")
    found = duplicates(
        images=run.read("images", ["id", "uri", "caption"]),
        exact=exact,
        kept=kept,
        exact_similarity=_exact_similarity(run, exact, kept),
    )
    return aligned_outputs(run, found)


def _exact_similarity(run: Run, exact: pa.Table, kept: Kept) -> Floats:
    """Return the cosine of every copy of the same pixels to its keeper; 1 for the same bytes and without vectors."""
    similarity = np.ones(exact.num_rows, np.float32)
    rows, keepers = same_pixels(exact=exact, kept=kept)
    for begin in range(0, len(rows), 1 << 16):
        some = slice(begin, begin + (1 << 16))
        pair = [embedding_matrix(run.take("embeddings", at[some], ["embedding"])) for at in (rows, keepers)]
        cosine = np.vecdot(*pair)
        similarity[rows[some]] = np.where(np.isfinite(cosine), np.minimum(cosine, 1), 1)
    return similarity
