"""The ledger of a run: per stage its state and cost, and the balance in = kept + dropped by reason + failed by code."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from curation.tables import Run


def status(run: Run, stages: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the state of every (stage, table) and the balance, as a JSON object.

    Reads commit records and manifests only, plus two narrow columns of SELECTION; needs no Ray and no lock.
    """
    return {
        "run": str(run.root),
        "stages": [_stage(run, name, table) for name, table in stages],
        "balance": balance(run),
    }


def balance(run: Run) -> dict[str, Any] | None:
    """Return images in, kept, dropped by reason and failed by code; None before ingest has a part.

    Before selection every readable image counts as undecided. `adds_up` is the promise that nothing disappeared.
    """
    commits = run.commits("images")
    if not commits:
        return None
    total = sum(commit.rows for commit in commits)
    if run.has("selection"):
        rows = run.read("selection", ["status", "reason"])
        statuses = rows.column("status").to_pylist()
        reasons = rows.column("reason").to_pylist()
        dropped = Counter(reason for state, reason in zip(statuses, reasons, strict=True) if state == "dropped")
        failed = Counter(reason for state, reason in zip(statuses, reasons, strict=True) if state == "failed")
        kept, undecided = statuses.count("kept"), 0
    else:
        counts: Counter[str] = Counter()
        for commit in commits:
            counts.update(commit.counts)
        undecided, kept, dropped = counts.pop("ok", 0), 0, Counter()
        failed = counts
    return {
        "in": total,
        "kept": kept,
        "undecided": undecided,
        "dropped": dict(sorted(dropped.items())),
        "failed": dict(sorted(failed.items())),
        "adds_up": total == kept + undecided + sum(dropped.values()) + sum(failed.values()),
    }


def _stage(run: Run, name: str, table: str) -> dict[str, Any]:
    manifest, started = run.manifest(table), run.started(table)
    if manifest is None:
        done = run.num_parts(table)
        state = "running or interrupted" if started else "not started"
        return {"stage": name, "table": table, "state": state, "parts": done, "of_parts": (started or {}).get("parts")}
    return {
        "stage": name,
        "table": table,
        "state": "complete",
        **{key: manifest[key] for key in ("parts", "rows", "counts", "wall_seconds", "cpu_seconds", "fingerprint", "digest")},
    }
