"""Pictures that stand where another should: "image not available", error pages, a shop's logo in place of its goods.

Enter IMAGES and DUPLICATES of the whole collection, with METRICS and OCR where there are; leaves PLACEHOLDERS, one row per named
group. A crawl fetches such a picture from thousands of pages, each with the caption of the picture that is missing. So a group
is named when it is large, and its captions have no more to do with each other than those of any two images; a true copy is
described again and again in much the same words. Without captions, text that is read in the picture can tell.
"""

import re
from collections.abc import Sequence
from itertools import combinations
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.schema import PLACEHOLDERS, conform

TELLING = re.compile(
    r"\b(?:no|not|un)\W?(?:\w+\W+){0,2}(?:available|found|image|photo|picture|preview)\b|\b(?:image|photo|picture)\W+(?:\w+\W+){0,3}"
    r"(?:unavailable|removed|deleted|missing|coming)\b|\bcoming soon\b|\baccess denied\b|\b40[34]\b|\bforbidden\b|\bplaceholder\b"
    r"|暂无图片|图片不存在|无法显示|已删除|加载失败",
    re.IGNORECASE,
)
"""Words of placeholders, in English and Chinese, as OCR reads them."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\d_]{3,}")

Rows = NDArray[np.int64]


def placeholders(
    *,
    images: pa.Table,
    duplicates: pa.Table,
    metrics: pa.Table | None = None,
    ocr: pa.Table | None = None,
    min_size: int = 10,
    min_share: float = 0.001,
    min_caption_share: float = 0.3,
    max_captions: int = 100,
) -> pa.Table:
    """Return PLACEHOLDERS, one row per group that is named as such, the largest first.

    min_size, min_share: a group has at least so many images, and at least so large a share of all. min_caption_share: captions
    are evidence when so large a share of the group has one. max_captions: captions compared, evenly spaced.
    """
    least = max(min_size, int(np.ceil(min_share * len(images))))
    captions = images["caption"].to_pylist()
    background = _agreement([text for text in captions if text], max_captions)
    rows = []
    for keeper, members in _groups(duplicates, least):
        said = [text for text in (captions[row] for row in members) if text]
        agreement = _agreement(said, max_captions) if len(said) >= max(2, min_caption_share * len(members)) else None
        read = _text(ocr, keeper)
        reason = _reason(agreement, background, read)
        if reason is None:
            continue
        rows.append(
            {
                "id": images["id"][keeper].as_py(),
                "keeper_row": keeper,
                "size": len(members),
                "share": len(members) / len(images),
                "reason": reason,
                "captions": len({text.strip().lower() for text in said}),
                "caption_agreement": agreement,
                "background_agreement": background,
                "sources": len({_site(images["uri"][row].as_py(), images["group"][row].as_py()) for row in members}),
                "flatness": None if metrics is None else metrics["flatness"][keeper].as_py(),
                "text": read or None,
                "examples": [text[:200] for text in said[:: max(1, len(said) // 5)][:5]],
            }
        )
    rows.sort(key=lambda row: (-int(str(row["size"])), int(str(row["keeper_row"]))))
    return conform(pa.Table.from_pylist(rows, schema=PLACEHOLDERS), PLACEHOLDERS)


def by_image(placeholders: pa.Table, *, num_images: int) -> pa.Table:
    """Return `reason` and `size` of PLACEHOLDERS by global row, null for every row that is no keeper of one."""
    reason: list[str | None] = [None] * num_images
    size: list[int | None] = [None] * num_images
    for row, why, number in zip(*(placeholders[name].to_pylist() for name in ("keeper_row", "reason", "size")), strict=True):
        reason[row], size[row] = why, number
    return pa.table({"reason": pa.array(reason, pa.string()), "size": pa.array(size, pa.int64())})


def _groups(duplicates: pa.Table, least: int) -> list[tuple[int, Rows]]:
    """Return (keeper, members, the keeper included) of every group of at least `least` images."""
    keeper = duplicates["keeper_row"].fill_null(-1).to_numpy()
    keeper = np.where(keeper < 0, np.arange(len(keeper)), keeper)
    size = np.bincount(keeper, minlength=len(keeper))
    order = np.argsort(keeper, kind="stable")
    start = np.concatenate([[0], np.cumsum(size)])
    return [(int(row), order[start[row] : start[row + 1]]) for row in np.flatnonzero(size >= least)]


def _agreement(captions: Sequence[str], limit: int) -> float | None:
    """Return the mean Jaccard similarity of the words of two captions, over all pairs of up to `limit`; None below two."""
    if len(captions) < 2:
        return None
    places = np.unique(np.linspace(0, len(captions) - 1, min(limit, len(captions))).astype(int))
    words = [set(_WORD.findall(captions[place].lower())) for place in places]
    return float(np.mean([len(a & b) / max(1, len(a | b)) for a, b in combinations(words, 2)]))


def _reason(agreement: float | None, background: float | None, text: str) -> str | None:
    if TELLING.search(text):
        return "telling_text"
    if agreement is not None and agreement <= max(2 * (background or 0.0), 0.1):
        return "diverse_captions"
    return None


def _text(ocr: pa.Table | None, row: int) -> str:
    lines = [] if ocr is None else ocr["lines"][row].as_py() or []
    return " ".join(line["text"] for line in lines)


def _site(uri: str, group: str) -> str:
    """Return the host of a URL, or the sub-collection of a local file."""
    return urlsplit(uri).netloc if "://" in uri and not uri.startswith("file:") else group
