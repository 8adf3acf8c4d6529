"""What training left behind, ready to be shown: curves from the step log, the grid of samples, the evaluation's figures.

checkpoints/log.jsonl holds one JSON object per step; samples/grid.png one picture; evaluation/evaluation.json a flat object
of measure to value, with an optional note. Each may be absent.
"""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curation import charts

MAX_GRID_BYTES = 1_500_000
"""A larger grid of samples is embedded as a smaller JPEG."""


def training_curves(path: Path) -> list[dict[str, Any]]:
    """Return one curve per logged quantity; a half-written last line of a running training is passed over."""
    records = list(log_records(path))
    curves = []
    for name, meaning in (
        ("loss", "how far the predicted velocity is from the true one; it should fall, then level off"),
        ("validation/ema", "the same of held-out images, at fixed times and from fixed noise, with averaged weights"),
        ("validation/edit_ema", "the same of held-out edit pairs; their reference gives most of the target away"),
        ("grad_norm", "length of the gradient before clipping; spikes are unstable steps"),
        ("lr", "learning rate: the size of a step"),
        ("images_per_second", "training speed"),
    ):
        points = [
            (record["step"], record[name]) for record in records if is_number(record.get(name)) and is_number(record.get("step"))
        ]
        if len(points) > 1:
            steps, values = np.array(points, dtype=float).T
            chart = charts.curve(steps, values, name=name, smoothing=0.0 if name == "lr" or "/" in name else 0.95)
            curves.append({"name": name, "meaning": meaning, "chart": chart, "last": values[-1], "steps": int(steps[-1])})
    return curves


def log_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a log, one a line; lines that are none are passed over."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def grid_picture(path: Path) -> str | None:
    """Return the sample grid as a data URI: the file itself, or a JPEG of it when it is large."""
    if not path.is_file():
        return None
    encoded, kind = path.read_bytes(), "png"
    if len(encoded) > MAX_GRID_BYTES:
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((1600, 1600))
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=85)
        encoded, kind = buffer.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"


def evaluation_table(path: Path) -> dict[str, Any] | None:
    """Return the measures by name and the note, or None without an evaluation."""
    if not path.is_file():
        return None
    measures = json.loads(path.read_text(encoding="utf-8"))
    note = measures.pop("note", None)
    return {"note": note, "measures": measures}


def is_number(value: object) -> bool:
    """Say whether a value from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
