"""Pictures that look alike and are not copies: one layout with other content, one texture in other places, other stars.

Rendered families share fonts, colours and layout and differ in what they say: document pages, windows of one program, posters of
one series, charts with the same axes, star fields. Tiles are cut from large pictures, disjoint or overlapping a little.
"""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from jobs.demo_text import latin_font

Generator = np.random.Generator
Box = tuple[float, float, float, float]

SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "jem", "kil", "lor", "mun", "na", "pre", "qui", "ros", "sta", "ter", "ul", "ver")


def _words(generator: Generator, count: int) -> str:
    """Return `count` invented words of one to four syllables."""
    return " ".join("".join(generator.choice(SYLLABLES, int(generator.integers(1, 5)))) for _ in range(count))


def _paragraph(draw: ImageDraw.ImageDraw, box: Box, generator: Generator, size_px: float, ink: str) -> None:
    """Fill a box with ragged lines of words."""
    left, top, right, bottom = box
    font = latin_font(size_px, bold=False)
    y = top
    while y + size_px < bottom:
        line, limit = _words(generator, 14), (right - left) * generator.uniform(0.85, 1)
        while font.getlength(line) > limit:
            line = line.rsplit(" ", 1)[0]
        draw.text((left, y), line, ink, font)
        y += size_px * 1.4


def document_page(generator: Generator, family: int) -> Image.Image:
    """Return a page of text; the family sets columns and sizes."""
    page = Image.new("RGB", (620, 877), "white")
    draw, columns, size_px = ImageDraw.Draw(page), 1 + family % 2, 11 + 2 * (family % 3)
    draw.text((310, 40), "Annual Report" if family % 2 else "Proceedings", "#202020", latin_font(20), "mm")
    for column in range(columns):
        left, width = 50 + column * 520 / columns, 520 / columns - 14
        draw.text((left, 80), _words(generator, 2).title(), "#202020", latin_font(size_px + 3))
        _paragraph(draw, (left, 110, left + width, 820), generator, size_px, "#303030")
    draw.text((310, 850), str(int(generator.integers(1, 400))), "#202020", latin_font(12), "mm")
    return page


def window(generator: Generator, family: int) -> Image.Image:
    """Return a screenshot of one program: side bar, table of rows, buttons; only names and numbers differ."""
    back, bar = (("#ffffff", "#2b5797"), ("#1e1e1e", "#333333"), ("#f5f5f0", "#3c763d"))[family % 3]
    ink = "#d0d0d0" if family % 3 == 1 else "#202020"
    shot = Image.new("RGB", (960, 600), back)
    draw, font = ImageDraw.Draw(shot), latin_font(13, bold=False)
    draw.rectangle((0, 0, 960, 34), bar)
    draw.text((20, 9), "Inventory Manager", "white", latin_font(14))
    draw.rectangle((0, 34, 150, 600), "#808890")
    for n, label in enumerate(("Overview", "Orders", "Stock", "Customers", "Reports", "Settings")):
        draw.text((16, 60 + 36 * n), label, "white", font)
    for row in range(18):
        y = 60 + 28 * row
        draw.line((165, y + 22, 940, y + 22), "#90909080")
        for x, text in (
            (170, _words(generator, 2)),
            (480, str(generator.integers(1, 9999))),
            (640, f"{generator.uniform(1, 900):.2f}"),
        ):
            draw.text((x, y), text[:30], ink, font)
        if generator.random() < 0.3:
            draw.rectangle((860, y + 2, 930, y + 18), "#c03030" if generator.random() < 0.5 else "#309030")
    return shot


