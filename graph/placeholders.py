"""Pictures that stand where another should: "image not available", error pages, a shop's logo in place of its goods.

Enter IMAGES and DUPLICATES of the whole collection, with METRICS and OCR where there are; leaves PLACEHOLDERS, one row per named
group. A crawl fetches such a picture from thousands of pages, each with the caption of the picture that is missing. So a group
is named when it is large, and its captions have no more to do with each other than those of any two images; a true copy is
described again and again in much the same words. Without captions, text that is read in the picture can tell.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any
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
    least = least_size(len(images), min_size=min_size, min_share=min_share)
    captions = [text for text in images["caption"].to_pylist() if text]
    background = agreement([captions[place] for place in spaced(len(captions), max_captions)])
    rows = []
    for keeper, members in _groups(duplicates, least):
        row = named(
            keeper=keeper,
            identity=images["id"][keeper].as_py(),
            members=images.take(pa.array(members)),
            lines=None if ocr is None else ocr["lines"][keeper].as_py(),
            flatness=None if metrics is None else metrics["flatness"][keeper].as_py(),
            num_images=len(images),
            background=background,
            min_caption_share=min_caption_share,
            max_captions=max_captions,
        )
        rows += [row] if row else []
    return table_of(rows)


def least_size(num_images: int, *, min_size: int, min_share: float) -> int:
    """Return how many images a group has that is looked at."""
    return max(min_size, int(np.ceil(min_share * num_images)))


def named(
    *,
    keeper: int,
    identity: str,
    members: pa.Table,
    lines: Sequence[Mapping[str, Any]] | None,
    flatness: float | None,
    num_images: int,
    background: float | None,
    min_caption_share: float,
    max_captions: int,
) -> dict[str, object] | None:
    """Return the row of PLACEHOLDERS of one group, None when it is none.

    members: caption, uri and group of its images. lines, flatness: of the keeper. background: `agreement` of any two captions.
    """
    said = [text for text in members["caption"].to_pylist() if text]
    enough = len(said) >= max(2, min_caption_share * len(members))
    agreed = agreement([said[place] for place in spaced(len(said), max_captions)]) if enough else None
    read = " ".join(line["text"] for line in lines or [])
    reason = _reason(agreed, background, read)
    if reason is None:
        return None
    places = zip(members["uri"].to_pylist(), members["group"].to_pylist(), strict=True)
    return {
        "id": identity,
        "keeper_row": keeper,
        "size": len(members),
        "share": len(members) / num_images,
        "reason": reason,
        "captions": len({text.strip().lower() for text in said}),
        "caption_agreement": agreed,
        "background_agreement": background,
        "sources": len({_site(uri, group) for uri, group in places}),
        "flatness": flatness,
        "text": read or None,
        "examples": [text[:200] for text in said[:: max(1, len(said) // 5)][:5]],
    }


def table_of(rows: list[dict[str, object]]) -> pa.Table:
    """Return PLACEHOLDERS, the largest first."""
    rows = sorted(rows, key=lambda row: (-int(str(row["size"])), int(str(row["keeper_row"]))))
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


def spaced(count: int, limit: int) -> list[int]:
    """Return up to `limit` evenly spaced places among `count`."""
    return np.unique(np.linspace(0, count - 1, min(limit, count)).astype(int)).tolist() if count else []


def agreement(captions: Sequence[str]) -> float | None:
    """Return the mean Jaccard similarity of the words of two captions, over all pairs; None below two."""
    if len(captions) < 2:
        return None
    words = [set(_WORD.findall(text.lower())) for text in captions]
    return float(np.mean([len(a & b) / max(1, len(a | b)) for a, b in combinations(words, 2)]))


def _reason(agreement: float | None, background: float | None, text: str) -> str | None:
    if TELLING.search(text):
        return "telling_text"
    if agreement is not None and agreement <= max(2 * (background or 0.0), 0.1):
        return "diverse_captions"
    return None


def _site(uri: str, group: str) -> str:
    """Return the host of a URL, or the sub-collection of a local file."""
    return urlsplit(uri).netloc if "://" in uri and not uri.startswith("file:") else group
