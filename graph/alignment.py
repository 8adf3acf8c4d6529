"""Geometry of one pair: matched keypoints, a similarity or affine map between the pictures, and how well they agree under it.

A mirrored copy needs no second extraction: mirroring a picture permutes the bins of its SIFT descriptors and flips the x of its
points (a similarity cannot reflect, so the points must be flipped before the fit). Inlier counts cannot tell two posters of
one layout apart; local correlation of the aligned pictures can, and it alone decides.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from graph.keypoints import Description, Pixels

Floats = NDArray[np.float32]
Map = NDArray[np.float64]  # (2, 3): x_b = M[:, :2] @ x_a + M[:, 2], in px of the two pictures

Frame = tuple[int, int, int, int]
"""left, top, right, bottom in px of a picture: what of it is content."""

RANSAC_PX = 3.0 / 256
"""Reprojection error of an inlier, as a share of the target picture's long side."""
WINDOW_PX = 11
TEXTURED_VARIANCE = 20.0
"""Grey variance in the window from which a pixel counts: below it there is noise, not structure."""


@dataclass(frozen=True)
class Fit:
    """A map of picture a onto picture b (or b mirrored) and the keypoints that support it."""

    matrix: Map
    matches: int
    inliers: int


@dataclass(frozen=True)
class Agreement:
    """How two aligned pictures agree where both are seen."""

    share: float  # of the pixels with texture in either picture, those whose window correlates above `min_correlation`
    share_a: float  # the same among pixels with texture in picture a: 1 when b only adds something
    share_b: float
    worst_cell: float  # the lowest `share` among the cells of an 8 x 8 grid that hold texture
    worst_cell_a: float  # the same for `share_a`: 1 when everything in a is found again in b, whatever b adds
    worst_cell_b: float
    textured: float  # share of the seen area with texture
    seen_px: int  # area seen in both, in px of the coarser picture


def mirror(description: Description) -> Description:
    """Return the description that the left-right mirrored picture would have."""
    points = description.points.copy()
    points[:, 0] = description.picture.shape[1] - 1 - points[:, 0]
    points[:, 3] = (180.0 - points[:, 3]) % 360.0
    bins = description.descriptors.reshape(-1, 4, 4, 8)
    turned = bins[:, ::-1, :, (8 - np.arange(8)) % 8]
    picture = np.ascontiguousarray(description.picture[:, ::-1])
    return Description(points, np.ascontiguousarray(turned).reshape(-1, 128), picture)


def match(a: Description, b: Description, *, max_ratio: float = 0.85) -> NDArray[np.int64]:
    """Return (m, 2) indices of keypoints that are each other's nearest and pass Lowe's ratio test."""
    if len(a.points) < 2 or len(b.points) < 2:
        return np.empty((0, 2), np.int64)
    closeness = (a.descriptors.astype(np.float32) @ b.descriptors.T.astype(np.float32)) / np.float32(255 * 255)
    rows = np.arange(len(closeness))
    best = closeness.argmax(1)
    mutual = closeness.argmax(0)[best] == rows
    first = closeness[rows, best]
    closeness[rows, best] = -1
    second = closeness.max(1)
    good = mutual & (1 - first < max_ratio**2 * (1 - second))  # squared distance of unit vectors is 2 - 2 cosine
    return np.asarray(np.stack([rows[good], best[good]], 1), np.int64)


