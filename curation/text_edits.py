"""Proposals of text edits: which line of a scene becomes what, so that it fits, stands out and covers nothing.

A scene, a kind and a generator enter; one Operation leaves, or an EditError that says why there is none. The kinds are those
that the rendering of text data varies (Qwen-Image, arXiv 2508.02324, section 3.4): content, colour, place, size, typeface.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from curation.edits import Box, Operation, intersect
from curation.errors import EditError
from curation.palette import oklab
from curation.scene import Scene, lines_of
from curation.text_lines import TextLine, code, contrast, fitted, levels, line_of
from curation.typefaces import TYPEFACES, faces_for, is_chinese

PALETTE = (
    "#e02020",
    "#ff8c00",
    "#ffd600",
    "#2e7d32",
    "#1565c0",
    "#6a1b9a",
    "#e91e8c",
    "#00838f",
    "#8b4513",
    "#111111",
    "#ffffff",
)
"""Colours that edits set: far apart, each with an everyday name."""
MIN_CONTRAST = 4.0
"""Contrast ratio that text keeps; WCAG asks 3 for large text and 4.5 for small."""
MIN_SIZE_PX = 18.0
"""Smaller text is not set: below it the reader that checks the pairs begins to err."""
TRIES = 12


@dataclass(frozen=True)
class Desk:
    """What a proposal may use."""

    scene: Scene
    phrases: Mapping[bool, Sequence[str]]
    generator: np.random.Generator

    def choose(self, count: int) -> int:
        """Return a number below `count`."""
        return int(self.generator.integers(count))

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the base."""
        return self.scene.base.shape[1], self.scene.base.shape[0]


def propose(kind: str, desk: Desk, *, taken: Sequence[str] = ()) -> Operation:
    """Return an operation of a kind of KINDS on a line that is not in `taken`.

    Raises EditError when nothing of the kind fits the scene, with what stood in the way last; KeyError for an unknown kind.
    """
    trouble: EditError | None = None
    for _ in range(TRIES):
        try:
            return KINDS[kind](desk, [subject for subject in lines_of(desk.scene.state) if subject not in taken])
        except EditError as error:
            trouble = error
    raise trouble or EditError("no_room", f"no line is free for {kind}")


def box_of(desk: Desk, line: TextLine) -> Box:
    """Return the box of a line's ink; raises EditError when it does not fit the picture."""
    width, height = desk.size_px
    return fitted(line, width_px=width, height_px=height, margin_px=6).box


def cell(box: Box, size_px: tuple[int, int]) -> tuple[int, int]:
    """Return row and column of the middle of a box in a grid of 3 x 3."""
    middle = (box[1] + box[3]) / 2 / size_px[1], (box[0] + box[2]) / 2 / size_px[0]
    return min(2, int(3 * middle[0])), min(2, int(3 * middle[1]))


def _changed(desk: Desk, subject: str, after: TextLine) -> Operation:
    """Return the operation that makes a line what `after` says, if it stays clear of everything else and stands out."""
    scene = desk.scene
    before = line_of(scene.state[subject])
    old, new = box_of(desk, before), box_of(desk, after)
    _clear(desk, new, but=subject)
    if contrast(after.colour, _ground_colour(desk, new, subject)) < MIN_CONTRAST:
        raise EditError("no_room", f"{after.text!r} in {after.colour} does not stand out at {new}")
    patch = scene.grounds[subject][0] if subject in scene.grounds else old
    return Operation(subject, before.plain(), after.plain(), _around(patch, old, new))


def _replace(desk: Desk, subjects: Sequence[str]) -> Operation:
    subject = _one(desk, subjects)
    line = line_of(desk.scene.state[subject])
    there = {line_of(value).text for value in lines_of(desk.scene.state).values()}
    long = len(line.text)
    fitting = [
        text
        for text in desk.phrases[is_chinese(line.text)]
        if text not in there and max(2, 0.5 * long) <= len(text) <= max(4, 1.35 * long)
    ]
    if not fitting:
        raise EditError("too_wide", f"no phrase is about as long as {line.text!r}")
    return _changed(desk, subject, replace(line, text=fitting[desk.choose(len(fitting))]))


