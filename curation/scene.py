"""A picture that can be edited: a base and what is known of it, and how any state of it looks.

A state names what differs from the base: text lines by `line:<name>`, stickers, holes, the background, and the values of
PICTURE_SUBJECTS. It is rendered in one order (background, stickers, lines, light and colour, holes, geometry), so the picture is
a function of the state and never of the order of edits. What no edit touches keeps its pixels to the bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curation.edits import Box, Edit, State, apply
from curation.grading import graded
from curation.stickers import draw_sticker
from curation.text_lines import Pixels, draw, line_of
from curation.warps import warped

HOLE_LEVEL = 128
"""Grey of a hole, the level that inpainting data sets use."""


@dataclass(frozen=True)
class Scene:
    """A base picture and what can be changed in it."""

    name: str  # unique in the run
    base: Pixels
    state: State  # of the base
    grounds: Mapping[str, tuple[Box, Pixels]] = field(default_factory=dict)  # line -> what is below it
    canvas: Callable[[str], Pixels] | None = None  # a drawn layout without its lines, by background colour
    occupied: tuple[Box, ...] = ()  # text that cannot be edited and must not be covered
    background: str | None = None  # colour of a drawn layout's ground
    row: int | None = None  # global row in IMAGES; None: drawn from nothing


def render(scene: Scene, change: Edit) -> Pixels:
    """Return the picture after an edit of the base; the empty edit returns the base itself.

    Raises EditError when the edit does not fit the base's state, or text does not fit the picture.
    """
    after = apply(change, scene.state)
    touched = {operation.subject for operation in change}
    pixels = _without(scene, after, touched)
    for subject in sorted(after):
        if subject.startswith("sticker:"):
            draw_sticker(pixels, after[subject])
    for subject in sorted(after):
        if subject.startswith("line:") and (subject in touched or "background" in touched):
            draw(pixels, line_of(after[subject]))
    pixels = graded(pixels, after)
    for subject in sorted(after):
        if subject.startswith("hole:"):
            x0, y0, x1, y1 = after[subject]
            pixels[y0:y1, x0:x1] = HOLE_LEVEL
    return warped(pixels, after)


def difference_mask(source: Pixels, target: Pixels) -> tuple[Pixels, Box] | None:
    """Return where two pictures differ, 255 or 0 per pixel, and the box around it; None for other sizes, or no such pixel."""
    if source.shape != target.shape:
        return None
    mask = (source != target).any(axis=2).view(np.uint8) * np.uint8(255)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return mask, (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def lines_of(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the text lines of a state by subject."""
    return {subject: value for subject, value in state.items() if subject.startswith("line:") and value is not None}


def _without(scene: Scene, after: State, touched: set[str]) -> Pixels:
    """Return the base with the lines that change taken out, or a drawn layout's canvas in another colour."""
    if "background" in touched and scene.canvas is not None:
        return scene.canvas(str(after["background"])).copy()
    pixels = scene.base.copy()
    for subject in sorted(touched & set(scene.grounds)):
        (x0, y0, x1, y1), ground = scene.grounds[subject]
        pixels[y0:y1, x0:x1] = ground
    return pixels
