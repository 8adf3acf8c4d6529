"""An answer of search as a table for the terminal and as a contact sheet."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation.cards import page, with_pictures, write_page
from curation.decode import decode
from curation.errors import DecodeError
from curation.exhibits import data_uri
from curation.report import shown
from curation.tables import Run
from graph.fulltext import CLOSING, OPENING

MEANINGS = {
    "similarity": "The measure is the cosine of the two embeddings: 1 is the same vector.",
    "score": "The measure is BM25: higher is better; it compares images of one search only.",
}


def present(run: Run, answer: Mapping[str, Any], *, as_json: bool, html: Path | None) -> None:
    """Print the answer as JSON or as a table, and write its contact sheet when `html` names a file."""
    if html is not None:
        write_page(html, sheet(run, answer))
    if as_json:
        print(json.dumps(plain(answer), indent=1, ensure_ascii=False))
        return
    console = Console(width=None if sys.stdout.isatty() else 160)
    show(answer, console)
    if html is not None:
        print(f"contact sheet: {html}")


def show(answer: Mapping[str, Any], console: Console) -> None:
    """Print the members, when there are any, and the results."""
    by = answer["by"]
    if answer.get("members"):
        console.print(_table(answer["members"], "similarity", title=f"{answer['asked']}: {answer['num_members']} images"))
    if not answer["results"]:
        console.print("nothing was found")
        return
    console.print(_table(answer["results"], by, title="nearest other images" if answer.get("members") else None))


def sheet(run: Run, answer: Mapping[str, Any]) -> str:
    """Return the answer as one HTML page."""
    by = str(answer["by"])
    ready = {
        name: [_card(card, "similarity" if name == "members" else by) for card in with_pictures(run, answer.get(name, []))]
        for name in ("results", "members")
    }
    values = {
        "asked": answer["asked"],
        "how": answer["how"],
        "run": run.root.name,
        "kept_only": answer["kept_only"],
        "num_members": answer.get("num_members", 0),
        "measure_means": MEANINGS[by],
        "query_picture": _picture(Path(answer["file"])) if "file" in answer else None,
        **ready,
    }
    return page("search.html.j2", values)


def _picture(path: Path) -> str | None:
    try:
        return data_uri(decode(path.read_bytes(), max_side_px=176).pixels)
    except (OSError, DecodeError):
        return None


def plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer for JSON: snippets with their matches in square brackets."""
    return {
        name: [_unmarked(card) for card in value] if name in ("results", "members") else value for name, value in answer.items()
    }


def _unmarked(card: Mapping[str, Any]) -> dict[str, Any]:
    return {**card, "snippet": _bracketed(card["snippet"])} if "snippet" in card else dict(card)


def _card(card: Mapping[str, Any], by: str) -> dict[str, Any]:
    pieces = [
        (text.strip(OPENING + CLOSING), text.startswith(OPENING))
        for text in re.split(f"({OPENING}[^{CLOSING}]*{CLOSING})", card.get("snippet", ""))
    ]
    return {**card, "measure": _measure(card, by), "pieces": pieces, "matched": card.get("matched", [])}


def _measure(card: Mapping[str, Any], by: str) -> str:
    value = card.get(by)
    if value is None:
        return "no vector"
    return f"cosine {value:.4f}" if by == "similarity" else f"score {value:.2f}" + ("" if card["complete"] else ", in part")


def _table(rows: Sequence[Mapping[str, Any]], by: str, *, title: str | None) -> Table:
    table = Table("", "measure", "image", "id", "decision", "says", box=None, pad_edge=False, title=title, title_justify="left")
    for number, card in enumerate(rows, start=1):
        measure = _measure(card, by) + (" (keeper)" if card.get("is_keeper") else "")
        decision = f"{card['status'] or 'undecided'}" + (f": {card['reason']}" if card["reason"] else "")
        says = f"[{', '.join(card['matched'])}] {_bracketed(card['snippet'])}" if card.get("matched") else card["caption"] or ""
        cells = (str(number), measure, shown(card["key"], 60), card["id"][:12], shown(decision, 40), shown(says, 120))
        table.add_row(*(Text(cell) for cell in cells))  # as text: a caption's square brackets are no markup
    return table


def _bracketed(snippet: str) -> str:
    return snippet.replace(OPENING, "[").replace(CLOSING, "]")
