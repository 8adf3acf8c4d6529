"""Pairs that look alike and were not merged, and the limits that decided.

Enters: a run with its VERDICTS, or with EDGES and COMMUNITIES where similarity alone decides. Leaves: pairs as VERDICTS rows, for
`graph.evidence` to put into words. Tables are read part by part and only the most similar pairs of each are kept.
"""

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.tables import Run
from graph import tally, verify
from graph.evidence import method_of

Rows = NDArray[np.int64]

LOOKS_ALIKE = 0.5
"""Cosine from which a pair that was not merged is shown as a look-alike; below, nobody would ask."""

MEASURED_BY_KEYPOINTS = ("keypoints", "whole")
"""Methods whose pairs are worth a drawing of matched keypoints."""


def limits_of(run: Run) -> dict[str, Any]:
    """Return the thresholds that the run decided pairs with: those of its records, and the verifier's defaults of the rest."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(verify.verify).parameters.items()
        if isinstance(parameter.default, int | float)
    }
    made = {table: (run.manifest(table) or {}).get("parameters", {}) for table in ("verdicts", "forests", "partitions")}
    return {**defaults, **made["partitions"], **made["forests"], **made["verdicts"]}


def keeper_rows(duplicates: pa.Table) -> Rows:
    """Return int64 (N,): the row that stands for each image, itself when it is no copy."""
    own = pa.array(np.arange(duplicates.num_rows, dtype=np.int64))
    return np.asarray(pc.coalesce(duplicates["keeper_row"].combine_chunks(), own).to_numpy())


def rounds(run: Run) -> tuple[str, ...]:
    """Return the tables of verdicts that DUPLICATES rests on, in order; those of another method may lie beside them."""
    asked = (run.started("duplicates") or {}).get("inputs") or {}
    return tuple(table for table in ("verdicts", "confirmations") if run.has(table) and (not asked or table in asked))


def verdicts_of(run: Run, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], dict[str, Any]]:
    """Return the verdict of each pair, in either order, that was compared, in both rounds where there are two."""
    wanted = {(min(pair), max(pair)): pair for pair in pairs}
    firsts = pa.array(sorted({pair[0] for pair in wanted}), pa.int64())
    found = {}
    for table in rounds(run):
        for part in range(run.num_parts(table) if wanted else 0):
            rows = run.read_part(table, part)
            for row in rows.filter(pc.is_in(rows["row_a"], value_set=firsts)).to_pylist():
                if (row["row_a"], row["row_b"]) in wanted:
                    found[wanted[row["row_a"], row["row_b"]]] = row
    return found


def refused(run: Run, keepers: Rows, num: int) -> list[dict[str, Any]]:
    """Return the most similar pairs of different groups, no group twice, with what was measured; none where nothing tells.

    keepers: int64 (N,), the row that stands for each image.
    """
    if rounds(run):
        return _by_verdicts(run, keepers, num)
    return _apart(run, keepers, num) if run.has("edges") and run.has("partitions") else []


def _by_verdicts(run: Run, keepers: Rows, num: int) -> list[dict[str, Any]]:
    """Return the most similar different pairs, half of them from keypoints where there are enough; no keeper twice."""
    best = pa.concat_tables([_most_similar(run, part, 40 * num) for part in range(run.num_parts("verdicts"))])
    ordered = best.take(pc.sort_indices(best, [("similarity", "descending"), ("row_a", "ascending"), ("row_b", "ascending")]))
    seen: set[int] = set()
    by_kind: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for verdict in ordered.to_pylist():
        stand = {int(keepers[verdict["row_a"]]), int(keepers[verdict["row_b"]])}
        kind = by_kind[is_drawn(verdict["evidence"])]
        if len(stand) == 2 and not stand & seen and len(kind) < num and method_of(verdict["evidence"]) != "unreadable":
            seen |= stand
            kind.append(verdict)
    hard = by_kind[True][: max(num // 2, num - len(by_kind[False]))]
    return sorted(hard + by_kind[False][: num - len(hard)], key=lambda verdict: -verdict["similarity"])


def _apart(run: Run, keepers: Rows, num: int) -> list[dict[str, Any]]:
    """Return the most similar EDGES between different groups, of a run that looked at nothing but similarity."""
    best = []
    for part in range(run.num_parts("edges")):
        edges = run.read_part("edges", part)
        edges = edges.filter(pa.array(keepers[edges["row_a"].to_numpy()] != keepers[edges["row_b"].to_numpy()]))
        best.append(edges.take(pc.select_k_unstable(edges, 40 * num, [("similarity", "descending")])))
    ordered = pa.concat_tables(best).sort_by([("similarity", "descending"), ("row_a", "ascending"), ("row_b", "ascending")])
    return _each_once(by_similarity(run, ordered.to_pylist()), keepers, num)


def by_similarity(run: Run, edges: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of EDGES as verdicts: how near the pair is, and whether component or community divided it."""
    places = _places(run, [int(edge[end]) for edge in edges for end in ("row_a", "row_b")])
    found = []
    for edge in edges:
        a, b = places[edge["row_a"]], places[edge["row_b"]]
        evidence = {
            "method": "similarity",
            "similarity": round(float(edge["similarity"]), 4),
            "same_component": a[0] == b[0],
            "same_community": a[1] == b[1],
        }
        found.append({**edge, "relation": "different", "evidence": json.dumps(evidence)})
    return found


def _places(run: Run, rows: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return component and community of each row; what nothing joins is alone."""
    found = {row: (row, row) for row in rows}
    wanted = pa.array(sorted(found), pa.int64())
    for part in range(run.num_parts("partitions")):
        table = run.read_part("partitions", part, ["row", "component", "community"])
        for place in table.filter(pc.is_in(table["row"], value_set=wanted)).to_pylist():
            found[place["row"]] = place["component"], place["community"]
    return found


def _each_once(pairs: Iterable[dict[str, Any]], keepers: Rows, num: int) -> list[dict[str, Any]]:
    """Return the first `num` pairs of different groups, no group twice."""
    seen: set[int] = set()
    chosen: list[dict[str, Any]] = []
    for pair in pairs:
        stand = {int(keepers[pair["row_a"]]), int(keepers[pair["row_b"]])}
        if len(stand) == 2 and not stand & seen and len(chosen) < num:
            seen |= stand
            chosen.append(pair)
    return chosen


def _most_similar(run: Run, part: int, num: int) -> pa.Table:
    """Return the different pairs of one part with the highest similarity, drawn ones and others apart."""
    table = run.read_part("verdicts", part)
    refused = table.filter(pc.and_(pc.equal(table["relation"], "different"), pc.greater_equal(table["similarity"], LOOKS_ALIKE)))
    named = pc.struct_field(pc.extract_regex(refused["evidence"], tally.METHOD), "method")
    is_drawn = pc.fill_null(pc.is_in(named, value_set=pa.array(MEASURED_BY_KEYPOINTS)), False)
    halves = [refused.filter(is_drawn), refused.filter(pc.invert(is_drawn))]
    return pa.concat_tables([half.take(pc.select_k_unstable(half, num, [("similarity", "descending")])) for half in halves])


def is_drawn(evidence: str | None) -> bool:
    """Say whether keypoints had a part in the evidence, so that a drawing of them shows it."""
    return method_of(evidence) in MEASURED_BY_KEYPOINTS
