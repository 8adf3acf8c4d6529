"""A run that grows from an older one: `base` in the YAML.

The new run begins with the parts of its base, linked and not copied: rows 0 to B - 1 are the base's images, what the source
adds comes behind them. So every row number, table and verb means what it means in any run, and the base of a base is already
in its tables. Of the tables in ADOPTED the base's parts stand as they are, provided the stage was made with the parameters of
this run and from inputs that were adopted too; a table that is not adopted is computed for all images. The stages that look
at the whole collection read narrow columns of all of it, but compare, embed and decode nothing of the base again.

Every stage's fingerprint holds the digest of the base's table, so a base that has changed since makes the run stale.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curation.errors import ConfigError
from curation.tables import Run, canonical, part_stem
from jobs.stage import Stage

log = logging.getLogger(__name__)

ADOPTED = (
    "images", "metrics", "embeddings", "tags", "scores", "ocr", "keypoints", "centroids", "lists", "nearest", "neighbours",
    "pairs", "edges", "verdicts", "forests", "confirmations", "mentions", "captions",
)  # fmt: skip
"""Tables whose parts speak of their own rows or pairs, and stay true when images are added behind them."""
NEEDED = ("images", "exact", "partitions", "duplicates")
"""Tables that a base must have finished."""
FREE = {
    "images": ("source", "part_rows", "timeout_seconds"),
    "verdicts": ("pairs_per_item",),
    "confirmations": ("pairs_per_item",),
    "lists": ("memory_mb",),
    "pairs": ("memory_mb",),
}
"""Parameters that may differ from the base's: they say where the rows come from and how the work is cut, not what it gives."""

_RECORD = "_base.json"


@dataclass(frozen=True)
class Adopted:
    """What a table took over from the base."""

    parts: int = 0
    rows: int = 0
    run: str = ""
    digest: str = ""


def adopted(run: Run, table: str) -> Adopted:
    """Return what `table` took over from the base; nothing in a run without one."""
    key = f"{table}/{_RECORD}"
    return Adopted(**json.loads(run.store.get(key))) if run.store.exists(key) else Adopted()


def base_run(run: Run) -> Run | None:
    """Return the base of a run that has begun; None without one."""
    found = adopted(run, "images")
    return Run(found.run) if found.parts else None


def base_rows(run: Run) -> int:
    """Return how many images came with the base: they are the first rows."""
    return adopted(run, "images").rows


def check_base(base: Run) -> None:
    """Raise ConfigError unless `base` is a run that is finished up to duplicates."""
    missing = [table for table in NEEDED if not base.has(table)]
    if missing:
        raise ConfigError(
            f"base {base.root} is not a finished run: it has no complete {missing[0]}/; "
            "finish it with `imageloom run` (at least --until duplicates) first"
        )


def digest_of(base: Run, stage: Stage) -> str | None:
    """Return the digest of the base's table of a stage, which the stage's result depends on; None when it has none."""
    return base.digest(stage.table) if base.has(stage.table) else None


def adopt(run: Run, base: Run, stage: Stage, parameters: Mapping[str, Any]) -> None:
    """Take over the base's parts of the stage's table where they stay true; does nothing when that was done already.

    Raises ConfigError when images were judged by another policy than the base's.
    """
    table = stage.table
    if table not in ADOPTED or run.store.exists(f"{table}/{_RECORD}"):
        return
    reason = _why_not(run, base, stage, parameters)
    if reason is not None:
        if table == "images":
            raise ConfigError(f"base {base.root} cannot be grown from: {reason}")
        log.warning("%s is computed for all images, not only the new ones: %s", table, reason)
        return
    if run.started(table) is None:  # what is there is half of an earlier adoption
        shutil.rmtree(run.folder(table), ignore_errors=True)
    commits = base.commits(table)
    for commit in commits:
        for key in commit.files:
            _link(base.store.path(key), run.store.path(key))
        record = asdict(commit) | {"attempts": {}, "wall_seconds": 0.0, "cpu_seconds": 0.0}  # it cost the base, not this run
        run.store.create(f"{table}/_commits/{part_stem(table, commit.part)}.json", canonical(record) + b"\n")
    found = Adopted(len(commits), sum(commit.rows for commit in commits), str(base.root), base.digest(table))
    run.store.put(f"{table}/{_RECORD}", canonical(asdict(found)) + b"\n")


def _why_not(run: Run, base: Run, stage: Stage, parameters: Mapping[str, Any]) -> str | None:
    manifest = base.manifest(stage.table)
    if manifest is None:
        return f"the base has no complete {stage.table}/"
    free = FREE.get(stage.table, ())
    before, now = ({k: v for k, v in values.items() if k not in free} for values in (manifest["parameters"], parameters))
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if changed:
        return f"{stage.name}.{changed[0]} was {before.get(changed[0])!r} in the base and is {now.get(changed[0])!r}"
    if manifest.get("stage_version") != stage.version:
        return f"the base was made by version {manifest.get('stage_version')} of {stage.name}, this is {stage.version}"
    fresh = [name for name in stage.inputs if name in ADOPTED and not adopted(run, name).parts]
    return f"its input {fresh[0]} is computed anew" if fresh else None


def _link(source: Path, target: Path) -> None:
    """Make the file appear at `target` too: a hard link, or a copy where the file systems differ."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.adopted")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside)
    except OSError:
        shutil.copyfile(source, beside)
    os.replace(beside, target)
