"""Balance: which kept images fit into the budget and how often each is trained on; it needs the whole collection at once."""

import logging
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from curation.bags import lookup
from curation.balance import Weighing, balance
from curation.columns import grouping_column, named_columns
from curation.decisions import decisions
from curation.incidence import incidence
from curation.languages import image_languages
from curation.tables import Run
from curation.targets import concept_shares, forest
from jobs.adopt import base_rows, base_run
from jobs.stage import Item, Output
from jobs.taxonomy import shown
from jobs.whole import aligned_outputs, one_item

log = logging.getLogger(__name__)

READING = ("languages", "min_tag_score", "min_mention_score")
"""Parameters of the stage concepts that say what counts as shown; the balance must read images alike."""

TABLES = ("images", "metrics", "scores", "ocr", "tags", "duplicates", "hierarchy")
"""Tables whose columns a group may be named by."""


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item that produces every part."""
    return one_item(run)


def work(
    run: Run,
    item: Item,
    *,
    mode: str,
    by: str,
    alpha: float,
    languages: Mapping[str, float],
    max_weight: float,
    steps: int,
    bm25_power: float,
    seed: int,
    threshold: float | None = None,
    budget: int | float | None = None,
) -> list[Output]:
    """Make BALANCE; see curation.balance."""
    selection = run.read("selection", ["id", "keep"])
    keep = selection["keep"].to_numpy()
    fixed, left_out = _of_base(run, keep)
    taxonomy = run.read("taxonomy")
    parent, prior = forest(taxonomy)
    language, shares, reference = _languages(run, languages) if languages or mode == "metaclip" else (None, {}, -1)
    weighing = Weighing(
        mode=mode,  # type: ignore[arg-type]
        named=_named(run, taxonomy, keep),
        parent=parent,
        prior=prior,
        group=_groups(run, by) if mode == "communities" else None,
        alpha=alpha,
        threshold=threshold,
        language=language,
        reference=reference,
        language_shares=shares,
        max_gain=max_weight,
        steps=steps,
        bm25_power=bm25_power,
    )
    made = balance(
        ids=selection["id"].to_pylist(), kept=keep & ~left_out, weighing=weighing, budget=budget, seed=seed, fixed=fixed,
        max_weight=max_weight,
    )  # fmt: skip
    if left_out.any():
        said = pa.array(["left out by the base's budget" if out else None for out in left_out.tolist()], pa.string())
        made = made.set_column(
            made.column_names.index("detail"), made.schema.field("detail"), said.fill_null(made["detail"].combine_chunks())
        )
    return aligned_outputs(run, made)


def plan_shares(run: Run, **_: object) -> list[Item]:
    """Return one item."""
    return [{"parts": [0]}]


def work_shares(run: Run, item: Item, *, mode: str, max_weight: float) -> list[Output]:
    """Count what the balance made of every concept; see curation.targets."""
    gain = max_weight if mode == "concepts" else None
    return [Output(0, concept_shares(taxonomy=run.read("taxonomy"), balance=run.read("balance"), max_gain=gain))]


def _of_base(run: Run, keep: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which images are in the base's shards, whatever the budget is now, and which its own budget left out."""
    fixed, left_out = np.zeros(len(keep), bool), np.zeros(len(keep), bool)
    base = base_run(run)
    if base is not None and base.has("selection"):
        reasons = decisions(base)["reason"].to_pylist()
        rows = base_rows(run)
        left_out[:rows] = np.array([reason == "budget" for reason in reasons]) & keep[:rows]
        fixed[:rows] = keep[:rows] & ~left_out[:rows]
    return fixed, left_out


def _named(run: Run, taxonomy: pa.Table, keep: NDArray[np.bool_]) -> sparse.csr_matrix:
    """Return (images, concepts): times that each is named; rows of images that the selection dropped are empty."""
    reading = (run.manifest("taxonomy") or {})["parameters"]
    parts = shown(run, **{name: reading[name] for name in READING})
    found = incidence(parts, lookup(taxonomy), num_concepts=taxonomy.num_rows)
    lengths = np.zeros(len(keep) + 1, np.int64)
    lengths[1:][keep] = np.diff(found.indptr)
    return sparse.csr_matrix((found.data, found.indices, np.cumsum(lengths)), shape=(len(keep), taxonomy.num_rows))


def _languages(run: Run, shares: Mapping[str, float]) -> tuple[NDArray[np.int64], dict[int, float], int]:
    """Return the language of every image as a code, the wanted shares by code, and the code of English."""
    found: list[str] = []
    for part in range(run.num_parts("captions")):
        tables = run.aligned(("captions", "ocr"), part)
        found += image_languages(tables["captions"], tables["ocr"])
    names = sorted({*found, *shares, "en"})
    for name in sorted(set(shares) - set(found)):
        log.warning("balance.languages: no image is in %s; its share goes to the others", name)
    code = {name: number for number, name in enumerate(names)}
    return np.array([code[name] for name in found], np.int64), {code[name]: share for name, share in shares.items()}, code["en"]


def _groups(run: Run, by: str) -> NDArray[np.int64]:
    """Return the group of every image by the values of a column; images without a value are one group."""
    column = grouping_column(named_columns({name: run.read(name) for name in TABLES if run.has(name)}), by)
    codes = column.cast(pa.string()).fill_null("").dictionary_encode().indices
    return np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)
