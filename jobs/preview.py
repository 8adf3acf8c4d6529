"""`imageloom caption RUN --preview N`: look before you spend. Some images are captioned as configured; no table is touched.

The sample is a function of the run alone: round and round the strata (sub-collection, with text or without, captioned by its
source or not), in each by the hash of the id, so that rare kinds are seen and a repeated look shows the same images.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from captioning.facts import gather_rows
from captioning.metadata import metadata_texts
from captioning.validate import Evidence
from curation.errors import ConfigError
from curation.tables import Run
from jobs.caption import Captioner
from jobs.config import Config
from jobs.pipeline import pipeline

INPUTS = ("images", "metrics", "tags", "ocr")


@dataclass(frozen=True)
class Preview:
    """What was written for the sample, and what it took."""

    rows: list[int]
    tables: Mapping[str, list[dict[str, Any]]]  # rows of images, ocr, mentions (if there are any) and captions, aligned
    backend: str
    question: list[tuple[str, str]]  # role and text of the first image's question; none for facts
    prompt: str | None
    answers: Mapping[str, Sequence[str]]
    min_mention_score: float
    seconds: float
    kept: int  # images that the whole run would caption


def preview(run: Run, config: Config, number: int) -> Preview:
    """Caption `number` images of a run with the configured backend; raises ConfigError when a table that is needed is missing."""
    for table in INPUTS:
        if not run.has(table):
            raise ConfigError(f"{run.root} has no complete {table}/; run it until select first")
    planned = next(line for line in pipeline(config) if line.stage.name == "caption")
    parameters = {**planned.parameters, **planned.how}
    if "model" in parameters:  # a look must not stop at a bad model: that is what one wants to see
        parameters["model"] = {**parameters["model"], "max_fallback_share": 1.0}
    kept = kept_rows(run)
    rows = sample(run, kept, number)
    names = [*INPUTS, *(name for name in ("watermarks", "mentions") if run.has(name))]
    tables = {name: run.take(name, np.array(rows, np.int64)) for name in names}
    captioner = Captioner(**parameters)
    begun = time.perf_counter()
    captions = captioner(**tables)
    seconds = time.perf_counter() - begun
    shown = {name: tables[name].to_pylist() for name in ("images", "ocr", "mentions") if name in tables}
    model = captioner.model
    return Preview(
        rows=rows,
        tables=shown | {"captions": captions.to_pylist()},
        backend=config.caption.backend,
        question=_question(captioner, tables, parameters) if model is not None and rows else [],
        prompt=model.writer.prompt if model is not None else None,
        answers=model.answers if model is not None else {},
        min_mention_score=config.caption.min_mention_score,
        seconds=seconds,
        kept=len(kept),
    )


def kept_rows(run: Run) -> NDArray[np.int64]:
    """Return the global rows that would be captioned: those the selection keeps, all sound ones before it."""
    if run.has("selection"):
        return np.flatnonzero(run.read("selection", ["keep"])["keep"].to_numpy()).astype(np.int64)
    return np.flatnonzero(run.read("images", ["error"])["error"].is_null().to_numpy()).astype(np.int64)


def sample(run: Run, kept: NDArray[np.int64], number: int) -> list[int]:
    """Return up to `number` of the rows `kept`, in ascending order: some of every stratum, the same ones every time."""
    images = run.read("images", ["id", "group", "caption"])
    ids, groups = (images[name].to_pylist() for name in ("id", "group"))
    captioned = images["caption"].is_valid().to_pylist()
    has_text = pc.fill_null(pc.greater(pc.list_value_length(run.read("ocr", ["lines"])["lines"]), 0), False).to_pylist()
    strata: dict[tuple[str, bool, bool], list[int]] = {}
    for row in sorted(kept.tolist(), key=lambda row: hashlib.sha256(ids[row].encode()).digest()):
        strata.setdefault((groups[row], has_text[row], captioned[row]), []).append(row)
    turns = zip_longest(*(strata[stratum] for stratum in sorted(strata)))
    return sorted([row for turn in turns for row in turn if row is not None][:number])


def _question(captioner: Captioner, tables: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return role and text of the messages that the first image's question consists of."""
    assert captioner.model is not None
    first = gather_rows(**{name: table.slice(0, 1) for name, table in tables.items()}, **captioner.limits)[0]
    if first.facts is None:
        return []
    ask = captioner.model.writer.question(first.image["id"], Evidence(first.facts, metadata_texts(first.image)))
    found = []
    for message in ask.messages:
        parts = message["content"]
        text = parts if isinstance(parts, str) else "\n".join(part.get("text", "[picture]") for part in parts)
        found.append((message["role"], text))
    return found


def reasons(preview: Preview) -> Counter[str]:
    """Return how many captions were written from facts in a model's stead, by the code of the reason."""
    flags = [flag for row in preview.tables["captions"] for caption in row["captions"] or [] for flag in caption["flags"]]
    return Counter(flag.split(":")[1] for flag in flags if flag.startswith("fallback:"))


def estimate(preview: Preview) -> dict[str, float]:
    """Return what the whole run will take, by the sample: seconds of one worker, tokens, requests and cost."""
    number = max(1, len(preview.rows))
    used = [row["usage"] for row in preview.tables["captions"] if row["usage"] is not None]
    totals = {name: sum(one[name] for one in used) for name in ("requests", "input_tokens", "output_tokens", "cost")}
    return {name: value * preview.kept / number for name, value in (totals | {"seconds": preview.seconds}).items()}