def consensus(a: Description, b: Description, matches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the matches that agree with the most common rotation (within 25 degrees) and scale (within 0.7 octaves)."""
    if len(matches) < 3:
        return matches
    pa, pb = a.points[matches[:, 0]], b.points[matches[:, 1]]
    turn = np.deg2rad(pb[:, 3] - pa[:, 3])
    octave = np.log2(np.maximum(pb[:, 2], 1e-3) / np.maximum(pa[:, 2], 1e-3))
    close = (np.cos(turn[:, None] - turn) > np.cos(np.deg2rad(25))) & (np.abs(octave[:, None] - octave) < 0.7)
    return np.asarray(matches[close[close.sum(1).argmax()]])


def fit(a: Description, b: Description, matches: NDArray[np.int64], *, iterations: int = 500) -> Fit | None:
    """Return the similarity, or the affine map where that explains clearly more, that maps a's keypoints to b's."""
    if len(matches) < 4:
        return None
    source, target = a.points[matches[:, 0], :2], b.points[matches[:, 1], :2]
    threshold = RANSAC_PX * max(b.picture.shape)
    cv2.setRNGSeed(0)
    matrix, inside = cv2.estimateAffinePartial2D(
        source, target, ransacReprojThreshold=threshold, maxIters=iterations, confidence=0.995
    )
    inliers = 0 if inside is None else int(inside.sum())
    if inliers < 0.7 * len(matches) and len(matches) >= 8:
        wider, also = cv2.estimateAffine2D(source, target, ransacReprojThreshold=threshold, maxIters=iterations, confidence=0.995)
        if also is not None and int(also.sum()) > max(inliers * 1.2, inliers + 3):
            matrix, inside, inliers = wider, also, int(also.sum())
    if matrix is None or not _plausible(matrix):
        return None
    if inliers >= 16:  # enough points to take a slight change of aspect from them
        chosen = inside.ravel().astype(bool)
        finer, _ = cv2.estimateAffine2D(source[chosen], target[chosen], ransacReprojThreshold=threshold)
        matrix = finer if finer is not None and _plausible(finer) else matrix
    return Fit(np.asarray(matrix, np.float64), len(matches), inliers)


def whole(a: Pixels, b: Pixels) -> Map:
    """Return the map of all of picture a onto all of picture b."""
    sx, sy = b.shape[1] / a.shape[1], b.shape[0] / a.shape[0]
    return np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2]])  # pixel centres


def agree(a: Pixels, b: Pixels, matrix: Map, *, min_correlation: float = 0.6) -> Agreement:
    """Return how picture a, mapped by `matrix`, agrees with picture b.

    The finer picture is warped onto the coarser one, so nothing is invented by enlarging. Correlation is taken in windows of
    11 px after a blur of 1 px; a gain or an offset of brightness leaves it unchanged.
    """
    swap = abs(np.linalg.det(matrix[:, :2])) > 1
    if swap:
        a, b, matrix = b, a, cv2.invertAffineTransform(matrix)
    (left, top, right, bottom), matrix = _seen_box(a.shape, b.shape, matrix)
    b = b[top:bottom, left:right]  # work only where both are seen
    seen = _seen(a.shape, b.shape, matrix)
    seen_px = int(np.count_nonzero(seen))
    if seen_px < 400:
        return Agreement(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, seen_px)
    warped = _warp(a, b.shape, matrix)
    correlation, *variances = _local(warped, _smooth(b))
    texture_a, texture_b = (seen & (variance > TEXTURED_VARIANCE) for variance in variances)
    good, textured = correlation > min_correlation, texture_a | texture_b
    one, other = ((_share(good, texture), _worst_cell(good & texture, texture)) for texture in (texture_a, texture_b))
    (share_a, worst_a), (share_b, worst_b) = (other, one) if swap else (one, other)
    return Agreement(
        share=_share(good, textured),
        share_a=share_a,
        share_b=share_b,
        worst_cell=_worst_cell(good & textured, textured),
        worst_cell_a=worst_a,
        worst_cell_b=worst_b,
        textured=np.count_nonzero(textured) / seen_px,
        seen_px=seen_px,
    )


def coverage(frame_a: Frame, frame_b: Frame, matrix: Map) -> tuple[float, float]:
    """Return the share of frame a that frame b shows under `matrix`, and the share of b that a shows."""
    corners = (_corners(frame_a) @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    area, _ = cv2.intersectConvexConvex(corners, _corners(frame_b).astype(np.float32))
    mapped = _area(frame_a) * abs(float(np.linalg.det(matrix[:, :2])))
    return float(min(1.0, area / max(mapped, 1.0))), float(min(1.0, area / max(_area(frame_b), 1.0)))


def _corners(frame: Frame) -> Map:
    left, top, right, bottom = frame
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def _area(frame: Frame) -> float:
    left, top, right, bottom = frame
    return float((right - left) * (bottom - top))


def _share(good: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    count = np.count_nonzero(among)
    return np.count_nonzero(good & among) / count if count else 0.0


def _plausible(matrix: Map) -> bool:
    long, short = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(0.1 < short and long < 10 and long / max(short, 1e-9) < 2 and np.linalg.det(matrix[:, :2]) > 0)


def _seen_box(shape_a: tuple[int, ...], shape_b: tuple[int, ...], matrix: Map) -> tuple[Frame, Map]:
    """Return the box of b that the mapped a touches, and the map into that box."""
    corners = _corners((0, 0, shape_a[1], shape_a[0])) @ matrix[:, :2].T + matrix[:, 2]
    left, top = np.clip(np.floor(corners.min(0)), 0, (shape_b[1], shape_b[0])).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)), 0, (shape_b[1], shape_b[0])).astype(int)
    moved = matrix.copy()
    moved[:, 2] -= (left, top)
    return (int(left), int(top), int(right), int(bottom)), moved


def _seen(shape_a: tuple[int, ...], shape_b: tuple[int, ...], matrix: Map) -> NDArray[np.bool_]:
    """Return where in b the mapped a lies, less half a window along a's edges."""
    mask = np.zeros(shape_b, np.uint8)
    if not mask.size:
        return mask.astype(bool)
    inset = (WINDOW_PX // 2) / float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    frame = _corners((0, 0, shape_a[1] - 1, shape_a[0] - 1))
    inner = frame - np.sign(frame - frame.mean(0)) * inset
    corners = np.rint(inner @ matrix[:, :2].T + matrix[:, 2]).astype(np.int32)
    cv2.fillConvexPoly(mask, corners, 1)
    return mask.astype(bool)


def _warp(a: Pixels, shape: tuple[int, ...], matrix: Map) -> Floats:
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    sharp = cv2.GaussianBlur(a, (0, 0), 0.5 / shrink) if shrink < 0.7 else a  # against aliasing
    size = (shape[1], shape[0])
    return _smooth(cv2.warpAffine(sharp, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _smooth(picture: Pixels) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.0), np.float32)


def _local(a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
    """Return correlation in windows, and the variance of each picture in them."""
    window = (WINDOW_PX, WINDOW_PX)
    mean_a, mean_b = cv2.blur(a, window), cv2.blur(b, window)
    variance_a = cv2.sqrBoxFilter(a, -1, window) - mean_a * mean_a
    variance_b = cv2.sqrBoxFilter(b, -1, window) - mean_b * mean_b
    covariance = cv2.blur(a * b, window) - mean_a * mean_b
    correlation = covariance / np.sqrt(np.maximum(variance_a, 1) * np.maximum(variance_b, 1))
    return correlation, variance_a, variance_b


def _worst_cell(good: NDArray[np.bool_], textured: NDArray[np.bool_], cells: int = 8) -> float:
    size = (cells, cells)
    total = cv2.resize(textured.astype(np.float32), size, interpolation=cv2.INTER_AREA)  # the mean of each cell
    agreeing = cv2.resize(good.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    full = total >= 0.1
    return float((agreeing[full] / total[full]).min()) if full.any() else 0.0
