"""Reading order of synthetic layouts: the order is known because the layout was made from it."""

import itertools
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.reading_order import reading_order

Box = tuple[float, float, float, float]


def polygon(box: Box, degrees: float = 0.0) -> list[float]:
    """Return the corners of left, top, width, height, turned clockwise about (400, 400)."""
    left, top, width, height = box
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    turned = [(400 + (x - 400) * cosine - (y - 400) * sine, 400 + (x - 400) * sine + (y - 400) * cosine) for x, y in corners]
    return [value for corner in turned for value in corner]


def read(boxes: list[Box], degrees: float = 0.0) -> list[int]:
    """Return the order found when the boxes are handed over backwards, as positions in `boxes`."""
    shuffled = list(reversed(range(len(boxes))))
    return [shuffled[index] for index in reading_order([polygon(boxes[position], degrees) for position in shuffled])]


PARAGRAPH: list[Box] = [(50, 100 + 40 * row, 500 - 60 * (row == 4), 28) for row in range(5)]
HEADLINE_AND_TWO_COLUMNS: list[Box] = [
    (60, 20, 620, 60),
    *[(60.0, 120.0 + 40 * row, 280.0, 28.0) for row in range(6)],
    *[(400.0, 122.0 + 40 * row, 280.0 - 150 * (row == 5), 28.0) for row in range(6)],
    (60, 420, 620, 24),
]
MENU: list[Box] = [
    (200, 20, 300, 60),
    *itertools.chain.from_iterable(
        [(80.0, 120.0 + 60 * row, 180.0, 36.0), (560.0, 122.0 + 60 * row, 90.0, 36.0)] for row in range(5)
    ),
]
VERTICAL_COLUMNS: list[Box] = [(600 - 90 * column, 100 + 20 * (column == 2), 60, 400 - 60 * column) for column in range(4)]
TITLE_OVER_VERTICAL: list[Box] = [(150, 20, 400, 60), *VERTICAL_COLUMNS, (100, 560, 560, 30)]
CARDS: list[Box] = [
    *[(50.0, 100.0, 200.0, 30.0), (50.0, 136.0, 180.0, 30.0)],
    *[(400.0, 100.0, 200.0, 30.0), (400.0, 136.0, 190.0, 30.0)],
    *[(50.0, 400.0, 200.0, 30.0), (50.0, 436.0, 180.0, 30.0)],
    *[(400.0, 400.0, 200.0, 30.0), (400.0, 436.0, 190.0, 30.0)],
]
LAYOUTS = {
    "paragraph": PARAGRAPH,
    "headline and two columns": HEADLINE_AND_TWO_COLUMNS,
    "menu": MENU,
    "vertical columns": VERTICAL_COLUMNS,
    "title over vertical columns": TITLE_OVER_VERTICAL,
    "cards": CARDS,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_read_as_people_read_them(name: str) -> None:
    assert read(LAYOUTS[name]) == list(range(len(LAYOUTS[name])))


@pytest.mark.parametrize("degrees", [-20.0, -7.0, 5.0, 15.0, 30.0])
def test_a_slanted_page_is_read_like_a_level_one(degrees: float) -> None:
    assert read(HEADLINE_AND_TWO_COLUMNS, degrees) == list(range(len(HEADLINE_AND_TWO_COLUMNS)))


def test_a_page_turned_clockwise_is_read_from_its_own_top() -> None:
    assert read(PARAGRAPH, 90.0) == list(range(len(PARAGRAPH)))


def test_no_lines_have_no_order() -> None:
    assert reading_order([]) == []


def test_a_polygon_that_is_not_finite_comes_last() -> None:
    assert reading_order([[math.nan] * 8, polygon((0, 100, 90, 20)), polygon((0, 10, 90, 20))]) == [2, 1, 0]


sides = st.floats(0, 2000, allow_nan=False)
extents = st.floats(0, 600, allow_nan=False)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(sides, sides, extents, extents), max_size=25))
def test_every_line_is_read_exactly_once(boxes: list[Box]) -> None:
    assert sorted(reading_order([polygon(box) for box in boxes])) == list(range(len(boxes)))


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(LAYOUTS)), st.floats(0.2, 5.0), st.floats(-500, 500), st.randoms(use_true_random=False))
def test_order_ignores_scale_shift_and_the_order_of_detection(name, scale, shift, random) -> None:
    boxes = LAYOUTS[name]
    positions = list(range(len(boxes)))
    random.shuffle(positions)
    polygons = [[scale * value + shift for value in polygon(boxes[position])] for position in positions]
    assert [positions[index] for index in reading_order(polygons)] == list(range(len(boxes)))


def test_columns_of_unequal_breaks_under_a_wide_headline_are_read_one_by_one() -> None:
    boxes: list[Box] = [
        (40, 60, 520, 54),
        *[(42.0, 163.0 + 26 * row, 120.0, 20.0) for row in range(6)],
        *[(42.0, 365.0 + 28 * row, 150.0, 22.0) for row in range(3)],
        *[(326.0, 163.0 + 26 * row, 230.0, 20.0) for row in range(3)],
    ]
    assert read(boxes) == list(range(len(boxes)))


def test_a_price_belongs_to_its_dish_however_far_the_rows_are_apart() -> None:
    boxes: list[Box] = [(200, 20, 300, 60)]
    for row in range(4):
        boxes += [(80.0, 140.0 + 70 * row, 180.0, 22.0), (560.0, 140.0 + 70 * row, 90.0, 22.0)]
    texts = ["Menu", *[text for row in range(4) for text in (f"Noodle soup {'abcd'[row]}", f"${row + 4}.50")]]
    assert reading_order([polygon(box) for box in boxes], texts) == list(range(len(boxes)))


def test_columns_of_short_words_are_no_table() -> None:
    boxes: list[Box] = [(x, 100.0 + 40 * row, 100.0, 28.0) for x in (50.0, 250.0) for row in range(5)]
    texts = ["Fishing", "Bakery", "Harbour", "Museum", "Castle", "Sunset", "Winter", "Village", "Garden", "Candle"]
    assert reading_order([polygon(box) for box in boxes], texts) == list(range(10))


def test_arabic_columns_are_read_from_the_right() -> None:
    boxes: list[Box] = [(x, 100.0 + 40 * row, 300.0, 28.0) for x in (450.0, 50.0) for row in range(3)]
    assert reading_order([polygon(box) for box in boxes], ["مرحبا بالعالم"] * 6) == list(range(6))


def test_thousands_of_lines_are_ordered_in_seconds() -> None:
    boxes: list[Box] = [(300.0 * column, 30.0 * row, 250.0, 20.0) for column in range(8) for row in range(400)]
    started = time.process_time()
    assert read(boxes) == list(range(len(boxes)))
    assert time.process_time() - started < 10
