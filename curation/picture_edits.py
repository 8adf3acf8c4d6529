"""Proposals of edits of a whole picture, or of something put into it, whose truth is known because we make them.

A scene, a kind and a generator enter; one Operation leaves, or an EditError. The opposite of each is an edit of its own: erase
what was pasted, fill a hole, brighten what was darkened, colourise, sharpen, extend what was cropped.
"""

from collections.abc import Callable

from curation.edits import Box, Operation, intersect
from curation.errors import EditError
from curation.grading import IDENTITY, STRENGTHS
from curation.stickers import SHAPES
from curation.text_edits import PALETTE, Desk, cell
from curation.warps import CROPS

GEOMETRY = ("crop", "turn", "mirror", "tilt")
"""Kinds that move every pixel; a version has one of them, alone."""

PLACES = tuple((row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1))
TRIES = 8


def propose_picture(kind: str, desk: Desk) -> Operation:
    """Return an operation of a kind of PICTURE_KINDS; raises EditError when none fits, KeyError for an unknown kind."""
    if kind in STRENGTHS:
        values = STRENGTHS[kind]
        return Operation(kind, None, _but_neutral(kind, values[desk.choose(len(values))]))
    return PICTURE_KINDS[kind](desk)


def _but_neutral(kind: str, value: float) -> float:
    if value == IDENTITY[kind]:
        raise EditError("no_change", f"{kind} {value} is what the picture has")
    return value


def _crop(desk: Desk) -> Operation:
    return Operation("crop", None, sorted(CROPS)[desk.choose(len(CROPS))])


def _turn(desk: Desk) -> Operation:
    return Operation("turn", None, (90, 180, 270)[desk.choose(3)])


def _mirror(desk: Desk) -> Operation:
    return Operation("mirror", None, ("horizontal", "vertical")[int(desk.generator.random() < 0.2)])


def _tilt(desk: Desk) -> Operation:
    return Operation("tilt", None, (-8.0, -5.0, 5.0, 8.0)[desk.choose(4)])


def _sticker(desk: Desk) -> Operation:
    shape = sorted(SHAPES)[desk.choose(len(SHAPES))]
    colour = PALETTE[desk.choose(8)]  # neither brown, black nor white: a rim of white is drawn around
    box = _free(desk, 0.2 + 0.1 * desk.generator.random())
    value = {"shape": shape, "colour": colour, "box": list(box)}
    return Operation(f"sticker:{shape}-{colour[1:]}-{cell(box, desk.size_px)}", None, value, box)


def _hole(desk: Desk) -> Operation:
    box = _free(desk, 0.3 + 0.15 * desk.generator.random())
    return Operation(f"hole:{cell(box, desk.size_px)}", None, list(box), box)


PICTURE_KINDS: dict[str, Callable[[Desk], Operation]] = {
    "crop": _crop,
    "turn": _turn,
    "mirror": _mirror,
    "tilt": _tilt,
    "sticker": _sticker,
    "hole": _hole,
}
ALL_KINDS = (*STRENGTHS, *PICTURE_KINDS)


def _free(desk: Desk, share: float) -> Box:
    """Return a square box of `share` of the short side, in the middle of one of the outer ninths, clear of text.

    Raises EditError (overlap) when text is everywhere.
    """
    width, height = desk.size_px
    side = round(share * min(width, height))
    for _ in range(TRIES):
        row, column = PLACES[desk.choose(len(PLACES))]
        x = min(max(round((column + 0.5) * width / 3 - side / 2), 0), width - side)
        y = min(max(round((row + 0.5) * height / 3 - side / 2), 0), height - side)
        box = x, y, x + side, y + side
        if not any(intersect(box, other) for other in desk.scene.occupied):
            return box
    raise EditError("overlap", f"no ninth of {width} x {height} px is clear of text")
