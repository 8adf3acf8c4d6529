"""Watermarks by their text: the same string on more than a small share of a source.

OCR of the whole collection enters with the groups (sub-collections) of its images; leaves WATERMARKS, row by row: which lines of
an image are such strings, and how common the commonest of them is. Copies count once, for a popular picture makes no watermark.
Nothing is dropped here: a slogan that a shop prints on every poster looks the same in a table, so what follows is for `select`.

Strings compare after NFKC, in one case, letters and digits alone, since readers waver between a full stop and none.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from curation.schema import WATERMARKS, conform

STRINGS = pa.schema([("group", pa.string()), ("name", pa.string())])
"""A string by which lines compare, and the group of an image that it is on."""

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
    totals = readable(images=images, ocr=ocr, duplicates=duplicates)
    found = common(
        strings(images=images, ocr=ocr, duplicates=duplicates), totals=totals, min_share=min_share, min_images=min_images
    )
    return marked(images=images, ocr=ocr, found=found)


def readable(*, images: pa.Table, ocr: pa.Table, duplicates: pa.Table | None = None) -> Counter[str]:
    """Return by group how many images were read, those that another one stands for left out."""
    counted = _counted(ocr, duplicates)
    return Counter(group for group, use in zip(images["group"].to_pylist(), counted, strict=True) if use)


def strings(*, images: pa.Table, ocr: pa.Table, duplicates: pa.Table | None = None) -> pa.Table:
    """Return STRINGS: what is on every image that counts, once for each."""
    groups, names = [], []
    counted = _counted(ocr, duplicates)
    for group, lines, use in zip(images["group"].to_pylist(), ocr["lines"].to_pylist(), counted, strict=True):
        for name in sorted({key(line["text"]) for line in lines} - {""}) if use else ():
            groups.append(group)
            names.append(name)
    return pa.table({"group": groups, "name": names}, schema=STRINGS)


def common(found: pa.Table, *, totals: Mapping[str, int], min_share: float, min_images: int) -> dict[str, dict[str, float]]:
    """Return the share of images that each common string is on, by group; found: all STRINGS of some names."""
    shares: dict[str, dict[str, float]] = defaultdict(dict)
    counts = found.group_by(["group", "name"]).aggregate([([], "count_all")])
    for row in counts.filter(pc.greater_equal(counts["count_all"], min_images)).to_pylist():
        total = totals[row["group"]]
        if row["count_all"] > min_share * total:
            shares[row["group"]][row["name"]] = row["count_all"] / total
    return dict(shares)


def marked(*, images: pa.Table, ocr: pa.Table, found: Mapping[str, Mapping[str, float]]) -> pa.Table:
    """Return WATERMARKS of some images, given the common strings of every group."""
    rows = []
    columns = (images["id"].to_pylist(), images["group"].to_pylist(), ocr["lines"].to_pylist())
    for identity, group, lines in zip(*columns, strict=True):
        shares = found.get(group, {})
        here = [(shares[name], line["text"]) for line in lines or () if (name := key(line["text"])) in shares]
        best = max(here, key=lambda one: (one[0], one[1]), default=(None, None))
        texts = None if lines is None else [text for _, text in here]
        rows.append({"id": identity, "text": best[1], "share": best[0], "texts": texts})
    return conform(pa.Table.from_pylist(rows, schema=WATERMARKS), WATERMARKS)


def _counted(ocr: pa.Table, duplicates: pa.Table | None) -> list[bool]:
    """Say which images were read and stand for themselves."""
    read = ocr["lines"].is_valid().to_pylist()
    copies = duplicates["keeper"].is_valid().to_pylist() if duplicates is not None else [False] * len(read)
    return [lines and not copy for lines, copy in zip(read, copies, strict=True)]


def key(text: str) -> str:
    """Return what two strings are compared by; empty for a string too short to be told from chance."""
    plain = "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())
    weight = sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in plain)
    return plain if weight >= LEAST_LETTERS and not plain.isdigit() else ""
