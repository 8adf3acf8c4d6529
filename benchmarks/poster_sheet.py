"""A sheet to letter: every line drawn on it is recorded with its text, its kind and its corners.

Lines are horizontal, turned by an angle, or vertical columns of Chinese. The finished sheet can be turned as a whole; its corners
turn with it. Fonts come out of wheels: Noto Sans CJK, DejaVu and STIX.
"""

import math
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Corners = NDArray[np.float64]  # (4, 2): x, y in px, clockwise from the text's own top left
Colour = tuple[int, int, int]
LATIN = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSansMono.ttf",
    "STIXGeneral.ttf",
)


@dataclass
class Region:
    """Lines that belong together, in reading order."""

    kind: str  # headline, text, column, vertical, rotated, sideways, faint, mixed
    language: str  # en, zh, mixed
    lines: list[str] = field(default_factory=list)
    corners: list[Corners] = field(default_factory=list)


class Sheet:
    """A picture under construction; `regions` holds what was drawn, in the order it is to be read."""

    def __init__(self, image: Image.Image, ink: Colour) -> None:
        self.image, self.ink = image, ink
        self.regions: list[Region] = []

    def region(self, kind: str, language: str) -> Region:
        """Begin the next region."""
        self.regions.append(Region(kind, language))
        return self.regions[-1]

    def line(self, region: Region, text: str, place: tuple[float, float], font: ImageFont.FreeTypeFont, ink: Colour) -> float:
        """Draw a level line with its top left at `place`; returns its right edge, px."""
        draw = ImageDraw.Draw(self.image)
        left, top, right, bottom = draw.textbbox(place, text, font=font)
        draw.text(place, text, fill=ink, font=font)
        region.lines.append(text)
        region.corners.append(np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64))
        return float(right)

    def column(self, region: Region, text: str, place: tuple[float, float], font: ImageFont.FreeTypeFont, pitch: float) -> None:
        """Draw a vertical column, characters `pitch` times their size apart, with its top middle at `place`."""
        draw = ImageDraw.Draw(self.image)
        x, y = place
        for character in text:
            draw.text((x, y + font.size / 2), character, fill=self.ink, font=font, anchor="mm")
            y += pitch * font.size
        half, bottom = font.size / 2, y - (pitch - 1) * font.size
        region.lines.append(text)
        region.corners.append(np.array([(x - half, place[1]), (x + half, place[1]), (x + half, bottom), (x - half, bottom)]))

    def turned(
        self, region: Region, text: str, middle: tuple[float, float], font: ImageFont.FreeTypeFont, degrees: float
    ) -> None:
        """Draw a line turned clockwise by `degrees` about its middle."""
        left, top, right, bottom = font.getbbox(text)
        margin = 4
        width, height = math.ceil(right - left) + 2 * margin, math.ceil(bottom - top) + 2 * margin
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).text((margin - left, margin - top), text, fill=255, font=font)
        mask = mask.rotate(-degrees, expand=True, resample=Image.Resampling.BICUBIC)
        at = (round(middle[0] - mask.width / 2), round(middle[1] - mask.height / 2))
        self.image.paste(Image.new("RGB", mask.size, self.ink), at, mask)
        box = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * [(right - left) / 2, (bottom - top) / 2]
        region.lines.append(text)
        region.corners.append(box @ rotation(degrees).T + middle)

    def turn(self, degrees: float) -> None:
        """Turn the whole sheet clockwise; the canvas grows to hold it, filled with its corner's colour."""
        size = np.array(self.image.size) / 2
        fill = self.image.getpixel((0, 0))
        self.image = self.image.rotate(-degrees, expand=True, resample=Image.Resampling.BICUBIC, fillcolor=fill)
        shift = np.array(self.image.size) / 2
        for region in self.regions:
            region.corners = [(corners - size) @ rotation(degrees).T + shift for corners in region.corners]


def rotation(degrees: float) -> NDArray[np.float64]:
    """Return the matrix that turns (x, y), y down, clockwise by `degrees`."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


@cache
def latin(name: str, size_px: int) -> ImageFont.FreeTypeFont:
    """Return one of LATIN, which ship with matplotlib."""
    return ImageFont.truetype(str(files("matplotlib") / "mpl-data" / "fonts" / "ttf" / name), size_px)


@cache
def cjk(weight: int, size_px: int) -> ImageFont.FreeTypeFont:
    """Return Noto Sans CJK, simplified Chinese, at `weight` between 100 and 900."""
    font = ImageFont.truetype(str(files("manimgx_fonts_cjk") / "NotoSansCJK-VF.otf.ttc"), size_px, index=2)
    font.set_variation_by_axes([weight])
    return font
