"""Reading rendered text: what was drawn is what is read."""

import hashlib
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from captioning.language import language
from captioning.lines import _continues, _outline, _touches, join_pieces
from captioning.ocr import Reader
from captioning.ocr_models import characters, models_at, packaged_models
from curation.errors import ModelError
from curation.pixels import path_to_uri
from curation.schema import IMAGES, OCR, conform


def font(size_px: int) -> ImageFont.FreeTypeFont:
    path = files("manimgx_fonts_cjk") / "NotoSansCJK-VF.otf.ttc"
    loaded = ImageFont.truetype(str(path), size_px, index=2)
    loaded.set_variation_by_axes([400])
    return loaded


def poster(lines: list[tuple[str, tuple[int, int], int]], size: tuple[int, int] = (700, 500)) -> Image.Image:
    """Return a picture with each text at its place in its size, px."""
    image = Image.new("RGB", size, "#f5ecd7")
    draw = ImageDraw.Draw(image)
    for text, place, size_px in lines:
        draw.text(place, text, font=font(size_px), fill="#1c2a3a")
    return image


def table(paths: list[Path], **changes: list[object]) -> pa.Table:
    """Return IMAGES of image files."""
    rows = []
    for path in paths:
        encoded = path.read_bytes()
        with Image.open(path) as image:
            width, height, name = image.width, image.height, str(image.format).lower()
        row = {field.name: None for field in IMAGES}
        row |= {"id": hashlib.sha256(encoded).hexdigest()[:32], "uri": path_to_uri(str(path)), "container": "file"}
        row |= {"key": path.name, "group": "test", "format": name, "width": width, "height": height}
        rows.append(row | {"offset": 0, "length": len(encoded)})
    for name, values in changes.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return conform(pa.Table.from_pylist(rows, schema=IMAGES), IMAGES)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def texts(reader: Reader, image: Image.Image) -> list[str]:
    return [line["text"] for line in reader.read(np.asarray(image))]


ENGLISH = [("Harbour Concert", (40, 40), 64), ("Friday 12 March, 19:30", (40, 180), 36), ("Doors open at seven", (40, 280), 36)]
CHINESE = [("海港音乐会", (40, 40), 64), ("三月十二日晚上七点", (40, 180), 36), ("免费入场，欢迎光临", (40, 280), 36)]


@pytest.mark.parametrize("lines", [ENGLISH, CHINESE, [*ENGLISH[:1], *CHINESE[1:]]], ids=["en", "zh", "mixed"])
def test_posters_are_read_exactly_and_in_order(reader: Reader, lines: list[tuple[str, tuple[int, int], int]]) -> None:
    assert texts(reader, poster(lines)) == [text for text, _, _ in lines]


def test_vertical_chinese_is_read_from_right_to_left(reader: Reader) -> None:
    poem = ["床前明月光", "疑是地上霜", "举头望明月", "低头思故乡"]
    letters = [(poem[c][r], (520 - 110 * c, 60 + 76 * r), 60) for c in range(4) for r in range(5)]
    assert texts(reader, poster(letters, (680, 480))) == poem


def test_words_of_one_line_are_read_together(reader: Reader) -> None:
    assert texts(reader, poster([("Old", (60, 100), 90), ("Harbour", (245, 100), 90)])) == ["Old Harbour"]


def test_each_line_has_its_language_and_confidence(reader: Reader) -> None:
    lines = reader.read(np.asarray(poster([ENGLISH[0], CHINESE[1]])))
    assert [line["language"] for line in lines] == ["en", "zh"]
    assert all(0.9 < line["confidence"] <= 1.0 for line in lines)


def test_polygons_are_pixels_of_the_full_size_image(reader: Reader, tmp_path: Path) -> None:
    image = poster([("Harbour Concert", (400, 200), 180)], (2400, 1600))
    drawn = ImageDraw.Draw(image).textbbox((400, 200), "Harbour Concert", font=font(180))
    image.save(tmp_path / "large.png")
    (line,) = reader(images=table([tmp_path / "large.png"]))["lines"][0].as_py()
    xs, ys = line["polygon"][::2], line["polygon"][1::2]
    assert line["text"] == "Harbour Concert"
    # The detector's boxes are loose by about a third of a letter.
    assert np.allclose([min(xs), min(ys), max(xs), max(ys)], drawn, atol=60)


def test_a_photograph_without_text_has_no_lines(reader: Reader) -> None:
    from skimage import data

    assert reader.read(data.chelsea()) == []


