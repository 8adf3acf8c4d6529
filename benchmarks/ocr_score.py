"""How much of a poster was read, and whether in order.

Words and characters are counted by LongText-Bench's rule (X-Omni, textbench): only U+4E00-9FA5, a-z, A-Z, 0-9, French accents and
white space count; English in lower case, split at spaces; Chinese by character; the score is the multiset intersection over
the truth. In a line of both scripts either part counts for itself. That rule knows no order and forgives invented text, so
beside it stand NED, 1 - levenshtein / longer of the two texts in full as they follow each other, and whether the regions came
in the designed order: every region is found, and the read lines visit them once each in that order.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np
from rapidfuzz.distance import Levenshtein

from benchmarks.poster_sheet import Region

Read = tuple[str, Sequence[float]]  # text, x0 y0 ... x3 y3
_OTHER = re.compile("[^\u4e00-\u9fa5a-zA-Z0-9àâäéèêëîïôöùûüçÀÂÄÉÈÊËÎÏÔÖÙÛÜÇ\\s]")
Visit = TypeVar("Visit")
_HAN = re.compile("[\u4e00-\u9fa5]")


@dataclass
class Tally:
    """Matches and totals, which add up over pictures."""

    matched: Counter[str] = field(default_factory=Counter)  # by language
    total: Counter[str] = field(default_factory=Counter)
    by_kind_matched: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind of region and language
    by_kind_total: Counter[tuple[str, str]] = field(default_factory=Counter)
    ned: list[float] = field(default_factory=list)
    regions_in_order: list[bool] = field(default_factory=list)
    lines_in_order: list[bool] = field(default_factory=list)
    invented: int = 0  # lines read where nothing was drawn

    def add(self, regions: Sequence[Region], read: Sequence[Read]) -> None:
        """Count one picture."""
        everything = [line for region in regions for line in region.lines]
        for language, matched, total in _both(everything, [text for text, _ in read]):
            self.matched[language] += matched
            self.total[language] += total
        places = [_place(regions, polygon) for _, polygon in read]
        self.invented += places.count(None)
        for number, region in enumerate(regions):
            texts = [text for (text, _), place in zip(read, places, strict=True) if place is not None and place[0] == number]
            for language, matched, total in _both(region.lines, texts):
                self.by_kind_matched[region.kind, language] += matched
                self.by_kind_total[region.kind, language] += total
        truth, seen = _running(everything), _running([text for text, _ in read])
        self.ned.append(1 - Levenshtein.distance(truth, seen) / max(1, len(truth), len(seen)))
        visits = [place for place in places if place is not None]
        lines = [(number, line) for number, region in enumerate(regions) for line in range(len(region.lines))]
        self.lines_in_order.append(_once(visits) == lines)
        self.regions_in_order.append(_once([number for number, _ in visits]) == list(range(len(regions))))

    def summary(self) -> dict[str, float]:
        """Return the shares of everything counted so far."""
        shares = {language: self.matched[language] / max(1, self.total[language]) for language in ("en", "zh")}
        order = {"regions_in_order": self.regions_in_order, "lines_in_order": self.lines_in_order, "ned": self.ned}
        return {**shares, **{name: float(np.mean(values)) for name, values in order.items()}, "invented": float(self.invented)}

    def kinds(self) -> dict[str, dict[str, float]]:
        """Return the shares by kind of region."""
        found: dict[str, dict[str, float]] = {}
        for (kind, language), total in sorted(self.by_kind_total.items()):
            if total:
                found.setdefault(kind, {})[language] = self.by_kind_matched[kind, language] / total
        return found


def _both(truth: Sequence[str], read: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return (language, matched, total) for English words and Chinese characters."""
    counts = []
    for language, parts in (("en", _words), ("zh", _characters)):
        wanted, seen = Counter(parts(truth)), Counter(parts(read))
        counts.append((language, (wanted & seen).total(), wanted.total()))
    return counts


def _words(texts: Sequence[str]) -> list[str]:
    return _HAN.sub(" ", _OTHER.sub("", " ".join(texts)).lower()).split()


def _characters(texts: Sequence[str]) -> list[str]:
    return _HAN.findall("".join(texts))


def _running(texts: Sequence[str]) -> str:
    return "".join(_OTHER.sub("", "".join(texts)).lower().split())


def _place(regions: Sequence[Region], polygon: Sequence[float]) -> tuple[int, int] | None:
    """Return the region and line that the middle of `polygon` lies in or nearest to; None beyond half that line's thickness."""
    middle = np.asarray(polygon, np.float64).reshape(-1, 2).mean(axis=0)
    best: tuple[float, tuple[int, int]] | None = None
    for number, region in enumerate(regions):
        for line, corners in enumerate(region.corners):
            inside = cv2.pointPolygonTest(corners.astype(np.float32)[:, None], (float(middle[0]), float(middle[1])), True)
            thickness = float(np.linalg.norm(np.diff(corners, axis=0), axis=1).min())
            if inside > -0.5 * thickness and (best is None or inside > best[0]):
                best = (inside, (number, line))
    return None if best is None else best[1]


def _once(visits: Sequence[Visit]) -> list[Visit]:
    """Return the visits without immediate repetitions."""
    return [visit for index, visit in enumerate(visits) if index == 0 or visit != visits[index - 1]]
