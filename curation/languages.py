"""The language that an image comes from, and weights that give each language its share.

What the captioner writes, it writes in every language of every image; an image's own language is that of the source's caption, or
else of the text that can be read in the picture.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

NONE = "none"
"""The language of an image without words."""


def image_languages(captions: pa.Table, ocr: pa.Table | None = None) -> list[str]:
    """Return the language of every row of CAPTIONS: of its caption of level source, else of most characters read, else NONE.

    ocr: OCR, row-aligned.
    """
    lines = [None] * captions.num_rows if ocr is None else ocr["lines"].to_pylist()
    written = captions["captions"].to_pylist()
    return [_said(row or []) or _read(read or []) or NONE for row, read in zip(written, lines, strict=True)]


def _said(captions: Sequence[Mapping[str, object]]) -> str | None:
    return next((str(c["language"]) for c in captions if c["level"] == "source" and c["text"] and c["language"]), None)


def _read(lines: Sequence[Mapping[str, object]]) -> str | None:
    characters: Counter[str] = Counter()
    for line in lines:
        if line["language"]:
            characters[str(line["language"])] += len(str(line["text"] or ""))
    return max(sorted(characters), key=lambda name: characters[name]) if characters else None


def rake(weights: Floats, language: Codes, shares: Mapping[int, float]) -> Floats:
    """Return weights whose sums over the languages of `shares` stand in these proportions; their common sum is as before.

    shares: by code, positive. A language without images leaves its share to the others; images of other languages stay.
    """
    sums = {code: float(weights[language == code].sum()) for code in shares}
    present = {code: share for code, share in shares.items() if sums[code] > 0}
    together, whole = sum(sums[code] for code in present), sum(present.values())
    raked = weights.copy()
    for code, share in present.items():
        raked[language == code] *= share / whole * together / sums[code]
    return raked
