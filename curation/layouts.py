"""Layouts drawn from nothing: text on a coloured ground, a gradient, a framed ground, or a panel over a photograph.

Every line of a layout is known, so every edit of it is exact. The number of a layout and the seed give its pixels; no two of
them share a look by design.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw

from curation.edits import Box
from curation.errors import EditError
from curation.scene import Scene
from curation.text_edits import PALETTE
from curation.text_lines import Pixels, TextLine, code, contrast, coverage, draw, fitted, levels
from curation.typefaces import faces_for

SIZES_PX = ((640, 896), (896, 640), (768, 768), (576, 832), (832, 576))
GROUNDS = ("flat", "gradient", "frame", "bands", "photo")
LIGHT = ("#fdf6e3", "#eef4fb", "#fff4d6", "#eaf5ea", "#f7e9ef", "#ffffff", "#ece7f6")
DARK = ("#12355b", "#1d2b1f", "#3c1642", "#24252a", "#5a1620", "#0f4c4a")
INKS = (*PALETTE, "#073642", "#fff8e8")


def layout(
    name: str, *, phrases: Mapping[bool, Sequence[str]], generator: np.random.Generator, photo: Pixels | None = None
) -> Scene:
    """Return a scene of 2 to 6 lines in English, Chinese or both.

    photo: a picture of at least 256 px for the kind `photo`; without it another ground is taken.
    """
    width, height = SIZES_PX[generator.integers(len(SIZES_PX))]
    ground = GROUNDS[generator.integers(len(GROUNDS))]
    if ground == "photo" and photo is None:
        ground = "flat"
    paper = (LIGHT if generator.random() < 0.6 else DARK)[generator.integers(6)]
    ornament = PALETTE[generator.integers(len(PALETTE) - 2)]
    canvas, area = _canvas(ground, (width, height), paper, ornament, photo)
    lines = _lines(area, canvas(paper), phrases, generator)
    base = canvas(paper).copy()
    bare = base.copy()
    for line in lines:
        draw(base, line)
    state = {f"line:{number}": line.plain() for number, line in enumerate(lines)}
    grounds = {}
    for subject, line in zip(state, lines, strict=True):
        x0, y0, x1, y1 = coverage(line).box
        grounds[subject] = ((x0, y0, x1, y1), bare[y0:y1, x0:x1].copy())
    coloured = ground in ("flat", "frame", "bands")
    return Scene(
        name=name,
        base=base,
        state=state | ({"background": paper} if coloured else {}),
        grounds=grounds,
        canvas=canvas if coloured else None,
        background=paper if coloured else None,
    )


def _canvas(
    ground: str, size: tuple[int, int], paper: str, ornament: str, photo: Pixels | None
) -> tuple[Callable[[str], Pixels], Box]:
    """Return the ground as a function of its colour, and the area where text may stand."""
    width, height = size
    if ground == "photo" and photo is not None:
        pixels, area = _over(photo, size, paper)
        return lambda _: pixels, area
    if ground == "gradient":
        shaded = _gradient(size, paper, ornament)
        return lambda _: shaded, (0, 0, width, height)
    inset = round(0.03 * min(size))

    def drawn(colour: str) -> Pixels:
        image = Image.new("RGB", size, colour)
        pen = ImageDraw.Draw(image)
        if ground == "frame":
            pen.rectangle((inset, inset, width - inset, height - inset), outline=ornament, width=max(3, inset // 3))
        if ground == "bands":
            pen.rectangle((0, 0, width, round(height * 0.08)), fill=ornament)
            pen.rectangle((0, round(height * 0.92), width, height), fill=ornament)
        return np.asarray(image)

    margins = {"flat": (0.0, 0.0), "frame": (0.06, 0.06), "bands": (0.0, 0.1)}[ground]
    left, top = round(width * margins[0]), round(height * margins[1])
    return drawn, (left, top, width - left, height - top)


def _gradient(size: tuple[int, int], paper: str, ornament: str) -> Pixels:
    """Return paper that takes on a third of the ornament's colour towards the bottom."""
    share = np.linspace(0, 0.3, size[1], dtype=np.float32)[:, None, None]
    column = levels(paper) * (1 - share) + levels(ornament) * share
    return np.asarray(np.rint(np.broadcast_to(column, (size[1], size[0], 3))), np.uint8)