def poster(generator: Generator, family: int) -> Image.Image:
    """Return a poster of one series: same colours and ornaments, other event, place and date."""
    back, band, ink = (("#fdf6e3", "#cb4b16", "#073642"), ("#12355b", "#d72638", "#fff8e8"), ("#2d6a4f", "#95d5b2", "#ffffff"))[
        family % 3
    ]
    sheet = Image.new("RGB", (480, 640), back)
    draw = ImageDraw.Draw(sheet)
    draw.ellipse((120, 240, 360, 480), band)
    draw.rectangle((0, 540, 480, 640), band)
    lines = ((90, 34, 2), (150, 26, 2), (360, 30, 1), (580, 20, 3))
    for y, size_px, count in lines:
        text = _words(generator, count).title()
        fits = min(1.0, 440 / latin_font(size_px).getlength(text))
        draw.text((240, y), text, ink, latin_font(size_px * fits), "mm")
    draw.text(
        (240, 612),
        f"{generator.integers(1, 29)} / {generator.integers(1, 13)} / 20{generator.integers(10, 30)}",
        ink,
        latin_font(20),
        "mm",
    )
    return sheet


def chart(generator: Generator, family: int) -> Image.Image:
    """Return a chart with the axes of its family and values of its own."""
    plot = Image.new("RGB", (640, 420), "white")
    draw = ImageDraw.Draw(plot)
    for n in range(6):
        draw.line((60, 40 + 64 * n, 620, 40 + 64 * n), "#d0d0d0")
        draw.text((50, 40 + 64 * n), str(100 - 20 * n), "#404040", latin_font(12, bold=False), "rm")
    draw.text((340, 18), ("Sales by month", "Temperature", "Load")[family % 3], "#202020", latin_font(16), "mm")
    heights = generator.uniform(20, 310, 12)
    if family % 2:
        for n, height in enumerate(heights):
            draw.rectangle((75 + 45 * n, 360 - height, 105 + 45 * n, 360), "#3a76af")
    else:
        draw.line([(75 + 45 * n, 360 - float(height)) for n, height in enumerate(heights)], "#c44e52", 3)
    return plot


def star_field(generator: Generator, family: int) -> Image.Image:
    """Return stars of random place and brightness on a dark sky, some with a faint band of light."""
    side = 512
    sky = generator.normal(8 + 4 * (family % 3), 2.5, (side, side))
    count = 250 + 250 * (family % 3)
    x, y = generator.integers(0, side, (2, count))
    np.add.at(sky, (y, x), 250 * generator.pareto(1.2, count) + 60)
    if family % 2:
        rows = np.arange(side)[:, None] + np.arange(side)[None, :] * generator.uniform(-1, 1) - side * generator.uniform(0.3, 0.8)
        sky += 35 * np.exp(-((rows / 90) ** 2))
    seen = gaussian_filter(sky.clip(0, 4000), 0.9).clip(0, 255)
    return Image.fromarray(seen.astype(np.uint8)).convert("RGB")


RENDERED: dict[str, Callable[[Generator, int], Image.Image]] = {
    "page": document_page, "window": window, "poster": poster, "chart": chart, "stars": star_field,
}  # fmt: skip
"""Kind -> the picture of a family; pictures of a kind and family differ in content alone."""


def rendered(*, per_kind: int, families: int, seed: int) -> Iterator[tuple[str, Image.Image]]:
    """Yield `per_kind` pictures of each kind in `families` families, with the kind's name."""
    for place, (kind, render) in enumerate(RENDERED.items()):
        for n in range(per_kind):
            yield kind, render(np.random.default_rng([seed, place, n]), n % families)


def tiles(image: Image.Image, *, side_px: int, overlap: float) -> Iterator[tuple[Box, Image.Image]]:
    """Yield two or three tiles along each axis, of about `side_px`, each with its box in fractions of the picture.

    overlap: share of its area that a tile has in common with each neighbour; 0 for disjoint tiles.
    """
    across, down = (max(2, min(3, side // side_px)) for side in image.size)
    wide, high = (1 / (count - (count - 1) * overlap) for count in (across, down))
    for row in range(down):
        for column in range(across):
            left, top = column * wide * (1 - overlap), row * high * (1 - overlap)
            box = (left, top, min(left + wide, 1.0), min(top + high, 1.0))
            pixels = [round(v * s) for v, s in zip(box, (image.width, image.height) * 2, strict=True)]
            yield box, image.crop((pixels[0], pixels[1], pixels[2], pixels[3]))
