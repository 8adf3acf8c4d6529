"""Fonts for rendered pictures, out of installed packages: DejaVu for Latin script, Noto Sans CJK for Chinese."""

from functools import cache
from importlib.resources import as_file, files

from PIL import ImageFont

SIMPLIFIED_CHINESE = 2
"""Face of the Noto collection: 0 to 4 are Japanese, Korean, simplified and traditional Chinese, Hong Kong."""

FIRST_CJK = 0x2E80
"""The Unicode blocks of Chinese radicals, punctuation and characters begin here."""


@cache
def latin_font(size_px: float, *, bold: bool = True) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which ships with matplotlib; `size_px` is the height of the em square."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    with as_file(files("matplotlib") / "mpl-data" / "fonts" / "ttf" / name) as path:
        return ImageFont.truetype(str(path), size_px)


@cache
def chinese_font(size_px: float, *, weight: int = 700) -> ImageFont.FreeTypeFont:
    """Return Noto Sans CJK (simplified Chinese, with Latin letters too) at `weight` between 100 and 900."""
    with as_file(files("manimgx_fonts_cjk") / "NotoSansCJK-VF.otf.ttc") as path:
        font = ImageFont.truetype(str(path), size_px, index=SIMPLIFIED_CHINESE)
    font.set_variation_by_axes([weight])  # the collection's default instance is Thin
    return font


def fitting_font(line: str, *, size_px: float, width_px: float) -> ImageFont.FreeTypeFont:
    """Return the font of the line's script at `size_px`, or smaller where the line would be wider than `width_px`."""
    choose = chinese_font if any(ord(character) >= FIRST_CJK for character in line) else latin_font
    length_px = choose(size_px).getlength(line)
    return choose(size_px) if length_px <= width_px else choose(size_px * width_px / length_px)
