"""The raw pool of benchmarks/curation_pays.py: captioned pictures as a crawl brings them, with every fault noted down.

Pictures are drawn shapes (jobs/demo_shapes.py) in front of clouds, with the grain of a camera, in three folders, the sources: the
largest is mostly circles, the smallest mostly crosses. Every picture has clouds of its own: plain drawings of one outline are
copies of each other to anyone who, like the deduplication, looks past turns, mirrors and colours. Planted are near duplicates of
a few popular pictures, captions swapped among 30 % of all files, files that cannot be read, and pictures that are blurred, noisy
or without contrast. Labels are those of what was drawn.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.learning_sets import ALL_FACTS, ShapeFacts
from curation.alterations import Alteration, alter
from jobs.demo_shapes import SHAPE_TEMPLATES, SHAPES, draw_shape

SIDE_PX, GRAIN = 240, 12.0
"""Grain in grey levels: without any a drawing is as smooth as a blurred photograph, and rules against blur drop it."""
CLOUDS = 14.0
"""Standard deviation of the clouds in grey levels."""
QUALITY = 92
"""JPEG quality of what is drawn."""
SOURCES = {"crawl": 0.7, "archive": 0.24, "gallery": 0.06}
MIXES = {"crawl": (0.7, 0.2, 0.08, 0.02), "archive": (0.3, 0.35, 0.3, 0.05), "gallery": (0.1, 0.1, 0.2, 0.6)}
"""Shares of SHAPES by source."""
DRAWN_PER_POPULAR, COPIES = 87, 24
"""One in so many pictures is popular and has near duplicates, and how many each."""
SWAPPED = 0.3
SHARES = {"blurred": 0.06, "noisy": 0.04, "flat": 0.04, "corrupt": 0.04}
"""Low-quality and unreadable files, as shares of the drawn pictures."""
REPOSTS = (("jpeg", 30.0), ("resize", 0.5), ("brightness", 0.85), ("contrast", 0.8), ("crop", 0.9), ("noise", 6.0))
"""What was done to near duplicates: see curation/alterations.py."""
TRUTH = ("file", "shape", "colour", "position", "copy_of", "swapped", "quality", "caption")


@dataclass
class Planted:
    """One file of the pool: what it shows and what is wrong with it."""

    file: str
    facts: ShapeFacts
    copy_of: str = ""
    swapped: bool = False
    quality: str = "good"
    caption: str = ""


def write_pool(folder: Path, *, count: int, seed: int) -> list[Planted]:
    """Write `count` drawn pictures and what is planted among them to `folder` and truth.csv beside it; return the truth."""
    generator = np.random.default_rng([seed, 20])
    planted: list[Planted] = []
    popular = set(generator.permutation(count)[: count // DRAWN_PER_POPULAR].tolist())
    for index in range(count):
        source = str(generator.choice(list(SOURCES), p=list(SOURCES.values())))
        shape = SHAPES[int(generator.choice(len(SHAPES), p=MIXES[source]))]
        choices = [facts for facts in ALL_FACTS if facts.shape == shape]
        facts = choices[int(generator.integers(len(choices)))]
        pixels = _noisy(picture(facts, SIDE_PX, generator), GRAIN, generator)
        one = Planted(f"{source}/{index:05d}.jpg", facts)
        if index in popular:
            planted += _copies(folder, one, pixels, generator)
        else:
            one.quality = _quality(generator)
        _write(folder / one.file, _worsened(pixels, one.quality, generator), corrupt=one.quality == "corrupt")
        planted.append(one)
    _write_captions(folder, planted, generator)
    return planted


def picture(facts: ShapeFacts, side_px: int, generator: np.random.Generator) -> np.ndarray:
    """Return pixels uint8 (side_px, side_px, 3) of a shape in front of clouds, without grain."""
    drawn = np.array(draw_shape(facts.shape, facts.colour, facts.position, side_px=side_px, generator=generator))
    clouds = np.zeros((side_px, side_px), np.float32)
    for cells in (3, 6, 12, 24):  # an octave each, the coarser the stronger
        field = generator.standard_normal((cells, cells), dtype=np.float32)
        clouds += cv2.resize(field, (side_px, side_px), interpolation=cv2.INTER_CUBIC) * (3 / cells) ** 0.5
    clouds *= CLOUDS / clouds.std()
    return np.clip(drawn + clouds[..., None], 0, 255).astype(np.uint8)


def pictures(count: int, *, side_px: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return good pictures uint8 (count, side_px, side_px, 3) of all combinations in turn, and their labels (count, 3).

    They are drawn three times as large and shrunk, as the reader of the shards shrinks the pool's.
    """
    generator = np.random.default_rng([seed, 22])
    facts = [ALL_FACTS[i % len(ALL_FACTS)] for i in range(count)]
    large = (Image.fromarray(picture(one, 3 * side_px, generator)) for one in facts)
    shrunk = [np.array(image.resize((side_px, side_px), Image.Resampling.LANCZOS)) for image in large]
    return np.stack(shrunk), np.array([one.labels() for one in facts])


