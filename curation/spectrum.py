"""Where the detail of a picture ends, and how strong its finest grain is, from its power spectrum.

The power spectrum of natural pictures falls with the square of the frequency (Field 1987, https://doi.org/10.1364/JOSAA.4.002379);
weighted by that square it is level up to where detail ends. White noise and the dots of a dithered palette are level without the
weight: what is left at the highest frequencies is taken off everywhere first, so that neither passes for detail.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RINGS = 128
"""Rings of the spectrum; ring i lies at i / 256 cycles per pixel."""
MIN_SIDE_PX = 16
FINEST = slice(100, 126)
COARSE = slice(6, 20)
SHARE = 0.9
FULL = 0.45
"""Cycles per pixel below which SHARE of the weighted power lies when it is level."""
PLAIN = 1e-3


def rings(grey: NDArray[np.uint8]) -> Floats:
    """Return the mean power by ring, (RINGS,), of a grey picture (H, W) under a Hann window; zeros below MIN_SIDE_PX."""
    from scipy.fft import rfft2  # ten times as fast as numpy's; half a second to import, which most processes need not spend

    height, width = (side // MIN_SIDE_PX * MIN_SIDE_PX for side in grey.shape)
    if not height or not width:
        return np.zeros(RINGS)
    top, left = (grey.shape[0] - height) // 2, (grey.shape[1] - width) // 2
    middle = grey[top : top + height, left : left + width].astype(np.float32)
    ring, number, window = _grid(height, width)
    spectrum = rfft2((middle - middle.mean()) * window)  # the other half mirrors it
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(np.bincount(ring, power.ravel(), minlength=RINGS + 1)[:RINGS] / number)


def detail(power: Floats) -> float:
    """Return the share of the resolution that holds detail, 0 for a plain picture."""
    frequency = np.arange(RINGS) / (2 * RINGS)
    above = np.maximum(power - power[FINEST].min(), 0)
    above[:3] = 0  # the window's own width
    below = np.cumsum(above * frequency**2)
    if below[-1] <= PLAIN:
        return 0.0
    return float(min(1.0, frequency[np.searchsorted(below, SHARE * below[-1])] / FULL))


def grain(power: Floats) -> float:
    """Return the finest power over the coarse, in dB: noise and sharpening raise it, interpolation and blur lower it."""
    return float(10 * np.log10((power[FINEST].min() + PLAIN) / (power[COARSE].mean() + PLAIN)))


@lru_cache(maxsize=4)
def _grid(height: int, width: int) -> tuple[NDArray[np.int64], Floats, NDArray[np.float32]]:
    """Return the ring of every coefficient, how many there are of each times the window's energy, and the window."""
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    ring = np.minimum((2 * RINGS * radius).astype(np.int64), RINGS).ravel()
    window = (np.hanning(height)[:, None] * np.hanning(width)).astype(np.float32)
    number = np.maximum(np.bincount(ring, minlength=RINGS + 1)[:RINGS], 1) * float((window**2).sum())
    return ring, number, window
