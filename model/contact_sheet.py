"""Images with their prompts on one page: small images enlarged without smoothing, the prompt below each, any script."""

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MIN_CELL_PX = 128
MAX_CELL_PX = 384
MARGIN_PX = 12
TEXT_PX = 13
MAX_LINES = 3
PAPER, INK, FRAME = (255, 255, 255), (40, 44, 52), (222, 224, 228)


def contact_sheet(images: Sequence[np.ndarray], prompts: Sequence[str], *, columns: int = 8) -> Image.Image:
    """Return a page with every uint8 image (H, W, 3) above its prompt, `columns` side by side."""
    if not images:
        return Image.new("RGB", (MIN_CELL_PX, MIN_CELL_PX), PAPER)
    pictures = [_cell(image) for image in images]
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    labels = [_wrapped(prompt, width) for prompt in prompts]
    line_px = TEXT_PX + 4
    label_px = 6 + line_px * max(len(lines) for lines in labels)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    step_x, step_y = width + MARGIN_PX, height + label_px + MARGIN_PX
    page = Image.new("RGB", (columns * step_x + MARGIN_PX, rows * step_y + MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(page)
    for i, (picture, lines) in enumerate(zip(pictures, labels, strict=True)):
        x, y = MARGIN_PX + i % columns * step_x, MARGIN_PX + i // columns * step_y
        left, top = x + (width - picture.width) // 2, y + (height - picture.height) // 2
        page.paste(picture, (left, top))
        draw.rectangle((left - 1, top - 1, left + picture.width, top + picture.height), outline=FRAME)
        for k, line in enumerate(lines):
            draw.text((x, y + height + 4 + k * line_px), line, font=_font(), fill=INK)
    return page


def _cell(image: np.ndarray) -> Image.Image:
    """The image enlarged by a whole factor to about MIN_CELL_PX, or shrunk to MAX_CELL_PX."""
    picture = Image.fromarray(image)
    longest = max(picture.size)
    if longest > MAX_CELL_PX:
        picture.thumbnail((MAX_CELL_PX, MAX_CELL_PX), Image.Resampling.LANCZOS)
        return picture
    factor = max(1, round(MIN_CELL_PX / longest))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _wrapped(text: str, width_px: int) -> list[str]:
    """Lines of at most `width_px`, broken at spaces where there are any; cut after MAX_LINES."""
    lines, line = list[str](), ""
    for piece in (part for word in _pieces(text) for part in ([word] if _font().getlength(word) <= width_px else word)):
        if line and _font().getlength(line + piece.rstrip()) > width_px:
            lines.append(line.rstrip())
            line = piece.lstrip()
        else:
            line += piece
    lines.append(line.rstrip())
    return lines if len(lines) <= MAX_LINES else [*lines[: MAX_LINES - 1], lines[MAX_LINES - 1][:-1] + "..."]


def _pieces(text: str) -> list[str]:
    """Words with the space after them; characters beyond ASCII one by one, for they may break anywhere."""
    pieces, word = list[str](), ""
    for character in text:
        word += character
        if character == " " or not character.isascii():
            pieces.append(word)
            word = ""
    return [*pieces, word] if word else pieces


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    with as_file(files("manimgx_fonts_cjk") / "NotoSansCJK-VF.otf.ttc") as path:
        font = ImageFont.truetype(str(path), TEXT_PX, index=2)  # 2: the Simplified Chinese face
    font.set_variation_by_axes([450])  # the default instance is Thin
    return font