def read_truth(folder: Path) -> list[Planted]:
    """Return what `write_pool` planted in `folder`."""
    with folder.with_suffix(".csv").open(newline="") as file:
        return [
            Planted(row["file"], ShapeFacts(row["shape"], row["colour"], row["position"]), row["copy_of"], row["swapped"] == "1",
                    row["quality"], row["caption"])
            for row in csv.DictReader(file)
        ]  # fmt: skip


def _copies(folder: Path, original: Planted, pixels: np.ndarray, generator: np.random.Generator) -> list[Planted]:
    copies = []
    for number in range(COPIES):
        kind, strength = REPOSTS[number % len(REPOSTS)]
        copy = Planted(f"{Path(original.file).with_suffix('')}-{number:02d}.jpg", original.facts, copy_of=original.file)
        _write(folder / copy.file, alter(pixels, Alteration(kind, "light", strength), generator))
        copies.append(copy)
    return copies


def _quality(generator: np.random.Generator) -> str:
    names = ["good", *SHARES]
    return str(generator.choice(names, p=[1 - sum(SHARES.values()), *SHARES.values()]))


def _worsened(pixels: np.ndarray, quality: str, generator: np.random.Generator) -> np.ndarray:
    if quality == "blurred":
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), SIDE_PX / 12))
    if quality == "noisy":
        return _noisy(pixels, 70, generator)
    if quality == "flat":
        return (pixels * 0.04 + 60).astype(np.uint8)
    return pixels


def _noisy(pixels: np.ndarray, level: float, generator: np.random.Generator) -> np.ndarray:
    noise = level * generator.standard_normal(pixels.shape, dtype=np.float32)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _write(path: Path, pixels: np.ndarray, *, corrupt: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=QUALITY)
    if corrupt:  # cut off in the middle, as a broken download is
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _write_captions(folder: Path, planted: list[Planted], generator: np.random.Generator) -> None:
    """Caption every file, deal the captions of some among each other, and write captions and truth."""
    for one in planted:
        one.caption = one.facts.caption(int(generator.integers(len(SHAPE_TEMPLATES))))
    chosen = generator.permutation(len(planted))[: round(SWAPPED * len(planted))]
    captions = [planted[row].caption for row in chosen]
    for row, caption in zip(chosen, [*captions[1:], *captions[:1]], strict=True):
        planted[row].swapped, planted[row].caption = True, caption
    with folder.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(TRUTH)
        for one in planted:
            (folder / one.file).with_suffix(".txt").write_text(one.caption + "\n")
            facts = (one.facts.shape, one.facts.colour, one.facts.position)
            writer.writerow((one.file, *facts, one.copy_of, int(one.swapped), one.quality, one.caption))
