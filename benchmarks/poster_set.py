"""Posters with known text: one to eight regions laid out so that their order of reading is beyond dispute.

Layouts: a stack of lines and paragraphs, columns under a headline, vertical Chinese from right to left, cards, a menu with
prices, a stack with a slanted badge, a stack with a line along its edge, a page slanted or turned as a whole. Grounds are
plain, shaded, grainy or a photograph under a veil. Nothing here is known to the reader; the seeds that results are reported
for were not looked at while it was built.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFont

from benchmarks.poster_sheet import LATIN, Colour, Sheet, cjk, latin
from benchmarks.poster_words import chinese, english, mixed

Generator = np.random.Generator
SIZES_PX = ((600, 800), (800, 600), (720, 720), (900, 1200), (1200, 900), (1024, 1024), (640, 960))


def poster(seed: int, number: int) -> tuple[str, Sheet]:
    """Return the layout's name and the finished sheet; the same for the same seed and number."""
    generator = np.random.default_rng([seed, number])
    name = list(LAYOUTS)[number % len(LAYOUTS)]
    sheet = ground(generator, SIZES_PX[generator.integers(len(SIZES_PX))])
    LAYOUTS[name](sheet, generator)
    return name, sheet


def ground(generator: Generator, size: tuple[int, int]) -> Sheet:
    """Return an empty sheet of dark ink on light paper or the other way round."""
    hue = generator.integers(0, 256, 3)
    light = generator.random() < 0.6
    paper = np.asarray(255 - hue * 0.15 if light else hue * 0.25)
    ink: Colour = tuple(int(value) for value in (generator.integers(0, 80, 3) if light else generator.integers(200, 256, 3)))  # type: ignore[assignment]
    pixels = np.broadcast_to(paper, (size[1], size[0], 3)).astype(np.float64)
    kind = generator.integers(4)
    if kind == 1:
        pixels = pixels + np.linspace(-18, 18, size[1])[:, None, None]
    elif kind == 2:
        pixels = pixels + generator.normal(0, 6, (size[1], size[0], 1))
    elif kind == 3:
        pixels = 0.82 * pixels + 0.18 * _photo(generator, size)
    return Sheet(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), ink)


def _photo(generator: Generator, size: tuple[int, int]) -> np.ndarray:
    from skimage import data

    picture = (data.astronaut, data.coffee, data.chelsea, data.rocket)[generator.integers(4)]()
    return np.asarray(Image.fromarray(picture).resize(size), np.float64)


def font_for(language: str, size_px: float, generator: Generator) -> ImageFont.FreeTypeFont:
    """Return a font of the language's script."""
    if language == "en" and generator.random() < 0.8:
        return latin(str(generator.choice(LATIN)), round(size_px))
    return cjk(int(generator.choice([350, 400, 500, 700, 900])), round(size_px))


def words(language: str, generator: Generator, room: float) -> str:
    """Return a text of `language` about `room` em wide."""
    if language == "mixed":
        return mixed(generator)
    if language == "zh":
        return chinese(generator, int(np.clip(generator.integers(3, 15), 2, max(2, room * 0.95))))
    return english(generator, int(np.clip(generator.integers(1, 7), 1, max(1, room / 5))))


def fitting(text: str, language: str, size_px: float, width_px: float, generator: Generator) -> ImageFont.FreeTypeFont:
    """Return a font for `text`, smaller than `size_px` where it would be wider than `width_px`."""
    font = font_for(language, size_px, generator)
    if (length := font.getlength(text)) <= width_px:
        return font
    return (
        font.font_variant(size=max(12, int(font.size * width_px / length)))
        if font.path and "CJK" not in str(font.path)
        else cjk(500, max(12, int(font.size * width_px / length) - 1))
    )


def choose(generator: Generator) -> str:
    """Return a language: English, Chinese or, less often, both in one line."""
    return str(generator.choice(["en", "zh", "mixed"], p=[0.45, 0.4, 0.15]))


def faint(sheet: Sheet) -> Colour:
    """Return an ink with little contrast: 30 % of the way from paper to ink."""
    paper = np.asarray(sheet.image.resize((1, 1)).getpixel((0, 0)), np.float64)
    return tuple(int(value) for value in paper + 0.3 * (np.asarray(sheet.ink) - paper))  # type: ignore[return-value]


