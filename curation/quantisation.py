"""How coarsely a picture was quantised on its way here: what its file states, and what its pixels still show.

A JPEG states the step of every frequency in its tables, a lossy WebP in the header of its frame. Whoever saves such a picture
again, as PNG or as a JPEG of high quality, loses the statement but not the loss: the cosine coefficients of the old blocks still
lie at multiples of the old steps. `comb_step` finds them, after Fan and de Queiroz 2003, https://doi.org/10.1109/TIP.2002.807361.
Steps are in grey levels of orthonormal coefficients, the mean over the nine lowest frequencies: about 7 for JPEG quality 75, 13
for 50, 1 for what is not known to be quantised.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

UNQUANTISED = 1.0
FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (0, 3), (3, 0))
TYPICAL = np.array([11, 12, 12, 10, 14, 14, 13, 16, 14], np.float64)
"""Steps of these frequencies at quality 50, ITU-T T.81 table K.1: frequencies are compared by their ratio to it."""
STEPS = np.concatenate([np.arange(2, 24), np.arange(24, 100, 2)]).astype(np.float64)
REACH, BIN = 256.0, 0.25
MIN_COEFFICIENTS = 20
MIN_COHERENCE = 0.5
"""Mean cosine of the coefficients' phases against a step, 1 for exact multiples and about 0 without quantisation."""
MIN_FREQUENCIES = 3
VP8_AC_STEPS = (
    *range(4, 59), *range(60, 118, 2), *range(119, 176, 3), 177, *range(181, 221, 4), 221, 225, 229, 234, 239,
    245, 249, 254, 259, 264, 269, 274, 279, 284,
)  # fmt: skip
"""RFC 6386, section 14.1."""
AVIF_STEP = 12.0
"""What an AVIF is taken for: only its decoder reads the step, and hardly a photograph is published as AVIF before JPEG."""
VP8_SHARE = 0.22
"""A step of VP8 over the JPEG step that loses as much: its basis is twice as long, and its steps grow less with the frequency."""


def table_step(table: list[int]) -> float:
    """Return the step of a JPEG's luma table of 64 numbers in rows."""
    return max(UNQUANTISED, float(np.mean([table[8 * v + u] for v, u in FREQUENCIES])))


def comb_step(grey: Floats) -> float:
    """Return the step that the pixels (H, W) show, UNQUANTISED where they show none.

    Blocks are tried from the upper left corner, which must be one of a block if the picture is as it was decoded, and where
    the differences between neighbours are largest, for a picture that was cut or turned since.
    """
    row, column = _grid(grey), _grid(grey.T)
    found = _comb(grey)
    return found if (row, column) == (0, 0) else max(found, _comb(grey[column:, row:]))


def _grid(grey: Floats) -> int:
    """Return the column, of eight, at which blocks begin: the difference to the left exceeds those beside it."""
    if grey.shape[1] < 32:
        return 0
    step = np.abs(np.diff(grey[::3], axis=1)).mean(axis=0)  # every third row: the columns' mean needs no more
    excess = step[1:-1] - (step[:-2] + step[2:]) / 2  # excess[i]: between columns i + 1 and i + 2
    whole = excess[6 : 6 + (len(excess) - 6) // 8 * 8].reshape(-1, 8)  # from column 8 on, by column of a block
    return int(np.argmax(np.median(whole, axis=0)))


def _comb(grey: Floats) -> float:
    height, width = (side // 8 * 8 for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3).reshape(-1, 64)
    basis, cosine, counted = _bases()
    place = np.clip((blocks @ basis.T + REACH) / BIN, 0, len(cosine) - 1).astype(np.int64)
    count = np.stack([np.bincount(place[:, k], minlength=len(cosine)) for k in range(len(FREQUENCIES))]).astype(np.float64)
    number = count @ counted
    coherent = (number >= MIN_COEFFICIENTS) & (count @ cosine > MIN_COHERENCE * number)
    largest = np.where(coherent, STEPS, 0).max(axis=1)  # every divisor of a step fits as well
    known = largest > 0
    if known.sum() < MIN_FREQUENCIES:
        return UNQUANTISED
    return max(UNQUANTISED, float(np.median(largest[known] / TYPICAL[known]) * TYPICAL.mean()))


@lru_cache(maxsize=1)
def _bases() -> tuple[Floats, NDArray[np.float64], NDArray[np.float64]]:
    """Return the cosine basis (9, 64), and by bin and step the phase's cosine and whether the coefficient counts: no zeros."""
    n = np.arange(8)
    line = np.sqrt(2 / 8) * np.cos((2 * n + 1) * n[:, None] * np.pi / 16)
    line[0] /= np.sqrt(2)
    basis = np.array([np.outer(line[v], line[u]).ravel() for v, u in FREQUENCIES], np.float32)
    centre = ((np.arange(round(2 * REACH / BIN)) + 0.5) * BIN - REACH)[:, None]
    counted = (np.abs(centre) >= STEPS / 2).astype(np.float64)
    return basis, np.cos(2 * np.pi * centre / STEPS) * counted, counted


def webp_step(data: bytes) -> float:
    """Return the step that a lossy WebP states, UNQUANTISED for a lossless one or one whose header cannot be read."""
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"VP8 ":
            indices = _vp8_indices(data[at + 18 : at + 18 + 64])
            steps = [VP8_AC_STEPS[min(max(index, 0), 127)] for index in indices]
            return max(UNQUANTISED, VP8_SHARE * float(np.mean(steps)))
        at += 8 + size + size % 2
    return UNQUANTISED


def _vp8_indices(header: bytes) -> list[int]:
    """Return the quantiser indices of the segments of a VP8 frame, from its first partition (RFC 6386, section 9)."""
    bits = _BoolDecoder(header)
    bits.read(2)  # colour space, clamping
    absolute, changes = False, [0]
    if bits.read(1):
        update_map, update = bits.read(1), bits.read(1)
        if update:
            absolute = bool(bits.read(1))
            changes = [bits.signed(7) for _ in range(4)]
            for _ in range(4):
                bits.signed(6)
        if update_map:
            for _ in range(3):
                bits.read(8) if bits.read(1) else 0
    bits.read(10)  # filter: type, level, sharpness
    if bits.read(1) and bits.read(1):
        for _ in range(8):
            bits.signed(6)
    bits.read(2)  # partitions
    base = bits.read(7)
    return [change if absolute else base + change for change in changes]


class _BoolDecoder:
    """Literals of a VP8 partition, all of even probability (RFC 6386, section 7)."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 2
        self._value = int.from_bytes(data[:2].ljust(2, b"\0"), "big")
        self._range, self._count = 255, 0

    def read(self, bits: int) -> int:
        """Return an unsigned number, its highest bit first."""
        number = 0
        for _ in range(bits):
            number = 2 * number + self._bit()
        return number

    def signed(self, bits: int) -> int:
        """Return a number with flag and sign, 0 where the flag is not set."""
        if not self.read(1):
            return 0
        number = self.read(bits)
        return -number if self.read(1) else number

    def _bit(self) -> int:
        split = 1 + (((self._range - 1) * 128) >> 8)
        bit = self._value >= split << 8
        self._range = self._range - split if bit else split
        self._value -= (split << 8) if bit else 0
        while self._range < 128:
            self._value, self._range, self._count = self._value << 1, self._range << 1, self._count + 1
            if self._count == 8:
                self._value |= self._data[self._at] if self._at < len(self._data) else 0
                self._at, self._count = self._at + 1, 0
        return int(bit)
