"""A small run to search: drawn pictures of one colour each, embedded by colour, with captions in two languages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from image_rows import image_rows, save

from curation.embedding import Embedder
from curation.schema import CAPTIONS, DUPLICATES, OCR, TAGS
from curation.selection import select
from curation.tables import Cost, Run

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 30),
    "blue": (30, 30, 220),
    "yellow": (230, 220, 20),
    "white": (245, 245, 245),
    "black": (12, 12, 12),
}
CHINESE = {"red": "红色", "green": "绿色", "blue": "蓝色", "yellow": "黄色", "white": "白色", "black": "黑色"}
PART_ROWS = 8


class ColourEncoder:
    """Both towers: how near a picture's mean colour is to each of COLOURS, and which of their names a text has."""

    dimension = len(COLOURS)
    text_dimension: int | None = len(COLOURS)
    side_px = 16

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        return np.asarray(pixels.reshape(-1, 3).mean(0), np.float32)

    def encode_images(self, batch: np.ndarray) -> np.ndarray:
        squared = ((batch[:, None, :] - np.array(list(COLOURS.values()))) ** 2).sum(2)
        return np.asarray(np.exp(-squared / 2 / 90**2) + 1e-3, np.float32)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.array([[float(name in text.split()) + 1e-3 for name in COLOURS] for text in texts], np.float32)


class BlindEncoder(ColourEncoder):
    """The same without a text tower."""

    text_dimension = None


def picture(colour: str, seed: int, *, spread: int = 16) -> np.ndarray:
    """Return (24, 24, 3) pixels of about one colour."""
    noise = np.random.default_rng(seed).integers(-spread, spread + 1, 3)
    pixels = np.empty((24, 24, 3), np.uint8)
    pixels[:] = np.clip(np.array(COLOURS[colour]) + noise, 0, 255)
    pixels[: 4 + seed % 8] = np.clip(pixels[0, 0].astype(int) + 5, 0, 255)
    return pixels


def write_run(
    root: Path,
    colours: Sequence[str],
    *,
    encoder: str = "ColourEncoder",
    copies: dict[int, int] | None = None,
    captions: bool = True,
    decided: bool = True,
    first_seed: int = 0,
) -> Run:
    """Write a run with one picture per entry of `colours`; copies: keeper row by row; captions: in English and Chinese."""
    source = root / "source"
    source.mkdir(parents=True)
    paths = [save(source, f"{row:03}-{colour}.png", picture(colour, first_seed + row)) for row, colour in enumerate(colours)]
    (source / "broken.png").write_bytes(b"")
    images = image_rows([*paths, source / "broken.png"])
    model = f"searchable:{encoder}"
    tables: dict[str, pa.Table] = {"images": images, "embeddings": Embedder(model=model, device="cpu")(images=images)}
    ids, errors = images["id"].to_pylist(), images["error"].to_pylist()
    keepers = [(copies or {}).get(row) for row in range(len(ids))]
    tables["duplicates"] = pa.Table.from_pylist(
        [
            {"id": id_, "group_size": 1}
            | ({} if row is None else {"keeper": ids[row], "keeper_row": row, "similarity": 0.99, "evidence": "{}"})
            for id_, row in zip(ids, keepers, strict=True)
        ],
        schema=DUPLICATES,
    )
    if captions:
        tables |= _words(ids, list(colours), errors)
    if decided:
        tables["selection"] = select(images=images, duplicates=tables["duplicates"], rules=[])
    run = Run(root / "run")
    for name, table in tables.items():
        write_table(run, name, table, parameters={"model": model} if name == "embeddings" else {})
    return run


def write_table(run: Run, name: str, table: pa.Table, *, parameters: dict[str, Any] | None = None) -> None:
    """Commit a table in parts of PART_ROWS."""
    for part, start in enumerate(range(0, max(1, table.num_rows), PART_ROWS)):
        run.commit_part(name, part, table.slice(start, PART_ROWS), fingerprint="f", cost=Cost(0, 0))
    run.finish(name, {"parameters": parameters or {}})


def _words(ids: list[str], colours: list[str], errors: list[str | None]) -> dict[str, pa.Table]:
    told = [*colours, None]
    captions = [
        []
        if colour is None
        else [
            {"language": language, "level": "short", "text": text, "backend": "facts", "evidence": [], "flags": []}
            for language, text in (("en", f"a {colour} square no {row}"), ("zh", f"一个{CHINESE[colour]}方块"))
        ]
        for row, colour in enumerate(told)
    ]
    tags = [[{"label": f"{colour} thing", "score": 0.9, "source": "t"}] if colour else [] for colour in told]
    lines = [
        [{"text": f"SALE {row}", "confidence": 0.9, "language": "en", "polygon": [0.0] * 8}] if colour == "yellow" else []
        for row, colour in enumerate(told)
    ]
    error = pa.array(errors, pa.string())
    return {
        "captions": pa.table(
            {
                "id": ids,
                "captions": pa.array(captions, CAPTIONS.field("captions").type),
                "usage": pa.nulls(len(captions), CAPTIONS.field("usage").type),
                "error": error,
            }
        ),
        "tags": pa.table({"id": ids, "tags": pa.array(tags, TAGS.field("tags").type), "error": error}),
        "ocr": pa.table({"id": ids, "lines": pa.array(lines, OCR.field("lines").type), "error": error}),
    }