def _add(desk: Desk, _: Sequence[str]) -> Operation:
    lines = [line_of(value) for value in lines_of(desk.scene.state).values()]
    if not lines:
        raise EditError("no_style", "there is no line whose look a new one could take")
    like = lines[desk.choose(len(lines))]
    there = {line.text for line in lines}
    texts = [text for text in desk.phrases[is_chinese(like.text)] if text not in there and len(text) <= 18]
    size_px = max(MIN_SIZE_PX, min(like.size_px, 0.07 * min(desk.size_px)))
    line = replace(like, text=texts[desk.choose(len(texts))], size_px=round(size_px), anchor="m")
    placed = _placed(desk, line, but=None)
    new = box_of(desk, placed)
    return Operation(f"line:new-{desk.choose(1_000_000):06d}", None, placed.plain(), _around(new))


def _remove(desk: Desk, subjects: Sequence[str]) -> Operation:
    subject = _one(desk, subjects)
    line = line_of(desk.scene.state[subject])
    box = box_of(desk, line)
    patch = desk.scene.grounds[subject][0] if subject in desk.scene.grounds else box
    return Operation(subject, line.plain(), None, _around(patch, box))


def _recolour(desk: Desk, subjects: Sequence[str]) -> Operation:
    subject = _one(desk, subjects)
    line = line_of(desk.scene.state[subject])
    others = [colour for colour in PALETTE if distance(colour, line.colour) > 0.2]
    return _changed(desk, subject, replace(line, colour=others[desk.choose(len(others))]))


def _move(desk: Desk, subjects: Sequence[str]) -> Operation:
    subject = _one(desk, subjects)
    line = line_of(desk.scene.state[subject])
    return _changed(desk, subject, _placed(desk, line, but=subject))


def _resize(desk: Desk, subjects: Sequence[str]) -> Operation:
    subject = _one(desk, subjects)
    line = line_of(desk.scene.state[subject])
    size_px = line.size_px * (1.5, 1.35, 0.65, 0.72)[desk.choose(4)]
    if size_px < MIN_SIZE_PX:
        raise EditError("no_room", f"{line.text!r} at {size_px:.0f} px would be hard to read; {MIN_SIZE_PX:.0f} px are the least")
    return _changed(desk, subject, replace(line, size_px=round(size_px, 1)))


def _refont(desk: Desk, subjects: Sequence[str]) -> Operation:
    subject = _one(desk, subjects)
    line = line_of(desk.scene.state[subject])
    others = [face for face in faces_for(line.text) if _unlike(face, line.face)]
    return _changed(desk, subject, replace(line, face=others[desk.choose(len(others))]))


def _background(desk: Desk, _: Sequence[str]) -> Operation:
    scene = desk.scene
    if scene.canvas is None or scene.background is None:
        raise EditError("not_flat", "only a drawn layout's background can take another colour")
    inks = [line_of(value).colour for value in lines_of(scene.state).values()]
    others = [
        colour
        for colour in PALETTE
        if distance(colour, scene.background) > 0.2 and min(contrast(colour, ink) for ink in inks) >= MIN_CONTRAST
    ]
    if not others:
        raise EditError("no_room", "every other background hides a line")
    return Operation("background", scene.background, others[desk.choose(len(others))])


KINDS: dict[str, Callable[[Desk, Sequence[str]], Operation]] = {
    "replace": _replace,
    "add": _add,
    "remove": _remove,
    "recolour": _recolour,
    "move": _move,
    "resize": _resize,
    "refont": _refont,
    "background": _background,
}


def distance(one: str, other: str) -> float:
    """Return how unlike two colours are: the distance in OKLab, .02 just visible."""
    a, b = oklab(np.stack([levels(one), levels(other)]).astype(np.uint8))
    return float(np.sqrt(((a - b) ** 2).sum()))


