"""Long strips: banners, receipts, stitched screenshots. They are cut to overlapping tiles, and what these saw is sewn together.

A detector that takes pictures of one size sees a strip of 12000x200 px as a thread. So it gets tiles across the whole short
side, each overlapping the next by more than a line's thickness. A line along the strip is seen in parts, which overlap and
are united; a line across it is cut by one tile and whole in the next, and the cut one is left out. Nothing is read before
that, so no letter is read twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from captioning.lines import Corners

STRIP_ASPECT = 4.0
"""A picture this many times longer than wide, and longer than the detector's side, is a strip."""
EDGE_PX = 4.0
"""A piece that ends this close to a seam is taken to be cut by it; the detector's boxes are loose by about as much."""


@dataclass(frozen=True)
class Tile:
    """Pixels from `start` to `stop` along the strip; the tiles before and after reach into it by the overlap."""

    start: int
    stop: int


def is_strip(width: int, height: int, *, side_px: int) -> bool:
    """Tell whether a picture of this size is read in tiles."""
    return max(width, height) > side_px and max(width, height) >= STRIP_ASPECT * min(width, height)


def tiles(length: int, *, tile_px: int, overlap_px: int) -> list[Tile]:
    """Return tiles of at most `tile_px` that cover `length`, neighbours sharing at least `overlap_px`, evenly spaced."""
    if length <= tile_px:
        return [Tile(0, length)]
    number = -(-(length - overlap_px) // (tile_px - overlap_px))
    starts = np.linspace(0, length - tile_px, number).round().astype(int)
    return [Tile(int(start), int(start) + tile_px) for start in starts]


def sew(pieces: Sequence[Sequence[Corners]], cut: Sequence[Tile], *, axis: int) -> list[Corners]:
    """Return the pieces of text of a whole strip.

    pieces: what each tile of `cut` saw, in px of the strip. axis: 0 when the strip lies (tiles side by side), 1 when it stands.
    """
    length = cut[-1].stop
    kept: list[Corners] = []
    for index, (tile, found) in enumerate(zip(cut, pieces, strict=True)):
        shared = _shared(cut, index)
        for corners in found:
            low, high = float(corners[:, axis].min()), float(corners[:, axis].max())
            cut_low, cut_high = tile.start > 0 and low < tile.start + EDGE_PX, tile.stop < length and high > tile.stop - EDGE_PX
            # Cut, and short enough to be whole in the neighbouring tile.
            if (cut_low and high < tile.start + shared[0]) or (cut_high and low > tile.stop - shared[1]):
                continue
            _unite(kept, corners, axis)
    return kept


def _shared(cut: Sequence[Tile], index: int) -> tuple[int, int]:
    """Return how many px a tile shares with the one before and the one after."""
    before = cut[index - 1].stop - cut[index].start if index else 0
    after = cut[index].stop - cut[index + 1].start if index + 1 < len(cut) else 0
    return before, after


def _unite(kept: list[Corners], corners: Corners, axis: int) -> None:
    """Add a piece; one that overlaps earlier ones in the same row is united with them."""
    box = _box(corners)
    while (
        match := next((index for index in reversed(range(len(kept))) if _same(_box(kept[index]), box, axis)), None)
    ) is not None:
        corners = _hull(kept.pop(match), corners)
        box = _box(corners)
    kept.append(corners)


def _same(first: Corners, second: Corners, axis: int) -> bool:
    """Tell whether two boxes overlap along the strip, and across it by more than half of the thinner one."""
    shared = np.minimum(first[1], second[1]) - np.maximum(first[0], second[0])
    thinner = np.minimum(first[1] - first[0], second[1] - second[0])
    enough = shared[axis] > 0.25 * thinner.min() and shared[1 - axis] > 0.5 * max(float(thinner[1 - axis]), 1.0)
    return bool(shared[axis] > 0 and enough)


def _box(corners: Corners) -> Corners:
    return np.array([corners.min(axis=0), corners.max(axis=0)])


def _hull(first: Corners, second: Corners) -> Corners:
    (left, top), (right, bottom) = _box(np.concatenate([first, second]))
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
