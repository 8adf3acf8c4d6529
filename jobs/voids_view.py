"""Voids as lines for programs, as a page, and as a summary for the terminal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curation.cards import cards, page, with_pictures, write_page
from curation.report import shown
from curation.tables import Run
from graph.voids import Void, visible_share

Finding = dict[str, Any]
"""One line of voids.jsonl."""

EXAMPLES = 5
"""Images named and shown per void."""

MAX_SHOWN = 60
"""Voids on the page; voids.jsonl has all."""


def write_findings(out: Path, findings: Sequence[Mapping[str, Any]], *, run: Run, reference: Run | None, against: str) -> None:
    """Write voids.jsonl and voids.html into the folder `out`."""
    lines = "".join(json.dumps(finding, ensure_ascii=False) + "\n" for finding in findings)
    write_page(out / "voids.jsonl", lines)
    write_page(out / "voids.html", _page(findings[:MAX_SHOWN], run=run, reference=reference, against=against, num=len(findings)))


def measures(void: Void) -> Finding:
    """Return the numbers of a void, rounded for a reader."""
    measured = {name: value for name, value in asdict(void).items() if name not in ("number", "level")}
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in measured.items()}


def show(out: Path, findings: Sequence[Mapping[str, Any]], *, compared: tuple[int, int] | None = None) -> None:
    """Print the largest voids, one line each, and where the rest is.

    compared: images of a reference run and own ones; where nothing was found it is said what so few could not show.
    """
    for number, one in enumerate(findings[:20], start=1):
        name = one.get("concept") or ", ".join(one["terms"][:4]) or f"region {one['region']}"
        share = f"{100 * one['own_share']:.2f} % instead of {100 * one['reference_share']:.2f} %"
        print(f"{number:3}  {shown(name, 50):50}  {share}, fetch {one['images_to_fetch']}")
    if compared is not None and not findings:
        least = 100 * visible_share(num_reference=compared[0], num_own=compared[1])
        print(
            f"no region lacks more than chance explains; {compared[1]:,} images show no lack below {least:.2g} % of the reference"
        )
    print(f"{len(findings)} voids: {out / 'voids.jsonl'}, {out / 'voids.html'}")


def _page(findings: Sequence[Mapping[str, Any]], *, run: Run, reference: Run | None, against: str, num: int) -> str:
    largest = max((max(f["reference_share"], f["own_share"]) for f in findings), default=1.0) or 1.0
    ready: list[dict[str, Any]] = []
    for finding in findings:
        source = reference or run
        examples = with_pictures(source, cards(source, [one["row"] for one in finding["examples"]]), side_px=150)
        own = with_pictures(run, cards(run, [one["row"] for one in finding["nearest_own"]]), side_px=150)
        ready.append(
            {
                **finding,
                "examples": examples,
                "nearest_own": own,
                "reference_width": 100 * finding["reference_share"] / largest,
                "own_width": 100 * finding["own_share"] / largest,
            }
        )
    return page(
        "voids.html.j2", {"run": run.root.name, "against": against, "voids": ready, "num": num, "is_run": reference is not None}
    )
