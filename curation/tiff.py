"""Where Pillow decodes a TIFF to wrong pixels without a word, or reports a cut one as damaged."""

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

_BITS, _PHOTOMETRIC, _PLANES = 258, 262, 284  # tag numbers of TIFF 6.0, part 1, section 8
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_WHITE_IS_ZERO, _SEPARATE = 0, 2


def wrongly_decoded(image: TiffImageFile) -> str | None:
    """Return why Pillow would give wrong pixels: it reads deep samples in separate planes as bytes."""
    if max(_tags(image, _BITS), default=1) > 8 and _tags(image, _PLANES) == (_SEPARATE,):
        return "a TIFF with separate planes of more than 8 bits"
    return None


def black_at_zero(image: TiffImageFile) -> Image.Image:
    """Return the loaded picture with 0 as black; Pillow inverts white-is-zero pictures of 8 bits only."""
    if image.mode.startswith("I;16") and _tags(image, _PHOTOMETRIC) == (_WHITE_IS_ZERO,):
        inverted = Image.fromarray(65535 - np.asarray(image).astype(np.uint16))
        inverted.info = image.info
        return inverted
    return image


def is_deep(image: TiffImageFile) -> bool:
    """Say whether samples have 16 bits, of which Pillow keeps the upper 8."""
    return 16 in _tags(image, _BITS)


def last_byte(image: TiffImageFile) -> int:
    """Return the byte after the last strip or tile, 0 when the TIFF does not say."""
    starts = _tags(image, _STRIPS) or _tags(image, _TILES)
    lengths = _tags(image, _STRIP_BYTES) or _tags(image, _TILE_BYTES)
    return max((start + length for start, length in zip(starts, lengths, strict=False)), default=0)


def _tags(image: TiffImageFile, tag: int) -> tuple[int, ...]:
    values = image.tag_v2.get(tag, ())
    return tuple(value for value in (values if isinstance(values, tuple) else (values,)) if isinstance(value, int))
