"""Names of colours in English and Chinese: '#rrggbb' enters, the nearest CSS colour and its everyday family leave.

A caption that says "papaya whip" helps nobody, so each of the 141 CSS names belongs to one of 40 families with a plain name
("cream", in Chinese too), and captions speak in families; the CSS name stays available as evidence. CSS names bright and pale
colours well and dark muted ones badly, which photographs are full of, so the table (data/colours.json) has a few anchors of
our own for those. Nearest means nearest in OKLab, where equal distances look about equally different.

CSS Color 4, section 6.1, https://www.w3.org/TR/css-color-4/#named-colors
"""

import functools
import json
import re
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from curation.palette import oklab

GREYS = ("black", "dark grey", "grey", "light grey", "white")
HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class ColourName:
    """What a colour is called: the nearest CSS colour (English, Chinese) and its family (English, Chinese)."""

    css: str
    css_zh: str
    en: str
    zh: str


def colour_name(code: str, *, grayscale: bool = False) -> ColourName:
    """Return the names of the colour '#rrggbb'; grayscale: only black, white and the greys are asked.

    Raises ValueError for any other notation.
    """
    if not HEX.fullmatch(code):
        raise ValueError(f"{code!r} is no colour of the form #rrggbb")
    named, families, greys = _table()
    wanted = oklab(_levels([code]))
    css = named.nearest(wanted)
    family = (greys if grayscale else families).nearest(wanted)
    return ColourName(css, named.chinese[css], family, families.chinese[family])


@dataclass(frozen=True)
class _Names:
    """Colours as OKLab points with one name each (a name may have several points), and the names' Chinese."""

    points: NDArray[np.float32]
    names: tuple[str, ...]
    chinese: dict[str, str]

    def nearest(self, wanted: NDArray[np.float32]) -> str:
        return self.names[int(((self.points - wanted) ** 2).sum(axis=1).argmin())]


@functools.cache
def _table() -> tuple[_Names, _Names, _Names]:
    """Return the CSS names, the families with all their points, and those families alone that have no colour."""
    table = json.loads((files("captioning") / "data" / "colours.json").read_text(encoding="utf-8"))
    css, anchors = table["names"], table["anchors"]
    points = oklab(_levels([entry["hex"] for entry in css.values()]))
    own = oklab(_levels(list(anchors)))
    families = (*(entry["family"] for entry in css.values()), *anchors.values())
    named = _Names(points, tuple(css), {name: entry["zh"] for name, entry in css.items()})
    every = _Names(np.concatenate([points, own]), families, table["families"])
    neutral = [index for index, family in enumerate(families) if family in GREYS]
    greys = _Names(every.points[neutral], tuple(families[index] for index in neutral), table["families"])
    return named, every, greys


def _levels(codes: list[str]) -> NDArray[np.uint8]:
    """Return the sRGB levels (N, 3) of colours in the notation '#rrggbb'."""
    return np.array([list(bytes.fromhex(code[1:])) for code in codes], dtype=np.uint8)
