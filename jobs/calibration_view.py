"""A calibration as a table for the terminal, as JSON, and as one HTML page with a plot."""

import base64
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import escape
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from curation.errors import ConfigError

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}"
    "td,th{padding:.15rem .8rem;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}"
    "img{max-width:100%}pre{background:#f4f4f4;padding:1rem;overflow:auto}"
)
WORDS = {
    "cosine": "cosine of the embeddings",
    "centred": "cosine after the mean is subtracted",
    "hash": "share of equal PDQ bits, best of eight orientations",
}


def write(result: Mapping[str, Any], folder: Path) -> None:
    """Write calibration.json and calibration.html; raises ConfigError when the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "calibration.json").write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        (folder / "calibration.html").write_text(page(result), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error


def show(result: Mapping[str, Any]) -> None:
    """Print thresholds, held-out check, candidates and the YAML snippet."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    print(_summary(result))
    for heading, rows in _tables(result).items():
        table = Table(*rows[0], box=None, pad_edge=False, title=heading, title_justify="left")
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)
    print(result["snippet"], end="")


def page(result: Mapping[str, Any]) -> str:
    """Return the calibration as one HTML page without references to other files."""
    tables = "".join(f"<h2>{escape(heading)}</h2>{_html(rows)}" for heading, rows in _tables(result).items())
    by_kind = _html(_alterations(result))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Calibration</title><style>{STYLE}</style>"
        f"<h1>Calibration of {escape(result['embedder']['model'])}</h1><p>{escape(_summary(result))}</p>"
        f'<img alt="Recall and precision by threshold; closeness of copies; largest component" src="{_plot(result)}">'
        f"{tables}<h2>By alteration</h2>{by_kind}<h2>YAML</h2><pre>{escape(result['snippet'])}</pre></html>\n"
    )


def _summary(result: Mapping[str, Any]) -> str:
    looked = sum(number for name, number in result["pairs"].items() if name != "unseen")
    return (
        f"{result['sample']} of {result['images']} images altered, {looked} nearest pairs looked at "
        f"({', '.join(f'{name} {number}' for name, number in result['pairs'].items())}). The promise of precision "
        f"{result['precision']} is for {result['copies_per_image']:.3g} copy pairs per image; bounds are one-sided 95 %."
    )


def _tables(result: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    held = result["held_out"]
    thresholds = [["measure", "threshold", "precision", "at least", "recall", "at least", "held-out recall"]]
    for name, at in result["thresholds"].items():
        numbers = [at["value"], at["precision"], at["precision_low"], at["recall"], at["recall_low"], held[f"recall_{name}"]]
        thresholds.append([WORDS[name], *(f"{number:.4f}" for number in numbers)])
    thresholds += [[WORDS[name], "none", *[""] * 5] for name in result["refused"]]
    found = {"Proposed thresholds": thresholds}
    if "answers_right" in held:
        found["Held-out copies looked up among all images at that cosine"] = [
            ["copies", "right answers", "wrong answers", "precision"],
            [str(held["copies"]), str(held["answers_right"]), str(held["answers_wrong"]), f"{held['precision_cosine']:.4f}"],
        ]
    recall = result["candidates"]["recall_at"]
    found["Originals among the k nearest of their copies"] = [["k", *recall], ["share", *(f"{v:.3f}" for v in recall.values())]]
    found[f"Components by cosine (above {result['knee']} none holds more than 1 % of the images, or 50)"] = [
        ["cosine", "largest", "groups", "images in groups"],
        *([f"{row['threshold']:.2f}", *(str(row[key]) for key in ("largest", "groups", "images"))] for row in _every(result)),
    ]
    return found


def _every(result: Mapping[str, Any], rows: int = 12) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = result["components"]
    return found[:: max(1, len(found) // rows)]


def _alterations(result: Mapping[str, Any]) -> list[list[str]]:
    names = list(result["thresholds"])
    head = ["alteration", "strength", "copies", *(f"median {name}" for name in WORDS), *(f"recall by {name}" for name in names)]
    return [head] + [
        [row["kind"], row["level"], str(row["copies"]), *(f"{row[f'median_{name}']:.3f}" for name in WORDS)]
        + [f"{row[f'recall_{name}']:.2f}" for name in names]
        for row in result["by_alteration"]
    ]


def _html(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f"<table><tr>{head}</tr>{body}</table>"


def _plot(result: Mapping[str, Any]) -> str:
    """Return a PNG data URI: recall and the bound on precision per measure, and the largest component by cosine."""
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    axes = figure.subplots(1, 4)
    for axis, (name, curve) in zip(axes, result["curves"].items(), strict=False):
        axis.plot(curve["threshold"], curve["recall"], label="recall")
        axis.plot(curve["threshold"], curve["precision"], label="precision")
        axis.plot(curve["threshold"], curve["precision_low"], label="95 % bound", linestyle="--")
        if name in result["thresholds"]:
            axis.axvline(result["thresholds"][name]["value"], color="black", linewidth=0.8)
        axis.set(title=name, xlabel=WORDS[name], xlim=(0.2, 1), ylim=(0, 1.02))
        axis.legend(loc="lower left", fontsize=8)
    steps = result["components"]
    axes[3].semilogy([row["threshold"] for row in steps], np.maximum(1, [row["largest"] for row in steps]))
    axes[3].axvline(result["knee"], color="black", linewidth=0.8)
    axes[3].set(title="largest component", xlabel="cosine", ylabel="images")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