def _one(desk: Desk, subjects: Sequence[str]) -> str:
    if not subjects:
        raise EditError("no_room", "no line is free for another edit")
    return subjects[desk.choose(len(subjects))]


def _placed(desk: Desk, line: TextLine, *, but: str | None) -> TextLine:
    """Return the line at a free, smooth place, in another ninth of the picture than it is in now."""
    width, height = desk.size_px
    now = None if but is None else cell(box_of(desk, line), desk.size_px)
    size = coverage_size(desk, line)
    column, down = desk.choose(3), (0.08, 0.16, 0.3, 0.42, 0.5, 0.6, 0.7, 0.82, 0.92)[desk.choose(9)]
    x = (0.06 * width + size[0] / 2, width / 2, 0.94 * width - size[0] / 2)[column]
    moved = replace(line, x=round(x), y=round(down * height), anchor="m")
    box = box_of(desk, moved)
    _clear(desk, box, but=but)
    if now == cell(box, desk.size_px):
        raise EditError("no_change", f"{line.text!r} would stay in its ninth of the picture")
    _smooth(desk, box, but)
    ground = _ground_colour(desk, box, but)
    if contrast(line.colour, ground) < MIN_CONTRAST:
        raise EditError("no_room", f"{line.text!r} in {line.colour} does not stand out at {box}")
    return moved


def coverage_size(desk: Desk, line: TextLine) -> tuple[int, int]:
    """Return width and height of a line's ink wherever it stands; raises EditError (too_wide) when no place could hold it."""
    width, height = desk.size_px
    middle = replace(line, x=width // 2, y=height // 2, anchor="m")
    x0, y0, x1, y1 = fitted(middle, width_px=width, height_px=height).box
    return x1 - x0, y1 - y0


def _clear(desk: Desk, box: Box, *, but: str | None) -> None:
    """Raise EditError (overlap) when a box comes near another line."""
    near = max(4, (box[3] - box[1]) // 4)
    wide = box[0] - near, box[1] - near, box[2] + near, box[3] + near
    others = [box_of(desk, line_of(value)) for subject, value in lines_of(desk.scene.state).items() if subject != but]
    for other in (*others, *desk.scene.occupied):
        if intersect(wide, other):
            raise EditError("overlap", f"the box {box} comes too near the text at {other}")


def _smooth(desk: Desk, box: Box, but: str | None) -> None:
    """Raise EditError (not_flat) where the picture has structure below a place for text."""
    air = (box[3] - box[1]) // 3
    x0, y0, x1, y1 = box[0] - air, box[1] - air, box[2] + air, box[3] + air
    below = _bare(desk, but)[max(0, y0) : y1, max(0, x0) : x1].reshape(-1, 3).astype(np.float32)
    if float(below.std(axis=0).max()) > 10:
        raise EditError("not_flat", f"the picture has structure at {box}")


def _ground_colour(desk: Desk, box: Box, but: str | None) -> str:
    x0, y0, x1, y1 = box
    return code(np.median(_bare(desk, but)[y0:y1, x0:x1].reshape(-1, 3), axis=0))


def _bare(desk: Desk, subject: str | None) -> np.ndarray:
    """Return the base without the line that is about to change."""
    if subject is None or subject not in desk.scene.grounds:
        return desk.scene.base
    pixels = desk.scene.base.copy()
    (x0, y0, x1, y1), ground = desk.scene.grounds[subject]
    pixels[y0:y1, x0:x1] = ground
    return pixels


def _around(*boxes: Box) -> Box:
    x0, y0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
    return max(0, x0 - 2), max(0, y0 - 2), max(box[2] for box in boxes) + 2, max(box[3] for box in boxes) + 2


def _unlike(face: str, other: str) -> bool:
    """Say whether a reader sees at once that two faces differ: another family, or weights at least 300 apart."""
    one, two = TYPEFACES[face], TYPEFACES[other]
    if one.weight is None or two.weight is None:
        return face != other
    return abs(one.weight - two.weight) >= 300
