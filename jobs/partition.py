"""Partition: the components of one bin become communities, and with vectors alone also stars."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import schema
from curation.tables import Run
from graph.edges import unverified
from graph.increment import apart, attach, touched
from graph.leiden import Method
from graph.partition import Edges, Partition, partition
from graph.sparse import divide
from graph.stored import StoredVectors
from graph.vectors import Floats, Rows
from jobs import bins
from jobs.adopt import adopted, base_rows, base_run
from jobs.stage import Item, Output


def plan(run: Run, *, keeper: Sequence[str] = (), **_: object) -> list[Item]:
    """Return one item per bin; raises ConfigError for a criterion of keepers that no image has."""
    bins.check_keeper(run, keeper)
    return [{"parts": [part]} for part in range(run.num_parts("components"))]


def work(
    run: Run,
    item: Item,
    *,
    method: Method,
    accepted_similarity: float,
    keeper_similarity: float,
    sure_similarity: float,
    max_partial: float,
    max_dense: int,
    keeper: Sequence[str],
    source_priority: Sequence[str] = (),
    rekey_base: bool = False,
    **_: object,
) -> list[Output]:
    """Return communities and stars of one bin from the stored vectors; those of a base where no new image touches them."""
    (part,) = item["parts"]
    named = bins.load(run, "members", part)
    members = _members(named)
    known = _known(run)
    look = touched(members[1], base_rows=len(known), rows=members[0])
    rows, component, representative = (column[look] for column in members)
    nodes, place = np.unique(representative, return_inverse=True)
    named = named.filter(pa.array(look))
    ids = _ids(named)
    rank = bins.order(named, keeper=keeper, source_priority=source_priority, groups=component)
    links = bins.load(run, "links", part)
    smallest, best = _first(np.argsort(ids, kind="stable"), place), _first(np.argsort(rank), place)
    found = partition(
        vectors=_vectors(run, nodes),
        component=component[smallest],
        ids=ids[smallest],
        rank=rank[best],
        accepted_similarity=accepted_similarity,
        keeper_similarity=keeper_similarity,
        sure_similarity=sure_similarity,
        max_partial=max_partial,
        method=method,
        max_dense=max_dense,
        edges=lambda members: _among(links, nodes[members], "similarity"),
    )
    keepers = rows[best][found.keeper], found.similarity
    if len(known) and not rekey_base:
        limits = {"keeper_similarity": keeper_similarity, "sure_similarity": sure_similarity}
        keepers = _old_first(run, found, nodes, rows[best], limits)
    columns: dict[str, pa.Array | Rows | Floats] = {
        "row": rows,
        "component": component,
        "community": _named(found.community, place, rows),
        "keeper_row": keepers[0][place],
        "similarity": keepers[1][place],
    }
    return [Output(part, _with_known(run, columns, members, look))]


def _old_first(run: Run, found: Partition, nodes: Rows, face: Rows, limits: dict[str, float]) -> tuple[Rows, Floats]:
    """Return keeper row and similarity of every node: an old one's as in the base, new ones go to old keepers first.

    face: (n,) the preferred row of every node. A row of the base and its exact copies keep the keeper of the base.
    """
    base = _base_partitions(run)
    old_row, old_similarity = base["keeper_row"].to_numpy(), base["similarity"].to_numpy()
    new = nodes >= len(base)
    at = np.minimum(nodes, len(base) - 1)
    kept = np.zeros(len(base), bool)
    kept[nodes[~new]] = _representatives(run)[old_row[nodes[~new]]] == nodes[~new]
    keeper, similarity = attach(found, vectors=_vectors(run, nodes), new=new, old_keeper=~new & kept[at], **limits)
    row_of = np.where(new, face, old_row[at])
    return np.where(new, row_of[keeper], old_row[at]), np.where(new, similarity, old_similarity[at]).astype(np.float32)


def _with_known(
    run: Run, columns: dict[str, pa.Array | Rows | Floats], members: tuple[Rows, Rows, Rows], look: NDArray[np.bool_]
) -> pa.Table:
    """Return PARTITIONS of a bin, with what the base says of the rows that were not looked at."""
    found = schema.conform(pa.table(columns), schema.PARTITIONS)
    if look.all():
        return found
    rows, component = members[0][~look], members[1][~look]
    old = _base_partitions(run).take(pa.array(rows))
    kept = pa.table({"row": rows, "component": component} | {name: old[name] for name in old.column_names})
    return pa.concat_tables([found, schema.conform(kept, schema.PARTITIONS)]).sort_by("row")


def work_verified(run: Run, item: Item, *, method: Method, resolution: float, **_: object) -> list[Output]:
    """Return communities of one bin as `work_verdicts`, and beside them the pairs inside them that nobody has compared."""
    (output,) = work_verdicts(run, item, method=method, resolution=resolution)
    assert output.rows is not None
    members, links = (bins.load(run, name, output.part) for name in ("members", "links"))
    rows, representative = members["row"].to_numpy(), members["representative"].to_numpy()
    community = np.searchsorted(rows, output.rows["community"].to_numpy())
    look = representative == rows  # exact copies need no second look
    local = {name: bins.places(rows, links[name].to_numpy()) for name in ("row_a", "row_b")}
    a, b = unverified(row_a=local["row_a"], row_b=local["row_b"],
                      copies=pc.equal(links["relation"], "copy").to_numpy(), community=apart(community, look))  # fmt: skip
    return [
        dataclasses.replace(
            output,
            files=bins.save(run, "unverified", output.part, pa.table({"row_a": rows[a], "row_b": rows[b]}), table="partitions"),
        )
    ]


def work_verdicts(run: Run, item: Item, *, method: Method, resolution: float, **_: object) -> list[Output]:
    """Return communities of one bin from the verified copies, by confidence; keepers come after confirmation."""
    (part,) = item["parts"]
    named = bins.load(run, "members", part)
    rows, component, representative = _members(named)
    known = _known(run)
    look = touched(component, base_rows=len(known), rows=rows)
    community = np.empty(len(rows), np.int64)
    community[~look] = known[rows[~look]]
    some, which = rows[look], component[look]
    place = np.unique(representative[look], return_inverse=True)[1]
    ids = _ids(named.filter(pa.array(look)))
    smallest = _first(np.argsort(ids, kind="stable"), place)
    a, b, weight = _copies_among(bins.load(run, "links", part), some, place)
    labels = divide(component=which[smallest], ids=ids[smallest], a=a, b=b, weight=weight, resolution=resolution, method=method)
    community[look] = _named(labels, place, some)
    columns: dict[str, pa.Array | Rows] = {"row": rows, "component": component, "community": community}
    nothing = pa.nulls(len(rows))
    table = pa.table(columns | {"keeper_row": nothing, "similarity": nothing})
    return [Output(part, schema.conform(table, schema.PARTITIONS))]


def _known(run: Run) -> Rows:
    """Return the communities of the base's rows, which stand where no new image touches them; none when they do not."""
    base = base_run(run)
    if base is None or not (adopted(run, "verdicts").parts or adopted(run, "pairs").parts):
        return np.empty(0, np.int64)
    records = base.manifest("partitions") or {}, run.started("partitions") or {}
    before, now = ({**record.get("parameters", {}), "rekey_base": None} for record in records)
    if before != now:
        return np.empty(0, np.int64)
    return np.asarray(_base_partitions(run)["community"].to_numpy(), np.int64)


