"""Duplicates: every group's keeper, and for every other member the evidence against that keeper.

One bin is settled at a time, from what `components` has dealt into it; then the results go back into the order of the rows.
Over a base the bin's old images keep what the base decided of them, see graph/increment.py.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import schema
from curation.spill import BUFFER_BYTES, Spill, bins_of, mapped_array, release
from curation.tables import Run
from graph.duplicates import HELD, Kept, by_similarity, by_verdicts, containers, duplicates, same_pixels, surest_containers
from graph.increment import old_first, open_verdicts, settle
from graph.refused import rounds
from graph.vectors import Floats, Rows, to_float32
from jobs import bins
from jobs.adopt import base_rows, base_run
from jobs.scratch import scratch
from jobs.stage import Item, Output
from jobs.whole import by_part, one_item

ROWS_PER_BIN = 1 << 20
"""Rows of the result that are put in order at a time."""

FOUND = pa.schema([("row", pa.int64()), *((field.name, field.type) for field in schema.DUPLICATES)])
DECIDED = pa.schema([field for field in FOUND if field.name in ("row", "keeper_row", "similarity", "evidence")])
NAMED = pa.schema([("row", pa.int64()), ("contained_in", pa.string())])


def plan(run: Run, *, keeper: Sequence[str] = (), **_: object) -> list[Item]:
    """Return one item that produces every part; raises ConfigError for a criterion of keepers that no image has."""
    bins.check_keeper(run, keeper)
    return one_item(run)


def work(
    run: Run,
    item: Item,
    *,
    keeper: Sequence[str],
    source_priority: Sequence[str],
    rekey_base: bool = False,
    rows_per_bin: int = ROWS_PER_BIN,
    buffer_bytes: int = BUFFER_BYTES,
) -> Iterator[Output]:
    """Name the keepers over verified pairs; those of a base stay, unless rekey_base."""
    count = int(run.offsets("images")[-1])
    tables = rounds(run)
    with ExitStack() as stack:
        folder = scratch(run, "duplicates", "arrays")
        folder.mkdir()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ordered = bins_of(count, rows_per_bin=rows_per_bin)
        found = stack.enter_context(Spill(folder / "found", num_bins=ordered, shape=FOUND, buffer_bytes=buffer_bytes))
        final = mapped_array(folder / "final", count, np.int64)
        for begin in range(0, count, rows_per_bin):
            final[begin : begin + rows_per_bin] = np.arange(begin, min(begin + rows_per_bin, count))
        confirmed, decided = _dealt(run, stack, folder, known=None if rekey_base else base_run(run))
        for number in range(run.num_parts("partitions")):
            links = [bins.load(run, "links", number), *([] if confirmed is None else [confirmed.read(number)])]
            known = None if decided is None else decided.read(number)
            rows = _of_bin(run, number, pa.concat_tables(links), known, keeper, source_priority)
            dropped = rows.filter(pc.is_valid(rows["keeper_row"]))
            final[dropped["row"].to_numpy()] = dropped["keeper_row"].to_numpy()
            found.add(rows, rows["row"].to_numpy() // rows_per_bin)
            release(final)
        named = _contained(run, tables, final, stack, folder, rows_per_bin)
        wholes = by_part(run, named, rows_per_bin=rows_per_bin)
        for (part, begin, _, rows), (_, _, _, inside) in zip(by_part(run, found, rows_per_bin=rows_per_bin), wholes, strict=True):
            yield Output(part, _in_order(run, part, begin, rows, inside))


def work_similarity(run: Run, item: Item, *, rows_per_bin: int = ROWS_PER_BIN, **unused: object) -> Iterator[Output]:
    """Gather the keepers that every bin has named."""
    ordered = bins_of(int(run.offsets("images")[-1]), rows_per_bin=rows_per_bin)
    with Spill(scratch(run, "duplicates", "found"), num_bins=ordered, shape=FOUND) as found:
        for number in range(run.num_parts("partitions")):
            members = bins.load(run, "members", number)
            at = members["row"].to_numpy()
            partitions = run.read_part("partitions", number)
            local = {name: bins.places(at, partitions[name].to_numpy()) for name in ("row", "keeper_row")}
            kept = by_similarity(partitions=pa.table(local | {"similarity": partitions["similarity"]}), count=len(members))
            rows = _rows(members, kept)
            found.add(rows, at // rows_per_bin)
        for part, begin, _, rows in by_part(run, found, rows_per_bin=rows_per_bin):
            yield Output(part, _in_order(run, part, begin, rows, NAMED.empty_table()))


def _dealt(run: Run, stack: ExitStack, folder: Path, known: Run | None) -> tuple[Spill | None, Spill | None]:
    """Return the verdicts of `confirm` and what the base `known` decided, dealt into the bins of their images; None for none."""
    twice = "confirmations" in rounds(run)
    if known is None and not twice:
        return None, None
    where = mapped_array(folder / "where", int(run.offsets("images")[-1]), np.int32, -1)
    for number in range(run.num_parts("partitions")):
        where[bins.load(run, "members", number)["row"].to_numpy()] = number
        release(where)
    confirmed = _confirmations(run, stack, folder, where) if twice else None
    return confirmed, None if known is None else _decided(run, known, stack, folder, where)


def _confirmations(run: Run, stack: ExitStack, folder: Path, where: NDArray[np.int32]) -> Spill:
    shape = bins.load(run, "links", 0).schema
    spill = stack.enter_context(Spill(folder / "confirmed", num_bins=run.num_parts("partitions"), shape=shape))
    for part in range(run.num_parts("confirmations")):
        found = run.read_part("confirmations", part).replace_schema_metadata(None)
        a, b = (where[found[name].to_numpy()].astype(np.int64) for name in ("row_a", "row_b"))
        together = (a == b) & (a >= 0)
        spill.add(found.filter(pa.array(together)), a[together])
    return spill


def _decided(run: Run, known: Run, stack: ExitStack, folder: Path, where: NDArray[np.int32]) -> Spill:
    """Deal the images that a base dropped; `components` has put each into the bin of its keeper."""
    spill = stack.enter_context(Spill(folder / "decided", num_bins=run.num_parts("partitions"), shape=DECIDED))
    begin = 0
    for part in range(known.num_parts("duplicates")):
        found = known.read_part("duplicates", part, ["keeper_row", "similarity", "evidence"])
        found = found.add_column(0, "row", pa.array(np.arange(begin, begin + len(found))))
        begin += len(found)
        found = found.filter(pc.is_valid(found["keeper_row"]))
        spill.add(found, where[found["row"].to_numpy()].astype(np.int64))
    return spill


def _of_bin(
    run: Run, number: int, links: pa.Table, known: pa.Table | None, keeper: Sequence[str], source_priority: Sequence[str]
) -> pa.Table:
    """Return FOUND of the members of one bin; known: DECIDED of them in the base, whose own decisions stand."""
    members = bins.load(run, "members", number)
    at = members["row"].to_numpy()
    partitions = run.read_part("partitions", number, ["row", "community"]).sort_by("row")
    exact, verdicts = _exact(members), _local(links, at)
    community = partitions["community"].to_numpy()
    rank = bins.order(members, keeper=keeper, source_priority=source_priority, groups=community)
    before = None if known is None else _before(known, at[: np.searchsorted(at, base_rows(run))])
    if before is not None:  # its images are the first members, as they are the first rows of the run
        rank = old_first(rank, base_rows=len(before))
        verdicts = open_verdicts(verdicts, base=before, exact=exact)
    communities = pa.table({"community": bins.places(at, community)})
    kept = by_verdicts(ids=members["id"], exact=exact, rank=rank, verdicts=verdicts, communities=communities)
    if before is not None:
        kept = settle(kept, base=before)
    return _rows(members, replace(kept, container={}))  # containers may lie in other bins


def _before(known: pa.Table, old: Rows) -> pa.Table:
    """Return keeper, similarity and evidence in the base of every old member of a bin, the keeper as a position among them."""
    place = np.full(len(old), -1, np.int64)
    place[bins.places(old, known["row"].to_numpy())] = np.arange(len(known))
    keeper = pa.array(bins.places(old, known["keeper_row"].to_numpy()))
    at = pa.array(place, mask=place < 0)
    return pa.table(
        {"keeper_row": keeper.take(at)} | {name: known[name].combine_chunks().take(at) for name in ("similarity", "evidence")}
    )


def _exact(members: pa.Table) -> pa.Table:
    at, representative = members["row"].to_numpy(), members["representative"].to_numpy()
    return pa.table({"id": members["id"], "representative": bins.places(at, representative)})


def _local(links: pa.Table, at: Rows) -> pa.Table:
    """Return verdicts with rows as positions among the members of their bin."""
    for name in ("row_a", "row_b"):
        links = links.set_column(links.column_names.index(name), name, pa.array(bins.places(at, links[name].to_numpy())))
    return links


def _rows(members: pa.Table, kept: Kept) -> pa.Table:
    """Return FOUND of the members of one bin, whose keepers are positions among them."""
    exact, at = _exact(members), members["row"].to_numpy()
    similarity = np.ones(len(members), np.float32)
    rows, keepers = same_pixels(exact=exact, kept=kept)
    if len(rows):
        similarity[rows] = _cosines(*(members[bins.VECTOR].take(pa.array(some)) for some in (rows, keepers)))
    found = duplicates(images=members, exact=exact, kept=kept, exact_similarity=similarity)
    keeper = found["keeper_row"]
    column = pa.array(at).take(keeper.combine_chunks())
    return found.set_column(found.column_names.index("keeper_row"), "keeper_row", column).add_column(0, "row", pa.array(at))


def _cosines(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Floats:
    """Return the cosine of every two vectors of float16 bytes; 1 where an image has none."""
    cosine = np.ones(len(left), np.float32)
    both = np.flatnonzero(pc.and_(pc.is_valid(left), pc.is_valid(right)).to_numpy())
    for begin in range(0, len(both), 1 << 14):
        some = both[begin : begin + (1 << 14)]
        a, b = (to_float32(np.stack([np.frombuffer(side[int(i)].as_py(), np.float16) for i in some])) for side in (left, right))
        near = np.vecdot(a, b)
        cosine[some] = np.where(np.isfinite(near), np.minimum(near, 1), 1)
    return cosine


def _contained(run: Run, tables: Sequence[str], final: Rows, stack: ExitStack, folder: Path, rows_per_bin: int) -> Spill:
    """Return, dealt by rows, the images that lie whole inside another that is kept apart, and the id of that one."""
    ordered = bins_of(len(final), rows_per_bin=rows_per_bin)
    pieces = stack.enter_context(Spill(folder / "pieces", num_bins=ordered, shape=HELD))
    wholes = stack.enter_context(Spill(folder / "wholes", num_bins=ordered, shape=HELD))
    named = stack.enter_context(Spill(folder / "named", num_bins=ordered, shape=NAMED))
    for table in tables:
        for part in range(run.num_parts(table)):
            held = containers(run.read_part(table, part, ["row_a", "row_b", "relation", "confidence"]), final)
            pieces.add(held, held["row"].to_numpy() // rows_per_bin)
        release(final)
    for held in pieces:
        surest = surest_containers(held)
        turned = pa.table({"row": surest["other"], "other": surest["row"], "confidence": surest["confidence"]})
        wholes.add(turned, turned["row"].to_numpy() // rows_per_bin)
    for part, begin, _, held in by_part(run, wholes, rows_per_bin=rows_per_bin):
        if held.num_rows:
            ids = run.read_part("images", part, ["id"])["id"].take(pa.array(held["row"].to_numpy() - begin))
            named.add(pa.table({"row": held["other"], "contained_in": ids}), held["other"].to_numpy() // rows_per_bin)
    return named


def _in_order(run: Run, part: int, begin: int, found: pa.Table, inside: pa.Table) -> pa.Table:
    """Return DUPLICATES of one part: what the bins found, and for all other images that they stand for themselves."""
    ids = run.read_part("images", part, ["id"])["id"]
    alone = pa.table({name: pa.nulls(1, kind) for name, kind in zip(FOUND.names, FOUND.types, strict=True)})
    alone = alone.set_column(FOUND.get_field_index("group_size"), "group_size", pa.array([1], pa.int32()))
    place = np.full(len(ids), len(found), np.int64)
    place[found["row"].to_numpy() - begin] = np.arange(len(found))
    rows = pa.concat_tables([found, alone.cast(FOUND)]).take(pa.array(place)).drop_columns(["row"])
    rows = rows.set_column(0, "id", ids)
    if inside.num_rows:
        where = np.full(len(ids), -1, np.int64)
        where[inside["row"].to_numpy() - begin] = np.arange(len(inside))
        held = inside["contained_in"].combine_chunks().take(pa.array(where, mask=where < 0))
        rows = rows.set_column(rows.column_names.index("contained_in"), "contained_in", held)
    return schema.conform(rows, schema.DUPLICATES)
