"""The pictures of edit pairs in one tar, each once, with where its bytes lie; untouched images of the collection by their row.

Pictures and masks are PNG, so that source and target agree to the bit outside the mask, or JPEG where space counts for more.
"""

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from curation import tar
from curation.text_lines import Pixels

Encoding = Literal["png", "jpeg"]
JPEG_QUALITY = 95
PLAIN_FORMATS = ("jpeg", "png")
"""Formats that every reader of shards decodes; pictures of others are encoded anew."""


class Album:
    """A tar being written."""

    def __init__(self, path: Path, *, encoding: Encoding = "png") -> None:
        self.path, self.encoding = path, encoding
        self._file = path.open("wb")
        self._places: dict[str, dict[str, Any]] = {}

    def add(self, name: str, pixels: Pixels) -> dict[str, Any]:
        """Return the EDIT_PICTURE of a picture, (H, W, 3) or a mask (H, W); a name that is there already is not written again."""
        if name not in self._places:
            lossless = self.encoding == "png" or pixels.ndim == 2
            encoded = encode(pixels, "png" if lossless else "jpeg")
            offset = tar.append(self._file, f"{name}.{'png' if lossless else 'jpg'}", encoded)
            self._places[name] = _place(pixels.shape[1], pixels.shape[0], file=self.path.name, offset=offset, length=len(encoded))
        return self._places[name]

    def close(self) -> None:
        """End the archive."""
        tar.finish(self._file)
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)


def untouched(row: int, *, width: int, height: int) -> dict[str, Any]:
    """Return the EDIT_PICTURE of an image of the collection, whose own bytes are taken."""
    return _place(width, height, row=row)


def is_plain(image: dict[str, Any], *, max_side_px: int) -> bool:
    """Say whether an image's own bytes serve: JPEG or PNG that decoding neither turned nor converted, and not too large."""
    simple = image["format"] in PLAIN_FORMATS and not image["flags"]
    return simple and max(image["width"], image["height"]) <= max_side_px


def encode(pixels: Pixels, encoding: Encoding) -> bytes:
    """Return PNG, or JPEG of quality 95 without chroma subsampling, of RGB or grey pixels."""
    bgr = np.ascontiguousarray(pixels[:, :, ::-1]) if pixels.ndim == 3 else pixels
    if encoding == "png":
        return bytes(cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 6])[1].tobytes())
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return bytes(cv2.imencode(".jpg", bgr, options)[1].tobytes())


def _place(
    width: int,
    height: int,
    *,
    row: int | None = None,
    file: str | None = None,
    offset: int | None = None,
    length: int | None = None,
) -> dict[str, Any]:
    return {"row": row, "file": file, "offset": offset, "length": length, "width": width, "height": height}
