"""Watermarks by their text: the same string on more than a small share of a source.

OCR of the whole collection enters with the groups (sub-collections) of its images; leaves WATERMARKS, row by row: which lines of
an image are such strings, and how common the commonest of them is. Copies count once, for a popular picture makes no watermark.
Nothing is dropped here: a slogan that a shop prints on every poster looks the same in a table, so what follows is for `select`.

Strings compare after NFKC, in one case, letters and digits alone, since readers waver between a full stop and none.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

import pyarrow as pa

from curation.schema import WATERMARKS, conform

LEAST_LETTERS = 3
"""Shorter strings (page numbers, sizes) are on many pictures by chance; a Han character counts for two."""


def watermarks(
    *, images: pa.Table, ocr: pa.Table, duplicates: pa.Table | None = None, min_share: float = 0.01, min_images: int = 10
) -> pa.Table:
    """Return WATERMARKS, one row per row of `images`, which the other tables are aligned with.

    duplicates: DUPLICATES; images that another one stands for are not counted, but their lines are marked all the same.
    min_share, min_images: a string is named when it is on more than so large a share of the group's readable images, and on at
        least so many of them.
    """
    groups = images["group"].to_pylist()
    read = [
        None if lines is None else [(line["text"], key(line["text"])) for line in lines] for lines in ocr["lines"].to_pylist()
    ]
    copies = duplicates["keeper"].is_valid().to_pylist() if duplicates is not None else [False] * len(groups)
    common = _common(groups, [None if copy else lines for copy, lines in zip(copies, read, strict=True)], min_share, min_images)
    rows = []
    for identity, group, lines in zip(images["id"].to_pylist(), groups, read, strict=True):
        found = [(common[group][name], text) for text, name in lines or () if name in common[group]]
        best = max(found, key=lambda one: (one[0], one[1]), default=(None, None))
        rows.append(
            {"id": identity, "text": best[1], "share": best[0], "texts": None if lines is None else [text for _, text in found]}
        )
    return conform(pa.Table.from_pylist(rows, schema=WATERMARKS), WATERMARKS)


def key(text: str) -> str:
    """Return what two strings are compared by; empty for a string too short to be told from chance."""
    plain = "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())
    weight = sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in plain)
    return plain if weight >= LEAST_LETTERS and not plain.isdigit() else ""


def _common(
    groups: Sequence[str], read: Sequence[list[tuple[str, str]] | None], min_share: float, min_images: int
) -> dict[str, dict[str, float]]:
    """Return the share of images that each common string is on, by group."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    totals: Counter[str] = Counter()
    for group, lines in zip(groups, read, strict=True):
        if lines is not None:
            totals[group] += 1
            counts[group].update({name for _, name in lines if name})
    return {
        group: {
            name: number / totals[group]
            for name, number in counts[group].items()
            if number >= min_images and number > min_share * totals[group]
        }
        for group in set(groups)
    }