def paragraph(
    sheet: Sheet,
    generator: Generator,
    *,
    kind: str,
    box: tuple[float, float, float],
    size_px: float,
    num_lines: int,
    centred: bool = False,
) -> float:
    """Draw one region of level lines from left, top and width on; returns where it ends, px."""
    left, y, width = box
    language = (
        "mixed"
        if kind == "mixed"
        else choose(generator)
        if kind in ("headline", "faint")
        else str(generator.choice(["en", "zh"]))
    )
    region = sheet.region(kind, language)
    style = int(generator.integers(2**31))
    for _ in range(num_lines):
        text = words(language, generator, width / size_px)
        font = fitting(text, language, size_px, width, np.random.default_rng(style))  # one face per region
        x = left + (width - font.getlength(text)) / 2 if centred else left
        sheet.line(region, text, (x, y), font, faint(sheet) if kind == "faint" else sheet.ink)
        y += size_px * 1.45
    return y


def stack(sheet: Sheet, generator: Generator, *, bottom: float = 0.95, right: float = 0.92, count: int | None = None) -> float:
    """One to seven regions below each other; returns where the last ends, px."""
    width, height = sheet.image.size
    unit, y = min(width, height), height * 0.06
    centred = generator.random() < 0.5
    for number in range(count or int(generator.integers(1, 8))):
        kind = "headline" if number == 0 else str(generator.choice(["text", "text", "faint", "mixed"]))
        size_px = unit * generator.uniform(0.07, 0.11) if number == 0 else unit * generator.uniform(0.028, 0.05)
        num_lines = 1 if kind in ("headline", "mixed") else int(generator.integers(1, 4))
        if y + num_lines * size_px * 1.45 > height * bottom:
            break
        y = paragraph(
            sheet,
            generator,
            kind=kind,
            box=(width * 0.08, y, width * (right - 0.08)),
            size_px=size_px,
            num_lines=num_lines,
            centred=centred,
        )
        y += size_px * generator.uniform(0.6, 1.2)
    return y


def columns(sheet: Sheet, generator: Generator) -> None:
    """A headline, two or three columns of a paragraph or two each, and at times a foot."""
    width, height = sheet.image.size
    unit = min(width, height)
    y = paragraph(
        sheet, generator, kind="headline", box=(width * 0.07, height * 0.06, width * 0.86), size_px=unit * 0.075, num_lines=1
    )
    number = int(generator.integers(2, 4))
    pitch = width * 0.88 / number
    size_px, ends = unit * generator.uniform(0.026, 0.034), []
    for column in range(number):
        top = y + unit * 0.05
        for _ in range(int(generator.integers(1, 3))):
            box = (width * 0.07 + column * pitch, top, pitch - 2.2 * size_px)
            top = (
                paragraph(sheet, generator, kind="column", box=box, size_px=size_px, num_lines=int(generator.integers(3, 6)))
                + size_px * 0.9
            )
        ends.append(top)
    if generator.random() < 0.6 and (foot := max(ends) + size_px * 2.0) < height * 0.9:
        paragraph(sheet, generator, kind="text", box=(width * 0.07, foot, width * 0.86), size_px=size_px, num_lines=1)


def vertical(sheet: Sheet, generator: Generator) -> None:
    """At times a level title, then columns from right to left: often one large and several small; at times a foot."""
    width, height = sheet.image.size
    unit, top, foot = min(width, height), height * 0.08, generator.random() < 0.5
    if generator.random() < 0.5:
        top = (
            paragraph(sheet, generator, kind="headline", box=(width * 0.08, top, width * 0.84), size_px=unit * 0.07, num_lines=1)
            + unit * 0.06
        )
    room = height * (0.8 if foot else 0.92) - top
    x = width * generator.uniform(0.75, 0.9)
    if generator.random() < 0.6:
        size_px = unit * generator.uniform(0.075, 0.1)
        _columns(sheet, generator, x=x, top=top, size_px=size_px, count=1, room=room)
        x -= size_px * 2.0
    size_px = unit * generator.uniform(0.035, 0.055)
    _columns(sheet, generator, x=x, top=top, size_px=size_px, count=int(generator.integers(2, 7)), room=room)
    if foot:
        paragraph(
            sheet, generator, kind="text", box=(width * 0.08, height * 0.9, width * 0.84), size_px=unit * 0.035, num_lines=1
        )


