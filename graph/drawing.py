"""The evidence of a pair as a picture: both images side by side, with lines between the keypoints that agree on one map.

Enters: two pictures with the descriptions that the second look used. Leaves: pixels. Matches are found again by the code of
`graph.alignment`, so what is drawn is what was measured; nothing of it is stored. A mirrored copy is drawn as it is, and its
lines cross.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from graph.alignment import RANSAC_PX, consensus, fit, match, mirror
from graph.keypoints import Description, Pixels

Lines = NDArray[np.float64]
"""(n, 4): x and y in the left picture, x and y in the right one, as shares of that picture's width and height."""

INK = ((255, 176, 59), (94, 205, 255), (170, 235, 120), (255, 138, 170), (205, 170, 255))
"""Colours of lines in turn; each is drawn over a dark edge, so it is seen on light pictures and dark ones."""


def matched_lines(a: Description, b: Description, *, max_lines: int = 24) -> Lines:
    """Return the matches that fit the best map of a onto b or b mirrored, the same for the same input; none without a map.

    max_lines: more are thinned evenly over the left picture, from top to bottom.
    """
    best = np.empty((0, 4))
    for mirrored in (False, True):
        other = mirror(b) if mirrored else b
        found = _inliers(a, other)
        if len(found) > len(best):
            best = found
            best[:, 2] = 1 - best[:, 2] if mirrored else best[:, 2]
    best = best[np.lexsort((best[:, 0], best[:, 1]))]
    spread = np.linspace(0, len(best) - 1, min(len(best), max_lines)).round().astype(int)
    return np.asarray(best[np.unique(spread)])


def _inliers(a: Description, b: Description) -> Lines:
    matches = consensus(a, b, match(a, b))
    fitted = fit(a, b, matches) if len(matches) >= 4 else None
    if fitted is None:
        return np.empty((0, 4))
    left, right = a.points[matches[:, 0], :2], b.points[matches[:, 1], :2]
    away = np.linalg.norm(left @ fitted.matrix[:, :2].T + fitted.matrix[:, 2] - right, axis=1)
    near = away <= RANSAC_PX * max(b.picture.shape)
    size_a, size_b = (np.array(picture.shape[1::-1], float) for picture in (a.picture, b.picture))
    return np.concatenate([left[near] / size_a, right[near] / size_b], axis=1)


def side_by_side(left: Pixels, right: Pixels, lines: Lines, *, height_px: int = 216, gap_px: int = 24) -> Pixels:
    """Return (height_px, W, 3): two (H, W, 3) pictures scaled to one height, a gap between them, and `lines` over both."""
    pictures = [_scaled(picture, height_px) for picture in (left, right)]
    gap = np.full((height_px, gap_px, 3), 160, np.uint8)
    page = np.ascontiguousarray(np.concatenate([pictures[0], gap, pictures[1]], axis=1))
    widths = pictures[0].shape[1], pictures[1].shape[1]
    for number, (xa, ya, xb, yb) in enumerate(lines.tolist()):
        start = round(xa * widths[0]), round(ya * height_px)
        end = round(xb * widths[1]) + widths[0] + gap_px, round(yb * height_px)
        for colour, width in (((24, 24, 24), 3), (INK[number % len(INK)], 1)):
            cv2.line(page, start, end, colour, width, cv2.LINE_AA)
        for point in (start, end):
            cv2.circle(page, point, 4, (24, 24, 24), -1, cv2.LINE_AA)
            cv2.circle(page, point, 3, INK[number % len(INK)], -1, cv2.LINE_AA)
    return page


def _scaled(picture: Pixels, height_px: int, max_aspect: float = 2.5) -> Pixels:
    scale = height_px / picture.shape[0]
    width = max(1, min(round(picture.shape[1] * scale), round(max_aspect * height_px)))
    shrinks = scale < 1
    return np.asarray(
        cv2.resize(picture, (width, height_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8
    )
