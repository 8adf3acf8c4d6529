"""From detected lines to texts: every line is read the right way up, and long ones in parts.

A detector says where a line is, not which way it runs. Lines are read as if they ran to the right (standing ones: downwards);
those the recogniser is unsure of are read again turned by half a circle. When that wins for most of a page, the page is upside
down, and the rest of its lines are read so as well. The corners are returned clockwise from the text's own top left, so they say
which way it runs; a vertical column of Chinese keeps the top left of its outline.

A line far longer than those a recogniser was trained on loses characters; it is cut where its columns of pixels are quietest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from captioning.language import SCRIPTS
from captioning.lines import VERTICAL_ASPECT, Corners, cut_out, size_of
from captioning.ocr_engines import Engine, Pixels, Recognised

SURE = 0.92
"""Confidence from which a line is not read a second time, upside down."""
FLIP_GAIN, FLIP_LEAST = 0.06, 0.8
"""A line alone is turned when that gains so much confidence and reaches so much."""
PLAIN = 0.85
"""Confidence of a line whose letters are beyond doubt."""
PAGE_SHARE = 0.5
"""Share of the characters read upside down from which the whole page is."""
LONG_ASPECT, PART_ASPECT = 28.0, 18.0
"""Lines longer than this many times their height are cut to parts of about the second number."""
SPACE = 0.22
"""A quiet stretch wider than this share of the height is a space."""
SUSPECT_LETTERS, LOST_SPACE, STANDOUT = 10, 0.2, 2.2
"""A word of so many Latin letters may be two: where a stretch is this wide, and this many times wider than between letters."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One line: text, confidence, and its corners clockwise from the text's own top left."""

    text: str
    confidence: float
    corners: Corners


def read_lines(engine: Engine, bgr: Pixels, polygons: Sequence[Corners]) -> list[Reading]:
    """Return what stands in every polygon."""
    crops = [cut_out(bgr, corners) for corners in polygons]
    upright = _recognise(engine, crops)
    doubtful = [index for index, line in enumerate(upright) if not line[1] >= SURE and not _is_ornament(line[0])]
    flipped = dict(zip(doubtful, _recognise(engine, [_half_turn(crops[index]) for index in doubtful]), strict=True))
    for standing in (False, True):
        family = [index for index, corners in enumerate(polygons) if _stands(corners) == standing]
        if _upside_down(upright, flipped, family):
            rest = [index for index in family if index not in flipped]
            flipped |= dict(zip(rest, _recognise(engine, [_half_turn(crops[index]) for index in rest]), strict=True))
            upright = [
                ("", -1.0) if index in family and flipped[index][1] > 0.5 * seen[1] else seen
                for index, seen in enumerate(upright)
            ]
    readings = []
    for index, (seen, corners) in enumerate(zip(upright, polygons, strict=True)):
        turned = index in flipped and _wins(flipped[index], seen)
        text, confidence = flipped[index] if turned else seen
        readings.append(Reading(text, confidence, _from_own_top_left(corners, text, turned)))
    return _sideways(readings)


def _is_ornament(text: str) -> bool:
    """Tell whether only dots and symbols were read: turned by half a circle, they are dots and symbols again."""
    return bool(text.strip()) and not any(character.isalnum() for character in text)


def _recognise(engine: Engine, crops: Sequence[Pixels]) -> list[Recognised]:
    """Return text and confidence of every crop, long ones put together from their parts."""
    parts = [split_long(crop) for crop in crops]
    found = iter(engine.recognise([part for some in parts for part, _ in some]))
    lines = [_joined([(next(found), space) for _, space in some]) for some in parts]
    return [_spaced(engine, crop, line) if _is_suspect(line) else line for crop, line in zip(crops, lines, strict=True)]


def _is_suspect(line: Recognised) -> bool:
    """Tell whether a word is so long that a space may have been lost, which recognisers do between capitals."""
    return line[1] >= PLAIN and any(len(word) >= SUSPECT_LETTERS and word.isascii() for word in line[0].split())


def _spaced(engine: Engine, crop: Pixels, line: Recognised) -> Recognised:
    """Return the line read in parts cut at its wide gaps, when that gives the same letters; else the line as it is."""
    places = _wide_gaps(crop)
    if len(places) < len(line[0].split()):
        return line
    edges = [0, *places, crop.shape[1]]
    found = engine.recognise([np.ascontiguousarray(crop[:, low:high]) for low, high in pairwise(edges)])
    joined = " ".join(text for text, _ in found)
    same = "".join(joined.split()).casefold() == "".join(line[0].split()).casefold()
    return (joined, line[1]) if same and min(confidence for _, confidence in found) >= PLAIN else line


