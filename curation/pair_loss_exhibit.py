"""The report on losses of edits: which tasks, kinds and pairs a model makes badly, or no better with its instruction."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.decode import decode
from curation.errors import ConfigError, DecodeError
from curation.exhibits import data_uri
from curation.relative_loss import PAIR_KEYS, by_column, by_time, extremes, relative_losses
from curation.schema import PAIR_LOSS, conform
from curation.tables import Run

SIDE_PX = 120
"""Long side of a source or target as shown."""


def pair_loss_exhibit(run: Run, losses: pa.Table, *, num_examples: int = 6) -> dict[str, Any]:
    """Return what the page shows of PAIR_LOSS: tables by time, task, kind and what was told, and examples with their pictures.

    losses: of a model that was asked about the run's pair shards. Raises ConfigError when none is of a pair of this run.
    """
    losses = pairs_in(run, losses)
    relative = relative_losses(losses, keys=PAIR_KEYS)
    said = zip(relative["level"].to_pylist(), relative["language"].to_pylist(), strict=True)
    relative = relative.append_column("told", pa.array([f"{level}, {language}" for level, language in said], pa.string()))
    lists = _lists(relative, num_examples)
    shown = _pictures(run, sorted({one["pair"] for listed in lists for one in listed["examples"]}))
    for listed in lists:
        listed["examples"] = [one | shown[one["pair"]] for one in listed["examples"]]
    return {
        "pairs": len(set(relative["pair"].to_pylist())),
        "step": losses["step"][0].as_py(),
        "errors": losses["loss"].null_count,
        "times": by_time(losses, sample="pair").to_pylist(),
        **{name: by_column(relative, name, sample="pair").to_pylist() for name in ("task", "kind", "told")},
        "lists": lists,
    }


def pairs_in(run: Run, losses: pa.Table) -> pa.Table:
    """Return the PAIR_LOSS rows of pairs in the shards of `run`; raises ConfigError when there is none."""
    losses = conform(losses, PAIR_LOSS)
    if run.has("pair_shards"):
        found = losses.filter(pc.is_in(losses["pair"], run.read("pair_shards", ["pair"])["pair"].combine_chunks()))
        if len(found):
            return found
    raise ConfigError(f"none of {len(losses)} losses is of an edit pair in {run.root}; give those of its own pair shards")


def _lists(relative: pa.Table, num: int) -> list[dict[str, Any]]:
    lists = [
        {
            "name": "Hardest edits",
            "meaning": "the model predicts these targets worst: much that is new, or an instruction that does not lead to them",
            "examples": extremes(relative, [("hardness", "descending")], num=num, sample="pair").to_pylist(),
        },
        {
            "name": "Instructions that help least",
            "meaning": "from the reference alone the target is predicted as well: the instruction may be wrong, or change little",
            "examples": extremes(relative, [("help", "ascending")], num=num, sample="pair").to_pylist(),
        },
    ]
    return [listed for listed in lists if listed["examples"]]


def _pictures(run: Run, pairs: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    """Return source, target and instructions of pairs, as data URIs (None: not to be read) and texts."""
    shards, texts = run.read("pair_shards"), run.read("edit_pairs", ["pair", "instruction_en", "instruction_zh"])
    wanted = pa.array(pairs, pa.string())
    members = shards.filter(pc.is_in(shards["pair"], wanted)).to_pylist()
    said = {one["pair"]: one for one in texts.filter(pc.is_in(texts["pair"], wanted)).to_pylist()}
    return {one["pair"]: said[one["pair"]] | {side: _picture(run, one, side) for side in ("source", "target")} for one in members}


def _picture(run: Run, member: Mapping[str, Any], side: str) -> str | None:
    try:
        with (run.folder("pair_shards") / member["shard"]).open("rb") as file:
            file.seek(member[f"{side}_offset"])
            pixels: np.ndarray = decode(file.read(member[f"{side}_length"]), max_side_px=SIDE_PX).pixels
    except (OSError, DecodeError):
        return None
    return data_uri(pixels)
