"""Typefaces for rendered text, out of installed packages: DejaVu, STIX and Computer Modern for Latin script, Noto Sans CJK.

A typeface has a name for people in English and Chinese, because edits speak of it. Whether a face has a glyph is asked of its
character map before anything is drawn: a missing glyph would be drawn as an empty box, and nobody would notice.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from fontTools.ttLib import TTFont
from PIL import ImageFont

from curation.errors import EditError

Script = Literal["latin", "chinese"]

FIRST_CJK = 0x2E80
"""The Unicode blocks of Chinese radicals, punctuation and characters begin here."""

SIMPLIFIED_CHINESE = 2
"""Face of the Noto collection: 0 to 4 are Japanese, Korean, simplified and traditional Chinese, Hong Kong."""


@dataclass(frozen=True)
class Typeface:
    """A face: its file, the script it is for, and what people call it."""

    file: str
    script: Script
    en: str
    zh: str
    weight: int | None = None  # of a variable font


TYPEFACES: dict[str, Typeface] = {
    "sans": Typeface("DejaVuSans.ttf", "latin", "a regular sans-serif font", "常规无衬线字体"),
    "sans-bold": Typeface("DejaVuSans-Bold.ttf", "latin", "a bold sans-serif font", "粗体无衬线字体"),
    "sans-italic": Typeface("DejaVuSans-Oblique.ttf", "latin", "an italic sans-serif font", "斜体无衬线字体"),
    "serif": Typeface("STIXGeneral.ttf", "latin", "a regular serif font", "常规衬线字体"),
    "serif-bold": Typeface("DejaVuSerif-Bold.ttf", "latin", "a bold serif font", "粗体衬线字体"),
    "serif-italic": Typeface("STIXGeneralItalic.ttf", "latin", "an italic serif font", "斜体衬线字体"),
    "mono": Typeface("DejaVuSansMono.ttf", "latin", "a monospaced font", "等宽字体"),
    "chinese-light": Typeface("NotoSansCJK-VF.otf.ttc", "chinese", "a light sans-serif font", "细体黑体", 300),
    "chinese": Typeface("NotoSansCJK-VF.otf.ttc", "chinese", "a regular sans-serif font", "常规黑体", 400),
    "chinese-bold": Typeface("NotoSansCJK-VF.otf.ttc", "chinese", "a bold sans-serif font", "粗体黑体", 700),
    "chinese-black": Typeface("NotoSansCJK-VF.otf.ttc", "chinese", "an extra-bold sans-serif font", "特粗黑体", 900),
}


@cache
def font(name: str, size_px: float) -> ImageFont.FreeTypeFont:
    """Return a typeface at a size, the height of its em square; raises KeyError for a name that is not in TYPEFACES."""
    face = TYPEFACES[name]
    # The basic layout is Pillow's own; Raqm, where it is installed, would place letters elsewhere.
    index = SIMPLIFIED_CHINESE if face.script == "chinese" else 0
    loaded = ImageFont.truetype(str(_path(face.file)), size_px, index=index, layout_engine=ImageFont.Layout.BASIC)
    if face.weight is not None:
        loaded.set_variation_by_axes([face.weight])  # the collection's default instance is Thin
    return loaded


def faces_for(text: str) -> tuple[str, ...]:
    """Return the names of the typefaces of the text's script: Chinese ones when any character is Chinese."""
    script = "chinese" if is_chinese(text) else "latin"
    return tuple(name for name, face in TYPEFACES.items() if face.script == script)


def is_chinese(text: str) -> bool:
    """Say whether any character of the text is of the Chinese blocks or behind them."""
    return any(ord(character) >= FIRST_CJK for character in text)


def require_glyphs(text: str, name: str) -> None:
    """Raise EditError (missing_glyph) naming the first character that the typeface cannot draw."""
    known = coverage(TYPEFACES[name].file)
    for character in text:
        if ord(character) not in known or not character.isprintable():
            raise EditError("missing_glyph", f"{name} has no glyph for {character!r} (U+{ord(character):04X})")


@cache
def coverage(file: str) -> frozenset[int]:
    """Return the code points of a font file's character map."""
    number = SIMPLIFIED_CHINESE if file.endswith(".ttc") else -1
    with TTFont(str(_path(file)), fontNumber=number, lazy=True) as opened:
        return frozenset(opened.getBestCmap())


@cache
def _path(file: str) -> Path:
    package, folder = ("manimgx_fonts_cjk", "") if file.startswith("Noto") else ("matplotlib", "mpl-data/fonts/ttf")
    with as_file(files(package) / folder / file) as path:
        return path
