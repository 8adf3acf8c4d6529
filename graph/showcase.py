"""The report's exhibits of deduplication: groups with their keeper, look-alikes that were not merged, parts of other images.

Enters: a run whose DUPLICATES are complete. Leaves: plain values for the page, each pair with a sentence (`graph.evidence`) and,
where keypoints decided, a drawing of the matches. What is shown is a function of the tables alone and bounded in number and
bytes: a run of a billion images has a page of the same size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import charts
from curation.exhibits import Exhibit, data_uri, described, thumbnails
from curation.pixels import read_pixels
from curation.tables import Run
from graph import keypoints, tally
from graph.drawing import matched, side_by_side
from graph.evidence import describe
from graph.refused import is_drawn, keeper_rows, limits_of, refused, verdicts_of

Rows = NDArray[np.int64]


def copies(run: Run) -> dict[str, Any] | None:
    """Return what the report says of copies; None before DUPLICATES is complete."""
    if not run.has("duplicates"):
        return None
    table = run.read("duplicates", ["keeper_row", "similarity", "evidence", "group_size"])
    limits = limits_of(run)
    near = tally.near_similarities(table)
    return {
        "counts": tally.copies(table, run.read("exact", ["how"]) if run.has("exact") else None) | relations(run),
        "methods": tally.methods(table["evidence"]),
        "sizes": tally.group_sizes(table),
        "similarity": charts.histogram(near, np.ones(len(near), bool), name="cosine to the keeper") if len(near) else None,
        "giants": _giants(run, table),
        "groups": groups(run, table, limits),
        "look_alikes": look_alikes(run, table, limits),
        "contained": contained(run, limits),
        "placeholders": placeholders(run),
        "levels": _levels(run),
    }


def relations(run: Run) -> dict[str, int]:
    """Return how many pairs were compared, and how many are different, or a part of one another; zeros without VERDICTS."""
    if not run.has("verdicts"):
        return {"compared": 0, "different": 0, "parts": 0}
    counted = pc.value_counts(run.read("verdicts", ["relation"])["relation"].combine_chunks()).to_pylist()
    found = {str(row["values"]): int(row["counts"]) for row in counted}
    parts = found.get("contains", 0) + found.get("contained", 0)
    return {"compared": sum(found.values()), "different": found.get("different", 0), "parts": parts}


def groups(run: Run, table: pa.Table, limits: Mapping[str, Any], *, num_groups: int = 10, num_copies: int = 5) -> list[Exhibit]:
    """Return the largest groups: keeper, then copies from the least to the most similar, the first hard one drawn."""
    keepers = keeper_rows(table)
    similarity = table["similarity"].fill_null(1.0).to_numpy()
    copied = np.flatnonzero(keepers != np.arange(len(keepers)))
    found, sizes = np.unique(keepers[copied], return_counts=True)
    chosen = found[np.lexsort((found, -sizes))][:num_groups]
    members = {int(k): copied[keepers[copied] == k] for k in chosen}
    shown = {k: rows[np.argsort(similarity[rows], kind="stable")][:num_copies].tolist() for k, rows in members.items()}
    listed = [row for keeper, rows in shown.items() for row in (keeper, *rows)]
    cards = _cards(run, listed, max_total_bytes=1_500_000)
    evidence = dict(zip(listed, table.take(pa.array(listed, pa.int64())).to_pylist(), strict=True))
    for rows in shown.values():
        for row in rows:
            cards[row] |= {
                "similarity": evidence[row]["similarity"],
                "says": describe(evidence[row]["evidence"], similarity=evidence[row]["similarity"], limits=limits),
            }
    hard = [_hardest(rows, evidence, keeper) for keeper, rows in shown.items()]
    drawings = drawn(run, [pair for pair in hard if pair is not None])
    return [
        {
            "keeper": cards[keeper],
            "copies": [cards[row] for row in rows],
            "num_copies": len(members[keeper]),
            "drawing": drawings.get(pair) if pair is not None else None,
            "drawn": cards[pair[1]] if pair is not None else None,
        }
        for (keeper, rows), pair in zip(shown.items(), hard, strict=True)
    ]


def look_alikes(run: Run, table: pa.Table, limits: Mapping[str, Any], *, num: int = 8) -> list[Exhibit]:
    """Return the most similar pairs that were compared and not merged, each image at most once, with the reason."""
    chosen = refused(run, keeper_rows(table), num)
    pairs = [(pair["row_a"], pair["row_b"]) for pair in chosen]
    cards = _cards(run, [row for pair in pairs for row in pair], max_total_bytes=700_000)
    measured = [pair for pair, verdict in zip(pairs, chosen, strict=True) if is_drawn(verdict["evidence"])]
    drawings = drawn(run, measured, tint=True)
    return [
        {
            "pair": [cards[row] for row in pair],
            "similarity": verdict["similarity"],
            "says": describe(verdict["evidence"], relation="different", similarity=verdict["similarity"], limits=limits),
            "drawing": drawings.get(pair),
        }
        for pair, verdict in zip(pairs, chosen, strict=True)
    ]


def contained(run: Run, limits: Mapping[str, Any], *, num: int = 8) -> list[Exhibit]:
    """Return images, copies left out, that another image shows in full, with that image and what was measured."""
    table = run.read("duplicates", ["id", "contained_in", "keeper"])
    inside = np.flatnonzero(pc.and_(table["contained_in"].is_valid(), table["keeper"].is_null()).to_numpy())[:num]
    outside = pc.index_in(table["contained_in"].take(inside), table["id"].combine_chunks()).to_pylist()
    pairs = [(int(row), int(whole)) for row, whole in zip(inside, outside, strict=True) if whole is not None]
    cards = _cards(run, [row for pair in pairs for row in pair], max_total_bytes=500_000)
    known = verdicts_of(run, pairs)
    drawings = drawn(run, [pair for pair in pairs if pair in known and is_drawn(known[pair]["evidence"])][:4])
    return [
        {
            "part": cards[pair[0]],
            "whole": cards[pair[1]],
            "says": describe(known[pair]["evidence"], relation="contains", limits=limits) if pair in known else None,
            "drawing": drawings.get(pair),
        }
        for pair in pairs
    ]


def placeholders(run: Run, *, num: int = 6) -> list[Exhibit]:
    """Return the largest groups named in PLACEHOLDERS, each with its keeper and a sentence that says why it is named."""
    if not run.has("placeholders"):
        return []
    named = run.read("placeholders").slice(0, num).to_pylist()
    cards = _cards(run, [row["keeper_row"] for row in named], max_total_bytes=200_000)
    return [
        cards[row["keeper_row"]] | {"size": row["size"], "says": _named_for(row), "examples": row["examples"]} for row in named
    ]


def _named_for(row: Mapping[str, Any]) -> str:
    if row["reason"] == "telling_text":
        return f"The text read in the picture says that it stands for another: {row['text']}."
    agreement, background = row["caption_agreement"] or 0.0, row["background_agreement"] or 0.0
    shared = f"two captions share {100 * agreement:.0f} % of their words, two of the whole collection {100 * background:.0f} %"
    return f"Its {row['captions']:,} captions have no more to do with each other than any: {shared}."


def drawn(
    run: Run, pairs: Sequence[tuple[int, int]], *, tint: bool = False, side_px: int = 256
) -> dict[tuple[int, int], Exhibit]:
    """Return a picture of the matched keypoints of each pair that has any: data URI and number of lines.

    tint: also colour the places of the right picture that differ. Empty for a run without KEYPOINTS.
    """
    if not pairs or not run.has("keypoints"):
        return {}
    rows = np.unique(np.array(pairs, np.int64))
    stored = dict(zip(rows.tolist(), run.take("keypoints", rows).to_pylist(), strict=True))
    pixels = dict(zip(rows.tolist(), read_pixels(run.take("images", rows), max_side_px=side_px), strict=True))
    found = {}
    for pair in pairs:
        pictures = [pixels[row] for row in pair]
        if any(not stored[row]["count"] for row in pair) or pictures[0] is None or pictures[1] is None:
            continue
        found_lines = matched(*(keypoints.unpack(stored[row]) for row in pair))
        if len(found_lines.lines):
            differs = found_lines.differs if tint else None
            page = side_by_side(pictures[0].pixels, pictures[1].pixels, found_lines.lines, differs=differs)
            found[pair] = {
                "picture": data_uri(page),
                "lines": len(found_lines.lines),
                "width": page.shape[1],
                "height": page.shape[0],
            }
    return found


def _cards(run: Run, rows: Sequence[int], *, max_total_bytes: int) -> dict[int, Exhibit]:
    pictures = thumbnails(run, rows, side_px=176, max_total_bytes=max_total_bytes)
    return {row: card | {"picture": pictures.get(row)} for row, card in described(run, rows).items()}


def _hardest(rows: Sequence[int], evidence: Mapping[int, Any], keeper: int) -> tuple[int, int] | None:
    """Return keeper and the least similar copy that keypoints recognised."""
    return next(((keeper, row) for row in rows if is_drawn(evidence[row]["evidence"])), None)


def _levels(run: Run) -> list[dict[str, Any]]:
    if not run.has("hierarchy"):
        return []
    names = [name for name in run.read_part("hierarchy", 0).column_names if name.startswith("level_")]
    return tally.levels(run.read("hierarchy", names), names)


def _giants(run: Run, table: pa.Table) -> list[dict[str, int]]:
    if not run.has("communities"):
        return []
    return tally.giants(run.read("communities", ["component", "community"]), keeper_rows(table))
