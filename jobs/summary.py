"""What a person sees at the end of a run and in `status`: a table of stages and the balance."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from curation.ledger import balance
from curation.tables import Run
from jobs.config import Config
from jobs.progress import Bars, Lines, Progress
from jobs.runner import Outcome


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield bars on a terminal and plain lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    with Bars(console) as bars:
        yield bars


def write_config(run: Run, config: Config) -> None:
    """Keep the resolved configuration beside the tables."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    run.store.put("config.yaml", text.encode())


def show(run: Run, outcomes: Sequence[Outcome]) -> None:
    """Print what was done, the balance, and where the results lie."""
    done = [outcome for outcome in outcomes if outcome.state == "done"]
    if done:
        _console().print(_stages(done))
    else:
        print("nothing to do: every stage is up to date")
    _show_balance(balance(run))
    for name in ("report.html", "samples/grid.png"):
        if (run.root / name).exists():
            print(f"{Path(name).stem}: {_short(run.root / name)}")


def show_status(found: Mapping[str, Any]) -> None:
    """Print the ledger."""
    table = Table("stage", "state", "parts", "rows", "not ok", "wall s", "CPU s", box=None, pad_edge=False)
    for stage in found["stages"]:
        counts = stage.get("counts", {})
        bad = ", ".join(f"{code} {n}" for code, n in counts.items() if code not in ("ok", "kept"))
        parts = f"{stage['parts']}" if stage["state"] == "complete" else f"{stage['parts']}/{stage.get('of_parts') or '?'}"
        cost = [f"{stage[key]:.1f}" if key in stage else "" for key in ("wall_seconds", "cpu_seconds")]
        table.add_row(stage["stage"], stage["state"], parts, str(stage.get("rows", "")), bad, *cost)
    _console().print(table)
    _show_balance(found["balance"])
    if found["base"]:
        print(f"{found['base']['images']} of them came with the base {found['base']['run']}")


def _stages(outcomes: Sequence[Outcome]) -> Table:
    table = Table("stage", "rows", "wall s", "CPU s", "rows/s", "peak MB", box=None, pad_edge=False)
    for outcome in outcomes:
        rate = outcome.rows / outcome.wall_seconds if outcome.wall_seconds else 0.0
        table.add_row(
            outcome.name,
            str(outcome.rows),
            f"{outcome.wall_seconds:.1f}",
            f"{outcome.cpu_seconds:.1f}",
            f"{rate:.1f}",
            f"{outcome.peak_rss_bytes / 2**20:.0f}" if outcome.peak_rss_bytes else "",
        )
    table.add_row(
        "total", "", f"{sum(o.wall_seconds for o in outcomes):.1f}", f"{sum(o.cpu_seconds for o in outcomes):.1f}", "", ""
    )
    return table


def _show_balance(ledger: Mapping[str, Any]) -> None:
    print(f"{ledger['in']} images = {ledger['kept']} kept", end="")
    print(f" + {ledger['undecided']} undecided" if ledger["undecided"] else "", end="")
    for word in ("dropped", "failed"):
        print(f" + {sum(ledger[word].values())} {word}{_by(ledger[word])}", end="")
    print("" if ledger["adds_up"] else "   THIS DOES NOT ADD UP")
    if ledger["left_out"]:
        print(f"left out, for they claim no image: {_listed(ledger['left_out'])}")


def _by(counts: Mapping[str, int]) -> str:
    return f" ({_listed(counts)})" if counts else ""


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 110)