def test_small_images_are_skipped_and_failed_ones_keep_their_row(reader: Reader, tmp_path: Path) -> None:
    poster(ENGLISH[:1]).save(tmp_path / "poster.jpg", quality=90)
    poster(ENGLISH[:1]).resize((64, 48)).save(tmp_path / "small.png")
    paths = [tmp_path / "poster.jpg", tmp_path / "small.png", tmp_path / "poster.jpg"]
    found = reader(images=table(paths, error=[None, None, "corrupt"]))
    assert found.schema.equals(OCR)
    assert [None if lines is None else len(lines) for lines in found["lines"].to_pylist()] == [1, 0, None]
    assert found["error"].to_pylist() == [None, None, "corrupt"]


def test_a_file_that_broke_since_ingest_is_an_error_of_its_row(reader: Reader, tmp_path: Path) -> None:
    poster(ENGLISH[:1]).save(tmp_path / "poster.jpg")
    images = table([tmp_path / "poster.jpg"])
    (tmp_path / "poster.jpg").write_bytes(b"\xff\xd8 no more")
    found = reader(images=images)
    assert found["lines"].to_pylist() == [None] and found["error"].to_pylist() != [None]


def test_a_part_without_images_reads_nothing(reader: Reader) -> None:
    assert reader(images=IMAGES.empty_table()).equals(OCR.empty_table())


def test_the_precheck_finds_the_small_print(reader: Reader) -> None:
    image = poster([("Terms and conditions apply", (300, 600), 16)], (960, 720))
    assert texts(reader, image) == ["Terms and conditions apply"]


def test_joining_keeps_columns_apart() -> None:
    boxes = [(0, 0, 100, 30), (110, 2, 90, 28), (300, 0, 100, 30), (0, 40, 100, 30)]
    corners = [np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], dtype=float) for x, y, w, h in boxes]
    lines = {tuple(np.round([*line.min(axis=0), *line.max(axis=0)])) for line in join_pieces(corners)}
    assert lines == {(0, 0, 200, 30), (300, 0, 400, 30), (0, 40, 100, 70)}


def test_a_thousand_pieces_are_joined_in_moments() -> None:
    places = [(300 * (number % 10), 30 * (number // 10)) for number in range(1000)]
    pieces = [np.array([(x, y), (x + 250, y), (x + 250, y + 20), (x, y + 20)], float) for x, y in places]
    started = time.process_time()
    assert len(join_pieces(pieces)) == 1000
    assert time.process_time() - started < 5  # .2 here, 31 when every piece is compared with every line


@given(st.integers(0, 2**32 - 1))
def test_what_continues_a_line_is_looked_at(seed: int) -> None:
    generator = np.random.default_rng(seed)
    angle, height = generator.uniform(-0.7, 0.7), generator.uniform(8, 40)
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    box = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    line = box * (generator.uniform(2, 9) * height, height) @ axes
    gap, drop = generator.uniform(-0.7, 0.7) * height, generator.uniform(-0.4, 0.4) * height
    size = (generator.uniform(0.7, 9) * height, generator.uniform(0.7, 1.4) * height)
    piece = (box * size + (np.linalg.norm(line[1] - line[0]) + gap, drop)) @ axes
    assert not _continues(line, piece) or _touches(_outline(line)[None], piece)[0]


def test_processes_that_prepare_the_models_at_once_get_the_same_folder(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3) as pool:
        folders = {str(models.detection) for models in pool.map(packaged_models, [tmp_path] * 3)}
    assert len(folders) == 1
    assert [path.name[:8] for path in tmp_path.iterdir()] == ["ppocrv5-"]


def test_missing_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"inference\.yml does not exist"):
        models_at(tmp_path)
    shutil.copytree(packaged_models().detection, tmp_path / "det")
    with pytest.raises(ModelError, match="rec"):
        models_at(tmp_path)


def test_the_blank_and_the_space_are_no_characters_of_the_model() -> None:
    assert characters("blank\nA\n \u3000\n~\n \n") == ["A", " \u3000", "~"]
    with pytest.raises(ModelError, match="blank"):
        characters("A\nB\n \n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OPEN 24 HOURS", "en"),
        ("Sale", "en"),
        ("新店开业", "zh"),
        ("カフェ本日開店", "ja"),
        ("오늘의 특가", "ko"),
        ("Открыто каждый день", "ru"),
        ("Willkommen in unserem schönen Haus am See", "de"),
        ("Le petit déjeuner est servi de sept heures à dix heures", "fr"),
        ("Café", "und"),
        ("19:30", "und"),
        ("", "und"),
        ("ＳＡＬＥ", "en"),
    ],
)
def test_language_by_script_then_by_statistics(text: str, expected: str) -> None:
    assert language(text) == expected
