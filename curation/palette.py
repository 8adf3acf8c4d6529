"""Colours of one picture in OKLab: its dominant colours, its cast and its colourfulness.

OKLab and not RGB or CIELAB, because equal distances look about equally different also in blue, so k-means cuts where the eye
does. Everything here wants a thumbnail of at most about 64 px: (H, W, 3) uint8 sRGB.

Ottosson 2020, https://bottosson.github.io/posts/oklab/
"""

from functools import cache
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class ColourShare(TypedDict):
    """One dominant colour: '#rrggbb' and its share of the picture."""

    hex: str
    share: float


RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    dtype=np.float32,
)
"""Linear sRGB to cone responses (Ottosson 2020)."""
LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    dtype=np.float32,
)
"""Cube roots of cone responses to L, a, b (Ottosson 2020)."""


def oklab(rgb: Pixels) -> Floats:
    """Return OKLab (..., 3) of sRGB bytes: L in [0, 1], a towards red, b towards yellow."""
    lms = _linear_table()[rgb] @ RGB_TO_LMS.T
    return np.asarray(np.cbrt(lms) @ LMS_TO_LAB.T, np.float32)


def to_srgb_bytes(lab: Floats) -> Pixels:
    """Return the sRGB bytes nearest to OKLab colours, clipped to the gamut."""
    lms = (lab @ np.linalg.inv(LMS_TO_LAB).T) ** 3
    linear = np.clip(lms @ np.linalg.inv(RGB_TO_LMS).T, 0.0, 1.0)
    # IEC 61966-2-1, section 5.2
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), np.uint8)


def dominant_colours(
    rgb: Pixels, *, max_colours: int = 6, min_share: float = 0.02, merge_distance: float = 0.06
) -> list[ColourShare]:
    """Return the dominant colours, largest share first: weighted k-means over the picture's 15-bit colour cells.

    Seeds are the fullest cell and then, one by one, the cell with the largest count times squared distance, so there is no
    chance in it. Centres nearer than merge_distance (OKLab; about three just noticeable steps) are joined; colours below
    min_share are left out, so shares may sum to less than 1.
    """
    cells, counts = _cells(rgb)
    centres = cells[_seeds(cells, counts, max_colours)]
    for _ in range(8):
        centres = _means(cells, counts, _nearest(cells, centres), centres)
    shares = np.bincount(_nearest(cells, centres), weights=counts, minlength=len(centres)) / counts.sum()
    centres, shares = _merge(centres, shares, merge_distance)
    named = zip(to_srgb_bytes(centres), shares, strict=True)
    found = [ColourShare(hex="#" + bytes(colour).hex(), share=float(share)) for colour, share in named if share >= min_share]
    return sorted(found, key=lambda colour: (-colour["share"], colour["hex"]))


def colour_cast(rgb: Pixels) -> float:
    """Return the distance of the mean colour from grey in OKLab (a, b): 0 under the grey-world assumption.

    Buchsbaum 1980, https://doi.org/10.1016/0016-0032(80)90058-7
    """
    return float(np.hypot(*oklab(rgb).reshape(-1, 3).mean(axis=0)[1:]))


def colourfulness(rgb: Pixels) -> float:
    """Return M3 of Hasler and Suesstrunk 2003: 0 for grey, about 15 slightly, 45 quite, 80 and more highly colourful.

    https://doi.org/10.1117/12.477378
    """
    red, green, blue = rgb.reshape(-1, 3).astype(np.float32).T
    opponents = np.stack([red - green, 0.5 * (red + green) - blue])
    return float(np.linalg.norm(opponents.std(axis=1)) + 0.3 * np.linalg.norm(opponents.mean(axis=1)))


def saturation(rgb: Pixels) -> float:
    """Return the mean HSV saturation, (max - min) / max, in [0, 1]; black counts as 0."""
    high, low = rgb.max(axis=2).astype(np.float32), rgb.min(axis=2).astype(np.float32)
    return float(((high - low) / np.maximum(high, 1.0)).mean())


def _cells(rgb: Pixels) -> tuple[Floats, NDArray[np.float64]]:
    """Return the mean OKLab colour of every occupied cell of 32x32x32 and its number of pixels."""
    flat = rgb.reshape(-1, 3)
    coarse = (flat >> 3).astype(np.int32) @ np.array([1024, 32, 1])
    _, inverse, counts = np.unique(coarse, return_inverse=True, return_counts=True)
    lab = oklab(flat)
    sums = [np.bincount(inverse, weights=lab[:, axis]) for axis in range(3)]
    return (np.stack(sums, axis=1) / counts[:, None]).astype(np.float32), counts.astype(np.float64)


def _seeds(cells: Floats, counts: NDArray[np.float64], number: int) -> list[int]:
    chosen = [int(counts.argmax())]
    gap = np.full(len(cells), np.inf)
    while len(chosen) < min(number, len(cells)):
        gap = np.minimum(gap, ((cells - cells[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int((gap * counts).argmax()))
    return chosen


def _nearest(cells: Floats, centres: Floats) -> NDArray[np.intp]:
    gap = (centres**2).sum(axis=1) - 2 * cells @ centres.T  # without |cell|^2, the same for all centres
    return np.asarray(gap.argmin(axis=1), np.intp)


def _means(cells: Floats, counts: NDArray[np.float64], nearest: NDArray[np.intp], otherwise: Floats) -> Floats:
    """Return the mean of the cells nearest to each centre, by pixels; the centre itself where there are none."""
    number = np.bincount(nearest, weights=counts, minlength=len(otherwise))
    sums = [np.bincount(nearest, weights=counts * axis, minlength=len(otherwise)) for axis in cells.T]
    means = np.stack(sums, axis=1) / np.where(number > 0, number, 1)[:, None]
    return np.where(number[:, None] > 0, means, otherwise).astype(np.float32)


def _merge(centres: Floats, shares: NDArray[np.float64], distance: float) -> tuple[Floats, NDArray[np.float64]]:
    """Join the closest two centres, weighted by share, until none are nearer than `distance`."""
    while len(centres) > 1:
        gaps = np.linalg.norm(centres[:, None] - centres[None, :], axis=2) + np.eye(len(centres)) * 9
        first, second = sorted(divmod(int(gaps.argmin()), len(centres)))
        if gaps[first, second] >= distance:
            break
        both = np.zeros(2, np.intp)
        centres[first] = _means(centres[[first, second]], shares[[first, second]], both, centres[[first]])[0]
        shares[first] += shares[second]
        centres, shares = np.delete(centres, second, axis=0), np.delete(shares, second)
    return centres, shares


@cache
def _linear_table() -> Floats:
    """Return linear light of the 256 sRGB bytes (IEC 61966-2-1)."""
    level = np.arange(256) / 255
    return np.asarray(np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4), np.float32)
