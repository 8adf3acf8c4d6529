"""Long strips: tiles cover them, seams neither lose nor double a line, and what was lettered is read."""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from benchmarks.poster_sheet import cjk, latin
from benchmarks.poster_words import ENGLISH
from captioning.ocr import Reader
from captioning.strips import sew, tiles
from curation.schema import IMAGES, conform

WORDS = sorted({word.lower() for word in ENGLISH if len(word) > 4})


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def strip(width: int, height: int, *, size_px: int, step: int, count: int) -> tuple[Image.Image, list[str]]:
    """Return a strip with `count` words along its long side, `step` px apart, each word once."""
    image = Image.new("RGB", (width, height), "#f4f1ea")
    draw = ImageDraw.Draw(image)
    font = latin("DejaVuSans.ttf", size_px)
    words = [word for word in WORDS if font.getlength(word) < (step if width > height else width) - 12][:count]
    for number, word in enumerate(words):
        at = (10 + step * number, (height - size_px) // 2) if width > height else (6, 10 + step * number)
        draw.text(at, word, fill="#20242c", font=font)
    return image, words


def images(path: Path, image: Image.Image) -> pa.Table:
    row: dict[str, object] = {field.name: None for field in IMAGES}
    encoded = path.read_bytes()
    row |= {
        "id": hashlib.sha256(encoded).hexdigest()[:32],
        "uri": str(path),
        "container": "file",
        "key": path.name,
        "group": "strips",
    }
    row |= {"format": "png", "width": image.width, "height": image.height, "offset": 0, "length": len(encoded)}
    return conform(pa.Table.from_pylist([row], schema=IMAGES), IMAGES)


@pytest.mark.parametrize(
    ("size", "size_px", "step", "count"),
    [((7600, 60), 28, 250, 30), ((12000, 200), 60, 520, 22), ((200, 6000), 30, 150, 39), ((60, 8000), 13, 200, 39)],
)
def test_every_word_of_a_strip_is_read_once_and_in_order(reader, tmp_path, size, size_px, step, count) -> None:
    image, words = strip(*size, size_px=size_px, step=step, count=count)
    image.save(tmp_path / "strip.png")
    lines = reader(images=images(tmp_path / "strip.png", image))["lines"][0].as_py()
    read = " ".join(line["text"] for line in lines).lower().split()
    missing = [word for word in words if word not in read]
    assert len(missing) <= 0.03 * len(words), missing
    assert len(read) <= len(words) + 1  # nothing twice
    assert [word for word in read if word in words] == [word for word in words if word in read]


def test_one_sentence_along_a_strip_is_one_line(reader: Reader) -> None:
    sentence = " ".join(WORDS[:40])
    font = latin("DejaVuSans.ttf", 40)
    image = Image.new("RGB", (round(font.getlength(sentence)) + 40, 80), "white")
    ImageDraw.Draw(image).text((20, 15), sentence, fill="black", font=font)
    lines = reader.read(np.asarray(image))
    read = " ".join(line["text"] for line in lines).split()
    assert len(set(read) & set(sentence.split())) >= 39 and len(read) <= 41
    assert len(lines) <= 3


def test_a_column_down_a_strip_is_read(reader: Reader) -> None:
    text = "春江潮水连海平海上明月共潮生滟滟随波千万里何处春江无月明江流宛转绕芳甸月照花林皆似霰空里流霜不觉飞汀上白沙看不见" * 1
    image = Image.new("RGB", (90, 40 + 54 * len(text)), "white")
    draw = ImageDraw.Draw(image)
    for number, character in enumerate(text):
        draw.text((22, 20 + 54 * number), character, fill="black", font=cjk(500, 46))
    read = "".join(line["text"] for line in reader.read(np.asarray(image)))
    assert sum(character in read for character in text) >= 0.95 * len(text)
    assert len(read) <= len(text) + 2


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 30_000), st.integers(64, 2000), st.floats(0.05, 0.45))
def test_tiles_cover_a_strip_and_overlap(length: int, tile_px: int, share: float) -> None:
    overlap_px = round(share * tile_px)
    cut = tiles(length, tile_px=tile_px, overlap_px=overlap_px)
    assert cut[0].start == 0 and cut[-1].stop == length
    assert all(tile.stop - tile.start <= tile_px for tile in cut)
    assert all(before.stop - after.start >= overlap_px for before, after in itertools.pairwise(cut))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(20, 3000), min_size=1, max_size=12), st.integers(40, 400))
def test_seams_neither_lose_nor_double_lines(lengths: list[int], gap: int) -> None:
    lines, x = [], 10
    for length in lengths:
        lines.append((x, x + length))
        x += length + gap
    cut = tiles(x + 10, tile_px=960, overlap_px=160)
    pieces = []
    for tile in cut:
        seen = [
            (max(low, tile.start), min(high, tile.stop)) for low, high in lines if high > tile.start + 2 and low < tile.stop - 2
        ]
        pieces.append([np.array([(low, 20), (high, 20), (high, 50), (low, 50)], float) for low, high in seen])
    found = sorted((round(corners[:, 0].min()), round(corners[:, 0].max())) for corners in sew(pieces, cut, axis=0))
    assert found == lines