def _wide_gaps(crop: Pixels) -> list[int]:
    """Return the middles of the stretches of a level line that are as wide as a space and stand out among its gaps."""
    loudness = _loudness(crop)
    inked = np.flatnonzero(loudness > loudness.min() + 0.25 * (loudness.max() - loudness.min()))
    gaps = np.diff(inked) - 1
    if not gaps.any():
        return []
    wide = np.flatnonzero((gaps > LOST_SPACE * crop.shape[0]) & (gaps > STANDOUT * np.median(gaps[gaps > 0])))
    return [int(inked[index] + gaps[index] // 2) + 1 for index in wide]


def split_long(crop: Pixels) -> list[tuple[Pixels, bool]]:
    """Return the parts of a level line (h, w, 3), each with whether a space comes before it; one part when it is not long."""
    height, width = crop.shape[:2]
    if width <= LONG_ASPECT * height:
        return [(crop, False)]
    quiet = _loudness(crop)
    parts, start, space = [], 0, False
    while width - start > LONG_ASPECT * height:
        low, high = start + round(0.6 * PART_ASPECT * height), start + round(1.2 * PART_ASPECT * height)
        first, last = _widest_quiet(quiet[low:high])
        middle = low + (first + last) // 2
        parts.append((np.ascontiguousarray(crop[:, start:middle]), space))
        start, space = middle, last - first > SPACE * height
    return [*parts, (np.ascontiguousarray(crop[:, start:]), space)]


def _loudness(crop: Pixels) -> NDArray[np.float64]:
    """Return the contrast of every column of pixels, edges of the crop left out."""
    grey = crop.mean(axis=2)
    inner = grey[crop.shape[0] // 8 : -max(1, crop.shape[0] // 8)] if crop.shape[0] >= 16 else grey
    return np.asarray(inner.max(axis=0) - inner.min(axis=0), np.float64)


def _widest_quiet(loudness: NDArray[np.float64]) -> tuple[int, int]:
    """Return where the widest stretch of quiet columns begins and ends; quiet is near the quietest of them."""
    lowest, highest = float(loudness.min()), float(loudness.max())
    quiet = np.concatenate([[False], loudness <= lowest + 0.12 * (highest - lowest) + 2.0, [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8))).reshape(-1, 2)
    first, last = edges[(edges[:, 1] - edges[:, 0]).argmax()]
    return int(first), int(last)


def _joined(parts: Sequence[tuple[Recognised, bool]]) -> Recognised:
    """Return the text of a line from its parts, and their mean confidence by length."""
    text, weight, total = "", 0, 0.0
    for (piece, confidence), space in parts:
        text += " " + piece if space and text and not (_han(text[-1:]) and _han(piece[:1])) else piece
        weight += len(piece)
        total += len(piece) * confidence
    return text, total / weight if len(parts) > 1 and weight else parts[0][0][1]


def _wins(flipped: Recognised, upright: Recognised) -> bool:
    """Tell whether a line is read better turned by half a circle; one character alone turns only with its page."""
    letters = sum(map(str.isalnum, flipped[0]))
    return letters > (upright[1] >= 0) and flipped[1] >= FLIP_LEAST and not flipped[1] < upright[1] + FLIP_GAIN


def _upside_down(upright: Sequence[Recognised], flipped: dict[int, Recognised], family: Sequence[int]) -> bool:
    """Tell whether most characters of these lines are read better when turned by half a circle."""
    turned = sum(len(flipped[index][0]) for index in family if index in flipped and _wins(flipped[index], upright[index]))
    straight = sum(len(upright[index][0]) for index in family if not (index in flipped and _wins(flipped[index], upright[index])))
    return turned > 0 and turned >= PAGE_SHARE * (turned + straight)


def _from_own_top_left(corners: Corners, text: str, turned: bool) -> Corners:
    """Return the corners rolled so that the first is where the text begins, at its top."""
    if not _stands(corners):
        return np.roll(corners, 2, axis=0) if turned else corners
    if turned:
        return np.roll(corners, 1, axis=0)
    return corners if is_column(text) else np.roll(corners, -1, axis=0)


def is_column(text: str) -> bool:
    """Tell whether a standing line with this text is a column of upright characters: half of them are Han, kana or Hangul.

    A single letter, and text without any letter, stands upright as well.
    """
    letters = [character for character in text if character.isalnum()]
    return len(letters) < 2 or 2 * sum(_han(letter) for letter in letters) >= len(letters)


def _sideways(readings: list[Reading]) -> list[Reading]:
    """Turn the columns of a page on its side: no line is level, and some line in a script without columns runs down."""
    runs = [_runs(reading.corners) for reading in readings if reading.confidence >= SURE and not _tall(reading.corners)]
    if "down" not in runs or "level" in runs:
        return readings
    return [
        replace(reading, corners=np.roll(reading.corners, -1, axis=0)) if _tall(reading.corners) else reading
        for reading in readings
    ]


def _runs(corners: Corners) -> str:
    """Return where a line runs: level (either way), down or up."""
    across, down = corners[1] - corners[0]
    return "level" if abs(down) < abs(across) else "down" if down > 0 else "up"


def _tall(corners: Corners) -> bool:
    """Tell whether the text's own outline is taller than wide: a column."""
    width, height = size_of(corners)
    return height >= VERTICAL_ASPECT * width


def _stands(corners: Corners) -> bool:
    """Tell whether a detected piece, whose first corner is its outline's top left, stands upright."""
    width, height = size_of(corners)
    return height >= VERTICAL_ASPECT * width


def _half_turn(crop: Pixels) -> Pixels:
    return np.ascontiguousarray(crop[::-1, ::-1])


def _han(character: str) -> bool:
    return bool(character) and any(SCRIPTS[name].match(character) for name in ("han", "kana", "hangul"))
