"""The ledger of a run: per stage its state and cost, and the balance in = kept + dropped by reason + failed by code."""

from collections.abc import Sequence
from typing import Any

from curation.ledger import balance
from curation.tables import Run
from jobs.adopt import adopted, base_rows


def status(run: Run, stages: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the state of every (stage, table) and the balance, as a JSON object.

    Reads commit records and manifests only, plus two narrow columns of SELECTION; needs no Ray and no lock.
    """
    return {
        "run": str(run.root),
        "stages": [_stage(run, name, table) for name, table in stages],
        "balance": balance(run),
        "base": {"run": adopted(run, "images").run, "images": base_rows(run)} if base_rows(run) else None,
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
