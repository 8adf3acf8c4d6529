"""Proposals as lines for review, as a page, and as a summary."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curation.cards import cards, page, with_pictures, write_page
from curation.decode import decode
from curation.errors import DecodeError
from curation.exhibits import data_uri
from curation.report import shown
from curation.tables import Run
from jobs.failures import Failure

MAX_SHOWN = 60
"""Proposals on the page; proposals.jsonl has all."""

Proposals = Sequence[Mapping[str, Any]]


def write(out: Path, run: Run, proposals: Proposals, failures: Sequence[Failure]) -> None:
    """Write proposals.jsonl and proposals.html into the folder `out`."""
    lines = "".join(json.dumps(proposal, ensure_ascii=False) + "\n" for proposal in proposals)
    write_page(out / "proposals.jsonl", lines)
    ready = [_ready(run, proposal, failures) for proposal in proposals[:MAX_SHOWN]]
    values = {"run": run.root.name, "proposals": ready, "num": len(proposals), "num_failures": len(failures)}
    write_page(out / "proposals.html", page("proposals.html.j2", values))


def show(out: Path, proposals: Proposals) -> None:
    """Print one line per proposal, and what to do next."""
    for one in proposals[:20]:
        what = f"{len(one['ids'])} images" if "ids" in one else f"{one['images_to_fetch']} images to find"
        print(f"{one['proposal']:3}  {one['action']:8} {what:20} {shown(one['reason'], 100)}")
    print(f"{len(proposals)} proposals: {out / 'proposals.jsonl'}, {out / 'proposals.html'}")
    if proposals:
        print("review: set `approved` to true, or to a list of ids; then imageloom remediate RUN --apply FILE --out NEW.yaml")


def _ready(run: Run, proposal: Mapping[str, Any], failures: Sequence[Failure]) -> dict[str, Any]:
    examples = with_pictures(run, cards(run, [one["row"] for one in proposal["examples"]]), side_px=150)
    blamed = [failures[number] for number in proposal["evidence"]["failures"]]
    pictures = [_failed(failure) for failure in blamed if failure.image is not None][:8]
    prompts = list(dict.fromkeys(failure.prompt for failure in blamed if failure.prompt))[:8]
    tested = {name: proposal["evidence"].get(name) for name in ("cases", "expected_cases", "ratio", "p", "q", "rare_terms")}
    words = {name: proposal.get(name) for name in ("wrong", "right", "queries", "images_to_fetch")}
    return {**proposal, **words, "examples": examples, "failed": pictures, "prompts": prompts, "tested": tested}


def _failed(failure: Failure) -> dict[str, Any]:
    assert failure.image is not None
    try:
        picture = data_uri(decode(failure.image.read_bytes(), max_side_px=150).pixels)
    except (OSError, DecodeError):
        picture = None
    says = {"caption": failure.problem or failure.prompt, "status": None, "reason": None, "detail": None}
    return {"picture": picture, "key": failure.image.name, "id": "", "width": None, "height": None, "format": None, **says}