def _columns(sheet: Sheet, generator: Generator, *, x: float, top: float, size_px: float, count: int, room: float) -> None:
    region = sheet.region("vertical", "zh")
    font, pitch = cjk(int(generator.choice([400, 500, 700])), round(size_px)), generator.uniform(1.05, 1.3)
    most = max(3, int(room / (font.size * pitch)))
    length = int(generator.integers(3, min(most, 12) + 1))
    for column in range(count):
        shorter = length if column < count - 1 else max(2, length - int(generator.integers(0, 3)))
        sheet.column(region, chinese(generator, shorter), (x, top), font, pitch)
        x -= font.size * 1.7
        if x < sheet.image.width * 0.1:
            break


def cards(sheet: Sheet, generator: Generator) -> None:
    """Two by two cards of a title and small text, read row by row."""
    width, height = sheet.image.size
    unit = min(width, height)
    size_px = unit * 0.034
    for row in range(2):
        for column in range(2):
            box = (width * (0.07 + 0.48 * column), height * (0.08 + 0.48 * row), width * 0.36)
            y = paragraph(sheet, generator, kind="headline", box=box, size_px=size_px * 1.7, num_lines=1)
            paragraph(
                sheet,
                generator,
                kind="text",
                box=(box[0], y + size_px * 0.3, box[2]),
                size_px=size_px,
                num_lines=int(generator.integers(1, 4)),
            )


def menu(sheet: Sheet, generator: Generator) -> None:
    """A headline over dishes with prices at the right; a dish and its price are read together."""
    width, height = sheet.image.size
    unit = min(width, height)
    y = paragraph(
        sheet,
        generator,
        kind="headline",
        box=(width * 0.1, height * 0.06, width * 0.8),
        size_px=unit * 0.08,
        num_lines=1,
        centred=True,
    )
    size_px, language, style = unit * 0.038, str(generator.choice(["en", "zh"])), int(generator.integers(2**31))
    y += size_px * 1.2
    for _ in range(int(generator.integers(3, 8))):
        region = sheet.region("text", language)
        text = words(language, generator, width * 0.45 / size_px)
        font = fitting(text, language, size_px, width * 0.5, np.random.default_rng(style))
        sheet.line(region, text, (width * 0.1, y), font, sheet.ink)
        sheet.line(region, f"${generator.integers(3, 99)}.{generator.integers(10, 99)}", (width * 0.78, y), font, sheet.ink)
        y += size_px * 1.9


def badge(sheet: Sheet, generator: Generator) -> None:
    """A stack in the upper part, and below it one line turned by up to 15 degrees."""
    width, height = sheet.image.size
    stack(sheet, generator, bottom=0.62, count=int(generator.integers(1, 4)))
    language = str(generator.choice(["en", "zh"]))
    region = sheet.region("rotated", language)
    size_px = min(width, height) * generator.uniform(0.05, 0.07)
    text = words(language, generator, width * 0.5 / size_px)
    font = fitting(text, language, size_px, width * 0.6, generator)
    degrees = float(generator.choice([-15, -12, -8, 8, 12, 15]))
    sheet.turned(region, text, (width / 2, height * 0.8), font, degrees)


def edge(sheet: Sheet, generator: Generator) -> None:
    """A stack, and along its right edge one English line turned by a quarter, read last."""
    width, height = sheet.image.size
    stack(sheet, generator, right=0.8, count=int(generator.integers(1, 5)))
    region = sheet.region("sideways", "en")
    text = english(generator, int(generator.integers(2, 5)))
    font = fitting(text, "en", min(width, height) * 0.045, height * 0.7, generator)
    sheet.turned(region, text, (width * 0.93, height / 2), font, float(generator.choice([90, 270])))


def slanted(sheet: Sheet, generator: Generator) -> None:
    """A page of stack or columns, slanted as a whole by 4 to 15 degrees."""
    (columns if generator.random() < 0.4 else stack)(sheet, generator)  # type: ignore[operator]
    sheet.turn(float(generator.choice([-1, 1])) * generator.uniform(4, 15))


def turned(sheet: Sheet, generator: Generator) -> None:
    """A page of stack or columns, turned as a whole by one, two or three quarters."""
    (columns if generator.random() < 0.4 else stack)(sheet, generator)  # type: ignore[operator]
    sheet.turn(float(generator.choice([90, 180, 270])))


LAYOUTS: dict[str, Callable[[Sheet, Generator], object]] = {
    "stack": stack,
    "columns": columns,
    "vertical": vertical,
    "cards": cards,
    "menu": menu,
    "badge": badge,
    "edge": edge,
    "slanted": slanted,
    "turned": turned,
}
