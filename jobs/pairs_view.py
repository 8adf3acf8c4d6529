"""Edit pairs as a page: source and target side by side, what changed outlined, the instructions, captions and checks."""

import io
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image

from curation.cards import page, write_page
from curation.exhibits import data_uri
from curation.pixels import read_pixels
from curation.tables import Run
from jobs.pair_plan import hash_of

SIDE_PX = 300
Shown = dict[str, Any]


def write_sheet(run: Run, path: Path, *, number: int = 40) -> None:
    """Write a page with `number` pairs, spread over kinds and tasks, and the count of what was refused."""
    write_page(path, page("pairs.html.j2", {"run": run.root.name, **overview(run), "pairs": examples(run, number=number)}))


def show(numbers: Mapping[str, Any], *, as_json: bool, html: Path | None) -> None:
    """Print the numbers of a run's pairs."""
    if as_json:
        print(json.dumps({name: dict(value) if isinstance(value, list) else value for name, value in numbers.items()}, indent=1))
        return
    print(f"{numbers['num_pairs']} pairs")
    for name in ("kinds", "tasks", "operations", "refused"):
        print(f"{name:10}  {', '.join(f'{one} {count}' for one, count in numbers[name]) or 'none'}")
    if html is not None:
        print(f"contact sheet: {html}")


def overview(run: Run) -> Shown:
    """Return the numbers of a run's pairs: by kind, by task, by operation, and of refused ones by reason."""
    table = run.read("edit_pairs", ["kind", "task", "operations", "error"])
    made = table.filter(pc.is_null(table["error"]))
    operations = Counter(one["operation"] for row in made["operations"].to_pylist() for one in row or ())
    return {
        "num_pairs": len(made),
        "kinds": sorted(Counter(made["kind"].to_pylist()).items()),
        "tasks": sorted(Counter(made["task"].to_pylist()).items()),
        "operations": sorted(operations.items(), key=lambda pair: (-pair[1], pair[0])),
        "refused": sorted(Counter(error for error in table["error"].to_pylist() if error).items()),
    }


def examples(run: Run, *, number: int) -> list[Shown]:
    """Return up to `number` pairs with pictures as data URIs: kinds and tasks take turns, inside them by hash of the name."""
    table = run.read("edit_pairs", ["pair", "kind", "task", "error"]).to_pylist()
    turns: Counter[tuple[str, str]] = Counter()
    ranked = []
    made = [row for row, one in enumerate(table) if one["error"] is None]
    for row in sorted(made, key=lambda row: hash_of("shown", table[row]["pair"])):
        kind = table[row]["kind"], table[row]["task"]
        ranked.append((turns[kind], kind, row))
        turns[kind] += 1
    chosen = [row for *_, row in sorted(ranked)[:number]]
    pairs = run.take("edit_pairs", np.array(sorted(chosen, key=lambda row: (table[row]["kind"], row)), np.int64)).to_pylist()
    return [_shown(run, pair) for pair in pairs]


def picture_pixels(run: Run, picture: Mapping[str, Any]) -> np.ndarray:
    """Return the pixels of an EDIT_PICTURE, uint8 (H, W, 3); raises OSError when its bytes are gone."""
    if picture["row"] is not None:
        (decoded,) = read_pixels(run.take("images", np.array([picture["row"]])))
        if decoded is None:
            raise OSError(f"image row {picture['row']} cannot be read")
        return np.asarray(decoded.pixels)
    with (run.folder("edit_pairs") / picture["file"]).open("rb") as file:
        encoded = os.pread(file.fileno(), picture["length"], picture["offset"])
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))


def _shown(run: Run, pair: Mapping[str, Any]) -> Shown:
    source, target = (_thumbnail(picture_pixels(run, pair[f"{side}_picture"])) for side in ("source", "target"))
    outline = None
    if pair["region"]:
        width, height = pair["target_picture"]["width"], pair["target_picture"]["height"]
        x0, y0, x1, y1 = pair["region"]
        outline = [100 * x0 / width, 100 * y0 / height, 100 * (x1 - x0) / width, 100 * (y1 - y0) / height]
    told = {name: pair[name] for name in ("kind", "task", "instruction_en", "instruction_zh", "backend", "checks", "evidence")}
    captions = {name: pair[f"caption_{name}_en"] for name in ("source", "target")}
    return {**told, "captions": captions, "source": source, "target": target, "outline": outline}


def _thumbnail(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    return data_uri(np.asarray(image))
