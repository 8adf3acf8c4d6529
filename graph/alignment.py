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

Map = NDArray[np.float64]
"""(3, 3): where a pixel of one picture lies in the other, in homogeneous coordinates; the last row of an affine map is 0 0 1."""

Frame = tuple[int, int, int, int]
"""left, top, right, bottom in px of a picture: what of it is content."""

RANSAC_PX = 3.0 / 256
"""Reprojection error of an inlier, as a share of the target picture's long side."""


@dataclass(frozen=True)
class Fit:
    """A map of picture a onto picture b (or b mirrored) and the keypoints that support it."""

    matrix: Map  # (2, 3) affine by `fit`, (3, 3) perspective by `project`
    matches: int
    inliers: int


_MIRRORED_BINS = np.arange(128).reshape(4, 4, 8)[::-1][:, :, (8 - np.arange(8)) % 8].ravel()
"""Where every number of a SIFT descriptor is found in that of the mirrored picture."""


def mirror(description: Description) -> Description:
    """Return the description that the left-right mirrored picture would have."""
    points = description.points.copy()
    points[:, 0] = description.shape[1] - 1 - points[:, 0]
    points[:, 3] = (180.0 - points[:, 3]) % 360.0
    return Description(points, description.descriptors[:, _MIRRORED_BINS], description.encoded, not description.mirrored)


def match(a: Description, b: Description, *, max_ratio: float = 0.85) -> NDArray[np.int64]:
    """Return (m, 2) indices of keypoints that are each other's nearest and pass Lowe's ratio test."""
    if len(a.points) < 2 or len(b.points) < 2:
        return np.empty((0, 2), np.int64)
    closeness = a.vectors @ b.vectors.T
    rows = np.arange(len(closeness))
    best = closeness.argmax(1)
    first = closeness[rows, best]
    closeness[rows, best] = -1
    second = closeness.max(1)
    closeness[rows, best] = first
    good = np.flatnonzero(1 - first < max_ratio**2 * (1 - second))  # squared distance of unit vectors is 2 - 2 cosine
    good = good[closeness[:, best[good]].argmax(0) == good]
    return np.asarray(np.stack([good, best[good]], 1), np.int64)


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
    threshold = RANSAC_PX * max(b.shape)
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


def project(a: Description, b: Description, matches: NDArray[np.int64], *, iterations: int = 500) -> Fit | None:
    """Return the perspective map that most matches support, for a photograph of a print; None when there is no plausible one."""
    if len(matches) < 8:
        return None
    source, target = a.points[matches[:, 0], :2], b.points[matches[:, 1], :2]
    cv2.setRNGSeed(0)
    matrix, inside = cv2.findHomography(source, target, cv2.RANSAC, RANSAC_PX * max(b.shape), None, iterations, 0.995)
    if matrix is None or not _plausible(matrix) or not _flat_enough(matrix, a.shape):
        return None
    return Fit(np.asarray(matrix / matrix[2, 2], np.float64), len(matches), int(inside.sum()))


def homogeneous(matrix: NDArray[np.generic]) -> Map:
    """Return a (2, 3) affine map as (3, 3); a (3, 3) map as it is."""
    if len(matrix) == 3:
        return np.asarray(matrix, np.float64)
    return np.vstack([np.asarray(matrix, np.float64), (0.0, 0.0, 1.0)])


def inverse(matrix: Map) -> Map:
    """Return the map from picture b back to picture a."""
    return np.asarray(np.linalg.inv(matrix), np.float64)


def whole(a: Pixels, b: Pixels) -> Map:
    """Return the map of all of picture a onto all of picture b."""
    sx, sy = b.shape[1] / a.shape[1], b.shape[0] / a.shape[0]
    return np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])  # pixel centres


def in_place(matrix: Map, a: Pixels, b: Pixels, *, max_share: float = 0.03) -> bool:
    """Say whether a map lays picture a onto b as it is: no corner is off by more than `max_share` of b's long side."""
    frame = (0, 0, a.shape[1], a.shape[0])
    off = corners(frame, matrix) - corners(frame, whole(a, b))
    return bool(np.abs(off).max() <= max_share * max(b.shape[:2]))


def snapped(matrix: Map, ratio: float, frame_a: Frame, frame_b: Frame, *, max_change: float = 0.03) -> Map:
    """Return an affine map that is nearly a shift of the files' pixels as that shift; any other map as it is.

    ratio: px of picture b per px of picture a when the files' pixels are equally large. Who crops or adds a margin rarely scales,
    and a scale that a dozen keypoints measure is off by half a per cent, which is pixels at the far end.
    """
    if not np.allclose(matrix[2], (0, 0, 1)) or np.abs(matrix[:2, :2] / ratio - np.eye(2)).max() > max_change:
        return matrix
    (left, top, right, bottom), _ = boxed(frame_a, frame_b, matrix)
    middle = inverse(matrix) @ np.array([(left + right) / 2, (top + bottom) / 2, 1.0])
    exact = np.diag([ratio, ratio, 1.0])
    exact[:2, 2] = matrix[:2] @ middle - ratio * middle[:2]
    return exact


def coverage(frame_a: Frame, frame_b: Frame, matrix: Map) -> tuple[float, float]:
    """Return the share of frame a that frame b shows under `matrix`, and the share of b that a shows."""
    mapped, target = corners(frame_a, matrix), corners(frame_b)
    area, _ = cv2.intersectConvexConvex(mapped, target)
    return (
        float(min(1.0, area / max(cv2.contourArea(mapped), 1.0))),
        float(min(1.0, area / max(cv2.contourArea(target), 1.0))),
    )


def corners(frame: Frame, matrix: Map | None = None) -> NDArray[np.float32]:
    """Return (4, 2) corners of a frame, clockwise from the top left, mapped by `matrix`."""
    left, top, right, bottom = frame
    points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    if matrix is not None:
        mapped = points @ matrix[:, :2].T + matrix[:, 2]
        points = mapped[:, :2] / mapped[:, 2:]
    return points.astype(np.float32)


def boxed(frame_a: Frame, frame_b: Frame, matrix: Map) -> tuple[Frame, Map]:
    """Return the box inside frame b that the mapped frame a touches, and the map into that box."""
    places = corners(frame_a, matrix)
    left, top = np.clip(np.floor(places.min(0)), frame_b[:2], frame_b[2:]).astype(int)
    right, bottom = np.clip(np.ceil(places.max(0)), frame_b[:2], frame_b[2:]).astype(int)
    return (int(left), int(top), int(right), int(bottom)), np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]]) @ matrix


def _plausible(matrix: NDArray[np.generic]) -> bool:
    linear = np.asarray(matrix[:2, :2], np.float64)
    long, short = np.linalg.svd(linear, compute_uv=False)
    return bool(0.1 < short and long < 10 and long / max(short, 1e-9) < 2 and np.linalg.det(linear) > 0)


def _flat_enough(matrix: Map, shape: tuple[int, ...], *, max_change: float = 2.5) -> bool:
    """Say whether the far side of the mapped picture is at most `max_change` times smaller in area than the near side."""
    height, width = shape
    depth = np.c_[[(0, 0), (width, 0), (width, height), (0, height)], np.ones(4)] @ matrix[2]
    return bool((depth > 0).all() and (depth.max() / depth.min()) ** 3 <= max_change)
