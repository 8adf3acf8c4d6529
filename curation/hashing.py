"""Perceptual hash PDQ: one grey picture in, 256 bits out, and the hashes of its seven mirrored and rotated forms for free.

PDQ and not the older 64-bit pHash, because its bits come with a quality and because a mirror or a quarter turn of the picture
only changes signs and order of its 16x16 DCT coefficients: all eight orientations cost one transform. Hashes are written as 64
hex digits; two pictures with at most about 31 differing bits are the same for its authors.

Meta 2019, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm",
https://github.com/facebook/ThreatExchange/blob/main/hashing/hashing.pdf
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.errors import ImageloomError

Floats = NDArray[np.float32]

SIDE = 64
"""The picture is filtered and sampled to SIDE x SIDE before the transform."""
FREQUENCIES = 16
"""Frequencies 1 to 16 of each axis are kept; frequency 0, the mean, is left out."""
ORIENTATIONS = ("same", "mirror", "flip", "rotate180", "transpose", "rotate90", "rotate270", "transverse")
"""Order of `dihedral_hashes`: mirror swaps left and right, flip swaps top and bottom, rotations are clockwise."""


def pdq_coefficients(grey: NDArray[np.uint8]) -> tuple[Floats, int]:
    """Return the 16x16 DCT coefficients (rows = vertical frequency) of a grey picture (H, W) and PDQ's quality, 0 to 100."""
    sampled = _sample(_smooth(grey.astype(np.float32)))
    basis = _basis()
    coefficients = np.asarray(basis @ sampled @ basis.T, np.float32)
    coefficients[np.abs(coefficients) < 0.02] = 0  # rounding, not structure: all flat pictures get the hash 0
    return coefficients, _quality(sampled)


def pdq_hash(coefficients: Floats) -> str:
    """Return 64 hex digits: one bit for each coefficient, set when it is above the median; the first is the last bit."""
    bits = coefficients.ravel() > np.median(coefficients)
    return np.packbits(bits[::-1]).tobytes().hex()


def dihedral_hashes(coefficients: Floats) -> list[str]:
    """Return the hashes of the picture in all eight orientations, in the order of ORIENTATIONS.

    Mirroring an axis multiplies its frequency k by (-1)^k; transposing the picture transposes the coefficients.
    """
    signs = np.where(np.arange(1, FREQUENCIES + 1) % 2, -1.0, 1.0).astype(np.float32)
    mirror, flip = signs[None, :], signs[:, None]
    forms: list[Floats] = []
    for plane in (coefficients, coefficients.T):
        forms += [plane, plane * mirror, plane * flip, plane * mirror * flip]
    return [pdq_hash(form) for form in forms]


def hamming(hash_a: str, hash_b: str) -> int:
    """Return the number of differing bits of two hex hashes of one length; ImageloomError when lengths differ."""
    if len(hash_a) != len(hash_b):
        raise ImageloomError(f"hashes of {4 * len(hash_a)} and {4 * len(hash_b)} bits cannot be compared")
    return (int(hash_a, 16) ^ int(hash_b, 16)).bit_count()


def _smooth(grey: Floats) -> Floats:
    """Apply PDQ's Jarosz filter: twice a box along each axis, 1/128 of the side wide, averaging what lies inside."""
    window = tuple(max(1, (side + 2 * SIDE - 1) // (2 * SIDE)) for side in (grey.shape[1], grey.shape[0]))
    inside = cv2.boxFilter(np.ones_like(grey), -1, window, normalize=False, borderType=cv2.BORDER_CONSTANT)
    for _ in range(2):
        grey = np.asarray(cv2.boxFilter(grey, -1, window, normalize=False, borderType=cv2.BORDER_CONSTANT) / inside, np.float32)
    return grey


def _sample(grey: Floats) -> Floats:
    rows, columns = (((np.arange(SIDE) + 0.5) * side / SIDE).astype(np.intp) for side in grey.shape)
    return np.asarray(grey[np.ix_(rows, columns)], np.float32)


def _quality(sampled: Floats) -> int:
    """Return the sum of gradients in whole percent of full scale, over 90, at most 100: low for pictures without structure."""
    steps = [np.abs(np.trunc(np.diff(sampled, axis=axis) * (100 / 255))).sum() for axis in (0, 1)]
    return int(min(100, sum(steps) // 90))


@cache
def _basis() -> Floats:
    frequency, position = np.mgrid[1 : FREQUENCIES + 1, 0:SIDE]
    return np.asarray(np.sqrt(2 / SIDE) * np.cos(np.pi / (2 * SIDE) * frequency * (2 * position + 1)), np.float32)