def _over(photo: Pixels, size: tuple[int, int], paper: str) -> tuple[Pixels, Box]:
    """Return the photograph scaled to cover the size, with a panel of paper over its lower part, and the panel's inside."""
    width, height = size
    scale = max(width / photo.shape[1], height / photo.shape[0])
    scaled = cv2.resize(
        photo, (round(photo.shape[1] * scale) + 1, round(photo.shape[0] * scale) + 1), interpolation=cv2.INTER_AREA
    )
    left, top = (scaled.shape[1] - width) // 2, (scaled.shape[0] - height) // 2
    pixels = np.ascontiguousarray(scaled[top : top + height, left : left + width])
    panel = round(0.06 * width), round(0.5 * height), round(0.94 * width), round(0.94 * height)
    pixels[panel[1] : panel[3], panel[0] : panel[2]] = levels(paper).astype(np.uint8)
    return pixels, panel


def _lines(area: Box, bare: Pixels, phrases: Mapping[bool, Sequence[str]], generator: np.random.Generator) -> list[TextLine]:
    """Return lines from the top of the area down: a title and what follows, left or centred, with air between."""
    x0, y0, x1, y1 = area
    unit = min(x1 - x0, 1.4 * (y1 - y0))
    centred = generator.random() < 0.6
    anchor: Literal["l", "m"] = "m" if centred else "l"
    language = generator.integers(3)  # English, Chinese, both
    y = y0 + (y1 - y0) * generator.uniform(0.06, 0.14)
    lines: list[TextLine] = []
    count = int(generator.integers(2, 7))
    airy = float(np.clip(0.75 * (y1 - y0) / (count * 0.06 * unit), 1.5, 3.4))  # few lines stand farther apart
    for number in range(count):
        chinese = language == 1 or (language == 2 and number % 2 == 0)
        size_px = float(round(unit * (generator.uniform(0.1, 0.13) if number == 0 else generator.uniform(0.05, 0.065))))
        y += size_px * (1.0 if number == 0 else generator.uniform(1.4, airy))
        texts = [text for text in phrases[chinese] if text not in {line.text for line in lines}]
        text = texts[generator.integers(len(texts))]
        faces = faces_for(text)
        line = TextLine(text, 0, round(y), size_px, "#000000", faces[generator.integers(len(faces))], anchor)
        try:
            line = _coloured(_shrunk(line, area), bare, generator)
        except EditError:
            break  # the area is full
        lines.append(line)
        y = line.y
    return lines


def _shrunk(line: TextLine, area: Box) -> TextLine:
    """Return the line within the area, smaller where it would be too wide; raises EditError when it is below the area."""
    x0, y0, x1, y1 = area
    margin = 0.06 * (x1 - x0)
    line = replace(line, x=round((x0 + x1) / 2 if line.anchor == "m" else x0 + margin))
    box = coverage(line).box
    wide = (box[2] - box[0]) / (x1 - x0 - 2 * margin)
    if wide > 1:
        line = replace(line, size_px=float(np.floor(line.size_px / wide)))
    if coverage(line).box[3] > y1 - 0.03 * (y1 - y0) or coverage(line).box[1] < y0:
        raise EditError("no_room", f"{line.text!r} leaves the area {area}")
    return line


def _coloured(line: TextLine, bare: Pixels, generator: np.random.Generator) -> TextLine:
    """Return the line in a colour that stands out from what is below it."""
    x0, y0, x1, y1 = fitted(line, width_px=bare.shape[1], height_px=bare.shape[0]).box
    below = code(np.median(bare[y0:y1, x0:x1].reshape(-1, 3), axis=0))
    inks = [ink for ink in INKS if contrast(ink, below) >= 4.5]
    return replace(line, colour=inks[generator.integers(len(inks))])
