"""One item of a source before it is judged: where its bytes are and everything the source says of it.

Text from outside is made safe here once: any bytes become valid UTF-8, any value becomes JSON that every reader accepts.
"""

import json
import math
import os
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import TypeAlias

from curation.errors import FailureCode

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .avif .avifs .bmp .dib .tif .tiff "
    ".svg .heic .heif .jxl .jp2 .j2k .eps .pdf .psd .ico .icns .exr .hdr .ppm .pgm .pbm .pnm .qoi .dds .tga .xcf".split()
)
"""Suffixes of files that claim to be images; whether they are, their bytes decide."""

PATH_FIELDS = ("file_name", "path", "image_path", "filepath", "file_path", "file", "filename", "image", "img_path", "img")
"""Names of a column that holds the path of an image, the first that exists is used."""

CAPTION_FIELDS = ("caption", "captions", "text", "prompt", "alt_text", "alt", "description")
"""Names of a field that holds the image's caption, the first non-empty one is used."""

_MAX_CAPTIONS = 20


@dataclass(frozen=True)
class Item:
    """An image of a source: the address of its bytes, its names, and what the source says of it.

    container, member, offset, length, key, group: as in IMAGES. path: the local file behind uri.
    encoded: the bytes where they are at hand already (parquet), else None: they are read from path.
    code, detail: why there is nothing to decode.
    """

    path: str
    container: str
    key: str
    group: str
    member: str | None = None
    offset: int | None = 0
    length: int | None = None
    caption: str | None = None
    fields: dict[str, Json] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    encoded: bytes | None = None
    code: FailureCode | None = None
    detail: str | None = None


SIDECAR_SUFFIXES = (".txt", ".caption", ".json")
"""Suffixes of files beside an image that hold its caption or fields."""


def sidecar_names(name: str) -> list[str]:
    """Return the names that sidecars of an image file may have: its own with the suffix replaced or appended."""
    return [base + suffix for base in dict.fromkeys((os.path.splitext(name)[0], name)) for suffix in SIDECAR_SUFFIXES]


def clean_text(text: str) -> str:
    r"""Return `text` as valid Unicode: a byte of a file name that is not UTF-8 becomes \xff, a lone surrogate \ud800."""
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape" if _is_file_name(text) else "backslashreplace").decode(
            "utf-8", "backslashreplace"
        )


def _is_file_name(text: str) -> bool:
    return all(not 0xD800 <= ord(letter) <= 0xDFFF or 0xDC80 <= ord(letter) <= 0xDCFF for letter in text)


def decode_text(encoded: bytes) -> str:
    """Return a caption file's text: UTF-8 or marked UTF-16, without byte order mark and outer blanks; bad bytes become U+FFFD."""
    is_utf16 = encoded[:2] in (b"\xff\xfe", b"\xfe\xff")
    return encoded.decode("utf-16" if is_utf16 else "utf-8-sig", "replace").strip()


def decode_json(encoded: bytes) -> dict[str, Json]:
    """Return a JSON file's object; another value is returned under "json", unreadable text under "json_unreadable"."""
    text = decode_text(encoded)
    try:
        value = plain(json.loads(text))
    except (ValueError, RecursionError):
        return {"json_unreadable": clean_text(text[:10_000])}
    return value if isinstance(value, dict) else {"json": value}


def plain(value: object) -> Json:
    """Return `value` as JSON values only: NaN becomes null, dates ISO text, bytes their number."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean_text(str(name)): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    return value.isoformat() if isinstance(value, (datetime, date, time)) else clean_text(str(value))


def caption_of(fields: dict[str, Json]) -> str | None:
    """Return the caption that a source's fields hold; of several captions, in a list or by name, the first."""
    return next((text for name in CAPTION_FIELDS if (text := _first_text(fields.get(name)))), None)


def _first_text(value: Json) -> str | None:
    if isinstance(value, dict):
        return caption_of(value) or _first_text(list(value.values()))
    if isinstance(value, list):
        return next((text for one in value[:_MAX_CAPTIONS] if (text := _first_text(one))), None)
    return (value.strip() or None) if isinstance(value, str) else None


def path_field(names: list[str]) -> str | None:
    """Return the column among `names` that holds paths, or None."""
    return next((name for name in PATH_FIELDS if name in names), None)


def group_of(root: str, path: str, *, is_container: bool) -> str:
    """Return the sub-collection of a file: its first folder below `root`, else a container's stem, else root's own name."""
    first, slash, _ = os.path.relpath(path, root).replace(os.sep, "/").partition("/")
    if slash:
        return clean_text(first)
    return clean_text(os.path.splitext(first)[0] if is_container else os.path.basename(root) or root)


def is_image_name(name: str) -> bool:
    """Say whether a file name claims an image: a known suffix, or none at all."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in IMAGE_SUFFIXES or not suffix