def _representatives(run: Run) -> Rows:
    return np.asarray(run.read("exact", ["representative"])["representative"].to_numpy())


def _base_partitions(run: Run) -> pa.Table:
    """Return community, keeper_row and similarity of every row of the base; a row without any edge is its own."""
    base = base_run(run)
    assert base is not None
    found = base.read("partitions")
    at = found["row"].to_numpy()
    community, keeper = np.arange(base_rows(run)), np.arange(base_rows(run))
    similarity = np.ones(base_rows(run), np.float32)
    community[at] = found["community"].to_numpy()
    if not found["keeper_row"].null_count:  # with verdicts keepers come later
        keeper[at], similarity[at] = found["keeper_row"].to_numpy(), found["similarity"].to_numpy()
    return pa.table({"community": community, "keeper_row": keeper, "similarity": similarity})


def _vectors(run: Run, nodes: Rows) -> StoredVectors:
    return StoredVectors(run.folder("lists"), groups=run.num_parts("lists"), rows=nodes)


def _members(named: pa.Table) -> tuple[Rows, Rows, Rows]:
    """Return rows, in order, components and representatives of one bin."""
    rows, component, representative = (named[name].to_numpy() for name in ("row", "component", "representative"))
    return rows, component, representative


def _first(order: Rows, place: Rows) -> Rows:
    """Return, for every node, its first member in `order`."""
    first = np.full(int(place.max(initial=-1)) + 1, len(order), np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    np.minimum.at(first, place, rank)
    return np.asarray(order[first], np.int64)


def _named(community: Rows, place: Rows, rows: Rows) -> Rows:
    """Return the smallest row of every row's community, given the communities of the nodes."""
    of_row = community[place]
    smallest = np.full(len(community), np.iinfo(np.int64).max, np.int64)
    np.minimum.at(smallest, of_row, rows)
    return np.asarray(smallest[of_row])


def _ids(members: pa.Table) -> NDArray[np.str_]:
    return np.array(members["id"].to_pylist(), np.str_)


def _copies_among(verdicts: pa.Table, rows: Rows, place: Rows) -> Edges:
    """Return the verified copies between sorted rows, as nodes."""
    a, b, weight = _among(verdicts.filter(pc.equal(verdicts["relation"], "copy")), rows, "confidence")
    return place[a], place[b], weight


def _among(edges: pa.Table, rows: Rows, weight: str) -> Edges:
    """Return the edges whose ends are both among `rows`, as positions."""
    ends = [edges[name].to_numpy() for name in ("row_a", "row_b")]
    at = [np.minimum(np.searchsorted(rows, end), max(len(rows) - 1, 0)) for end in ends]
    if not len(rows):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    inside = (rows[at[0]] == ends[0]) & (rows[at[1]] == ends[1])
    return at[0][inside], at[1][inside], edges[weight].to_numpy()[inside]
