"""Lines are read whichever way they run, and long ones whole."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from benchmarks.poster_sheet import Sheet, cjk, latin
from captioning.ocr import Reader
from captioning.recognition import is_column, split_long


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


ENGLISH = ["Harbour Concert", "Friday evening at eight", "Doors open at seven"]
CHINESE = ["海港音乐会今晚开演", "三月十二日晚上七点", "免费入场欢迎光临"]


def page(lines: list[str]) -> Sheet:
    sheet = Sheet(Image.new("RGB", (620, 420), "#f5ecd7"), (28, 42, 58))
    region = sheet.region("text", "en")
    for number, line in enumerate(lines):
        sheet.line(region, line, (40, 50 + 100 * number), cjk(500, 40), sheet.ink)
    return sheet


@pytest.mark.parametrize("degrees", [0, 15, -15, 90, 180, 270])
@pytest.mark.parametrize("lines", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_a_page_turned_any_way_is_read_in_its_own_order(reader: Reader, lines: list[str], degrees: int) -> None:
    sheet = page(lines)
    sheet.turn(degrees)
    assert [line["text"] for line in reader.read(np.asarray(sheet.image))] == lines


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_polygons_begin_at_the_texts_own_top_left(reader: Reader, degrees: int) -> None:
    sheet = page(ENGLISH)
    sheet.turn(degrees)
    for line, corners in zip(reader.read(np.asarray(sheet.image)), sheet.regions[0].corners, strict=True):
        assert np.allclose(np.reshape(line["polygon"], (4, 2)), corners, atol=20)  # boxes are loose by about half a letter


def test_one_line_on_its_head_among_others_is_read(reader: Reader) -> None:
    sheet = page(ENGLISH[:2])
    sheet.turned(sheet.region("rotated", "en"), "Upside down banner", (310, 330), latin("DejaVuSans.ttf", 36), 180)
    assert {line["text"] for line in reader.read(np.asarray(sheet.image))} == {*ENGLISH[:2], "Upside down banner"}


@pytest.mark.parametrize(("face", "degrees"), [("DejaVuSerif.ttf", 270), ("DejaVuSerif-Bold.ttf", 90)])
def test_a_line_along_an_edge_is_found_though_the_detector_is_less_sure_of_it(reader: Reader, face: str, degrees: int) -> None:
    sheet = Sheet(Image.new("RGB", (200, 480), "#f5ecd7"), (28, 42, 58))
    sheet.turned(sheet.region("sideways", "en"), "Saturday copper 1916", (150, 240), latin(face, 30), degrees)
    assert [line["text"] for line in reader.read(np.asarray(sheet.image))] == ["Saturday copper 1916"]


def test_long_lines_are_cut_at_spaces() -> None:
    words = ["harbour", "museum", "railway", "theatre"] * 12
    font = latin("DejaVuSans.ttf", 30)
    image = Image.new("RGB", (round(font.getlength(" ".join(words))) + 10, 40), "white")
    ImageDraw.Draw(image).text((5, 2), " ".join(words), fill="black", font=font)
    crop = np.asarray(image)
    parts = split_long(crop)
    assert len(parts) > 1 and np.array_equal(np.concatenate([part for part, _ in parts], axis=1), crop)
    assert [space for _, space in parts] == [False] + [True] * (len(parts) - 1)
    for part, _ in parts[:-1]:
        assert part[:, -1].min() > 200  # the cut lies in the paper


def test_columns_are_told_from_sideways_lines_by_their_script() -> None:
    assert is_column("床前明月光") and is_column("7") and is_column("第3章")
    assert not is_column("Harbour") and not is_column("19:30 Uhr")


def test_level_lines_among_sideways_ones_are_no_error(reader: Reader) -> None:
    sheet = page(ENGLISH[:2])
    sheet.turned(sheet.region("sideways", "en"), "Harbour stage", (580, 220), latin("DejaVuSans.ttf", 28), 90)
    sheet.column(sheet.region("vertical", "zh"), "海港音乐会", (480, 200), cjk(500, 34), 1.1)
    assert {line["text"] for line in reader.read(np.asarray(sheet.image))} == {*ENGLISH[:2], "Harbour stage", "海港音乐会"}
