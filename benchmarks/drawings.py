"""Are drawings that differ in one colour, one part or in where they point told apart, and their copies found?

    python -m benchmarks.drawings      # two CPU minutes; writes benchmarks/results/drawings.{json,md}

Every family holds different pictures of one make: dice, go boards, clocks, gauges, scatter plots, labels, signs, sudokus. Each
is altered in ways that leave it the same picture. All pairs inside a family are compared by the second look with default
settings, and by perceptual hashes in eight orientations (PDQ, 31 bits) as a yardstick. The families were written after the
thresholds; one rule, that for symmetric drawings, was written after clocks had been merged.
"""

import json
import os
import tempfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from benchmarks.about import about, heading
from curation import schema
from curation.metrics import profile
from graph.hashes import distances, unpack
from graph.keypoints import describe
from graph.verify import verify
from jobs.demo_text import latin_font

RESULTS = Path(__file__).parent / "results"
COLOURS = ((200, 40, 40), (40, 140, 60), (40, 80, 190))
FACTOR = 3
"""Pictures are drawn so many times larger and shrunk, so that edges are smooth."""


def canvas(width: int = 300, height: int = 300, ground: str = "white") -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return a large empty picture and its pen."""
    large = Image.new("RGB", (width * FACTOR, height * FACTOR), ground)
    return large, ImageDraw.Draw(large)


def finished(large: Image.Image) -> Image.Image:
    """Return the picture at its size."""
    return large.resize((large.width // FACTOR, large.height // FACTOR), Image.Resampling.LANCZOS)


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: str | tuple[int, int, int]) -> None:
    """Draw a disc; all in px of the finished picture."""
    draw.ellipse([FACTOR * v for v in (x - radius, y - radius, x + radius, y + radius)], fill=fill)


def dice() -> list[Image.Image]:
    """Return faces of 4, 5 and 6 pips in two colours."""
    spots = {4: [(0, 0), (2, 0), (0, 2), (2, 2)], 5: [(0, 0), (2, 0), (0, 2), (2, 2), (1, 1)]}
    spots[6] = [*spots[4], (0, 1), (2, 1)]
    made = []
    for colour in COLOURS[:2]:
        for pips in spots.values():
            large, draw = canvas(ground="#e8e4d8")
            draw.rounded_rectangle([FACTOR * v for v in (30, 30, 270, 270)], FACTOR * 30, fill=colour)
            for x, y in pips:
                disc(draw, 90 + 60 * x, 90 + 60 * y, 20, "white")
            made.append(finished(large))
    return made


def go_boards() -> list[Image.Image]:
    """Return a position, and it with a stone less, a stone of the other colour, and a stone elsewhere."""
    crossings = [(int(n) % 9, int(n) // 9) for n in np.random.default_rng(11).permutation(81)[:25]]
    made = []
    for variant in range(4):
        large, draw = canvas(360, 360, "#dcb35c")
        for n in range(9):
            for line in ((20 + 40 * n, 20, 20 + 40 * n, 340), (20, 20 + 40 * n, 340, 20 + 40 * n)):
                draw.line([FACTOR * v for v in line], fill="black", width=FACTOR)
        for n, (x, y) in enumerate(crossings[:24]):
            place = crossings[24] if variant == 3 and n == 7 else (x, y)
            if not (variant == 1 and n == 7):
                disc(draw, 20 + 40 * place[0], 20 + 40 * place[1], 18, ("black", "white")[(n + (variant == 2 and n == 7)) % 2])
        made.append(finished(large))
    return made


def clocks() -> list[Image.Image]:
    """Return one dial at six times."""
    made = []
    for hour, minute in ((3, 0), (9, 0), (3, 30), (10, 10), (1, 50), (6, 15)):
        large, draw = canvas()
        disc(draw, 150, 150, 140, "#204060")
        disc(draw, 150, 150, 128, "#f4f4ec")
        for n in range(12):
            disc(draw, 150 + 112 * np.sin(n * np.pi / 6), 150 - 112 * np.cos(n * np.pi / 6), 5, "#204060")
        for angle, length, width in ((hour / 12 + minute / 720, 60, 9), (minute / 60, 95, 6)):
            x, y = 150 + length * np.sin(2 * np.pi * angle), 150 - length * np.cos(2 * np.pi * angle)
            draw.line([FACTOR * v for v in (150, 150, x, y)], fill="#c03020", width=FACTOR * width)
        made.append(finished(large))
    return made


def gauges() -> list[Image.Image]:
    """Return bars filled to two shares in three colours."""
    made = []
    for colour in COLOURS:
        for share in (0.4, 0.75):
            large, draw = canvas(360, 120, "#202428")
            draw.rectangle([FACTOR * v for v in (20, 40, 340, 80)], fill="#50565c")
            draw.rectangle([FACTOR * v for v in (20, 40, 20 + 320 * share, 80)], fill=colour)
            made.append(finished(large))
    return made


def scatter_plots() -> list[Image.Image]:
    """Return one plot with its points in three colours, and with other points."""
    made = []
    for colour, seed in ((COLOURS[0], 1), (COLOURS[1], 1), (COLOURS[2], 1), (COLOURS[0], 2)):
        large, draw = canvas(480, 360)
        for n in range(6):
            draw.line([FACTOR * v for v in (50, 30 + 56 * n, 460, 30 + 56 * n)], fill="#cccccc", width=FACTOR)
            draw.text((FACTOR * 10, FACTOR * (24 + 56 * n)), str(50 - 10 * n), "#404040", latin_font(FACTOR * 14, bold=False))
        for x, y in np.random.default_rng(seed).uniform((60, 40), (450, 300), (40, 2)):
            disc(draw, x, y, 6, colour)
        made.append(finished(large))
    return made


def labels() -> list[Image.Image]:
    """Return one label in three colours, and with two other words."""
    made = []
    for colour, word in ((0, "Mint Tea"), (1, "Mint Tea"), (2, "Mint Tea"), (0, "Mate Tea"), (1, "Rose Tea")):
        large, draw = canvas(320, 400, "#f6efe0")
        draw.rectangle([FACTOR * v for v in (20, 20, 300, 110)], fill=COLOURS[colour])
        draw.text((FACTOR * 160, FACTOR * 200), word, COLOURS[colour], latin_font(FACTOR * 52), "mm")
        for n, line in enumerate(("25 bags", "grown in the hills", "best before 2027")):
            draw.text((FACTOR * 160, FACTOR * (270 + 36 * n)), line, "#404040", latin_font(FACTOR * 22, bold=False), "mm")
        made.append(finished(large))
    return made


def signs() -> list[Image.Image]:
    """Return a way to the right, up, to the left and down, in two colours."""
    made = []
    for colour in COLOURS[:2]:
        large, draw = canvas(ground="#f0f0f0")
        draw.rounded_rectangle([FACTOR * v for v in (20, 20, 280, 280)], FACTOR * 24, fill=colour)
        corners = [(70, 130), (160, 130), (160, 80), (240, 150), (160, 220), (160, 170), (70, 170)]
        draw.polygon([(FACTOR * x, FACTOR * y) for x, y in corners], fill="white")
        made += [finished(large).rotate(90 * n) for n in range(4)]
    return made


def sudokus() -> list[Image.Image]:
    """Return one grid with three fillings, two of which differ in one cell."""
    made = []
    for variant in range(3):
        generator = np.random.default_rng(3 + (variant == 2))
        large, draw = canvas(360, 360)
        for n in range(10):
            wide = FACTOR * (3 if n % 3 == 0 else 1)
            for line in ((4 + 39 * n, 4, 4 + 39 * n, 355), (4, 4 + 39 * n, 355, 4 + 39 * n)):
                draw.line([FACTOR * v for v in line], fill="black", width=wide)
        for n, cell in enumerate(generator.permutation(81)[:30]):
            digit = int(generator.integers(1, 10))
            shown = digit % 9 + 1 if variant == 1 and n == 4 else digit
            place = (FACTOR * (24 + 39 * (int(cell) % 9)), FACTOR * (24 + 39 * (int(cell) // 9)))
            draw.text(place, str(shown), "#1c3f95", latin_font(FACTOR * 24), "mm")
        made.append(finished(large))
    return made


FAMILIES: dict[str, Callable[[], list[Image.Image]]] = {
    "dice": dice, "go boards": go_boards, "clocks": clocks, "gauges": gauges, "scatter plots": scatter_plots, "labels": labels,
    "signs": signs, "sudokus": sudokus,
}  # fmt: skip
"""Name -> different pictures of one make."""

ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half as large": lambda p: p.resize((p.width // 2, p.height // 2), Image.Resampling.BICUBIC),
    "larger by a third": lambda p: p.resize((p.width * 4 // 3, p.height * 4 // 3), Image.Resampling.BICUBIC),
    "64 colours": lambda p: p.quantize(64).convert("RGB"),
    "cropped by a tenth": lambda p: p.crop((p.width // 20, p.height // 20, p.width * 19 // 20, p.height * 19 // 20)),
    "JPEG 50": lambda p: p,
    "JPEG 25": lambda p: p,
}
"""Name -> what leaves it the same picture; the last two by the encoder."""


def write_family(pictures: list[Image.Image], folder: Path) -> tuple[list[Path], list[tuple[int, str]]]:
    """Write the pictures and their copies; return the files, and for each which picture it is and how it was altered."""
    files: list[Path] = []
    made: list[tuple[int, str]] = []
    for place, picture in enumerate(pictures):
        for how, change in {"": lambda p: p, **ALTERED}.items():
            quality = int(how.split()[1]) if how.startswith("JPEG") else None
            path = folder / f"{len(files)}.{'jpg' if quality else 'png'}"
            change(picture).save(path, **({"quality": quality} if quality else {}))
            files.append(path)
            made.append((place, how))
    return files, made


def rows(files: list[Path]) -> pa.Table:
    """Return IMAGES of files on disk."""
    table = []
    for number, path in enumerate(files):
        with Image.open(path) as opened:
            size = {"width": opened.width, "height": opened.height, "format": (opened.format or "").lower()}
        where = {"uri": str(path), "container": "file", "offset": 0, "length": path.stat().st_size}
        table.append({"id": f"{number:032x}", "key": path.name, "group": "drawings", **where, **size})
    return pa.Table.from_pylist(table, schema=schema.IMAGES)


def measure(name: str) -> dict[str, object]:
    """Return of one family: pairs of different pictures and of copies, and how many each method joins."""
    pictures = FAMILIES[name]()
    with tempfile.TemporaryDirectory() as folder:
        files, made = write_family(pictures, Path(folder))
        images = rows(files)
        keypoints, metrics = describe(images=images), profile(images=images)
        pairs = np.array(list(combinations(range(len(files)), 2)))
        edges = {"row_a": pairs[:, 0], "row_b": pairs[:, 1], "similarity": np.full(len(pairs), 0.8, np.float32)}
        found = verify(pairs=schema.conform(pa.table(edges), schema.EDGES), keypoints=keypoints, metrics=metrics)
    ours = np.array(found["relation"].to_pylist()) == "copy"
    hashed = distances(unpack(metrics), pairs[:, 0], pairs[:, 1])[0] <= 31
    same = np.array([made[a][0] == made[b][0] for a, b in pairs])
    direct = same & np.array([made[a][1] == "" for a, _ in pairs])
    missed: dict[str, int] = {}
    for place in np.flatnonzero(direct & ~ours):
        how = made[pairs[place][1]][1]
        missed[how] = missed.get(how, 0) + 1
    return {
        "family": name, "pictures": len(pictures), "different": int((~same).sum()), "copies": int(direct.sum()),
        "merged": int((ours & ~same).sum()), "merged_by_hash": int((hashed & ~same).sum()),
        "found": int((ours & direct).sum()), "found_by_hash": int((hashed & direct).sum()), "missed": missed,
    }  # fmt: skip


def page(facts: dict[str, object], measured: list[dict[str, object]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Drawings that differ in a colour, a part or in where they point", "", heading(facts), "",
        "All pairs of different pictures, altered ones among them, and all pairs of a picture and its altered copy; "
        "benchmarks/drawings.py says what is drawn and altered. No threshold was set on them; "
        "the rule for symmetric drawings was written after clocks had been merged.", "",
        "| family | pictures | different pairs | merged | merged by PDQ | copies | found | found by PDQ | missed copies |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    columns = ("family", "pictures", "different", "merged", "merged_by_hash", "copies", "found", "found_by_hash")
    for row in measured:
        missed = row["missed"]
        assert isinstance(missed, dict)
        told = ", ".join(f"{how} {count}" for how, count in missed.items()) or "-"
        lines.append("| " + " | ".join(str(row[column]) for column in columns) + f" | {told} |")
    total = [sum(int(str(row[column])) for row in measured) for column in columns[1:]]
    return "\n".join([*lines, "| **all** | " + " | ".join(map(str, total)) + " | |", ""])


def main() -> None:
    load = round(os.getloadavg()[0], 1)
    measured = [measure(name) for name in FAMILIES]
    facts = about("python -m benchmarks.drawings", load=load, packages=("imageloom", "opencv-contrib-python", "pillow", "numpy"))
    (RESULTS / "drawings.json").write_text(json.dumps({"about": facts, "families": measured}, indent=1) + "\n")
    (RESULTS / "drawings.md").write_text(page(facts, measured))


if __name__ == "__main__":
    main()
