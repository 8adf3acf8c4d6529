"""Encoded bytes to pixels under one policy, with a typed code for every way it can fail.

The format is taken from the magic bytes against an allow-list and only that format's Pillow plug-in is opened, so a file can
never reach Ghostscript or a plug-in we did not choose. Caps are checked from the header before any pixel is allocated; no
global of Pillow's is changed, so threads do not disturb each other.
"""

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image, ImageFile, ImageOps
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from curation import tiff
from curation.colour import to_srgb
from curation.errors import DecodeError, FailureCode
from curation.quantisation import AVIF_STEP, UNQUANTISED, table_step, webp_step
from curation.signatures import FORMATS, damage, missing_png_pixels, sniff, webp_size

_OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
    "gif": GifImageFile,
    "avif": AvifImageFile,
    "bmp": BmpImageFile,
    "tiff": TiffImageFile,
}
_LIBRARY_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's plug-ins raise on bad files: they have no common base class."""

_EXIF_ORIENTATION = 0x0112
_EXIF_BASICS = {0x010F: "make", 0x0110: "model", 0x0131: "software", 0x0132: "modified", 0x013B: "artist", 0x8298: "copyright"}
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class DecodePolicy:
    """What an image must be to be used.

    formats: allowed formats, by magic bytes.
    max_encoded_bytes: larger files are `too_large`. max_pixels: larger headers are `bomb`.
    min_side_px: a shorter side is `too_small`. max_aspect: a longer side over the shorter beyond this is `extreme_aspect`.
    animated: use the first frame and flag it, or fail the image with `animated`.
    strict: fail JPEGs whose compressed data holds impossible markers with `corrupt`; lenient decoders show them with a smear.
    """

    formats: tuple[str, ...] = FORMATS
    max_encoded_bytes: int = 256 * 1024 * 1024
    max_pixels: int = 100_000_000
    min_side_px: int = 16
    max_aspect: float = 20.0
    animated: Literal["first_frame", "reject"] = "first_frame"
    strict: bool = False


DEFAULT_POLICY = DecodePolicy()


def judged_policy(*, width_px: int, height_px: int, size_bytes: int) -> DecodePolicy:
    """Return the policy for an image that ingest has accepted: nothing but its own recorded size is a cap."""
    return DecodePolicy(max_pixels=width_px * height_px, max_encoded_bytes=size_bytes, min_side_px=1, max_aspect=float("inf"))


@dataclass(frozen=True)
class ImageHeader:
    """What an image is: format by magic bytes, size in px after EXIF orientation, flags of decoding, plain EXIF fields."""

    format: str
    width_px: int
    height_px: int
    flags: tuple[str, ...] = ()
    exif: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DecodedImage:
    """Pixels uint8 (H, W, 3) in sRGB; width_px and height_px are the original's after EXIF orientation.

    middle: at most `middle_px` x `middle_px` of the picture as it was decoded, before any shrinking; None unless asked for.
    stated_step: quantisation step that the file states, see curation/quantisation.py.
    """

    pixels: np.ndarray
    width_px: int
    height_px: int
    format: str
    flags: tuple[str, ...]
    middle: np.ndarray | None = None
    stated_step: float = UNQUANTISED


def decode(
    data: bytes, *, policy: DecodePolicy = DEFAULT_POLICY, max_side_px: int | None = None, middle_px: int | None = None
) -> DecodedImage:
    """Return the picture in `data` as upright 8-bit sRGB.

    max_side_px: shrink so that the long side is at most this (never enlarges); a JPEG is then decoded at 1/2, 1/4 or 1/8
        of its size where at least twice max_side_px is left, which is 2-4 times faster.
    middle_px: also return the middle of the picture as it is before it is shrunk.
    Raises DecodeError.
    """
    image, header = _open(data, policy)
    picture, notes = _picture(image, header, len(data), None if max_side_px is None else 2 * max_side_px)
    middle = None if middle_px is None else np.array(picture.crop(_middle(picture.size, middle_px)))
    if max_side_px is not None and max(picture.size) > max_side_px:
        picture.thumbnail((max_side_px, max_side_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    flags = (*header.flags, *notes)
    step = UNQUANTISED if middle_px is None else _stated_step(image, header.format, data)
    return DecodedImage(np.array(picture), header.width_px, header.height_px, header.format, flags, middle, step)


def _middle(size: tuple[int, int], side_px: int) -> tuple[int, int, int, int]:
    """Return a box in the middle of a picture that begins at the corner of a block of 8 x 8 pixels."""
    left, top = (max(0, (length - side_px) // 2) // 8 * 8 for length in size)
    return left, top, min(size[0], left + side_px), min(size[1], top + side_px)


def _stated_step(image: ImageFile.ImageFile, image_format: str, data: bytes) -> float:
    if isinstance(image, JpegImageFile) and image.quantization:
        return table_step(image.quantization[min(image.quantization)])
    if image_format == "webp":
        return webp_step(data)
    return AVIF_STEP if image_format == "avif" else UNQUANTISED


def verify(data: bytes, policy: DecodePolicy = DEFAULT_POLICY) -> ImageHeader:
    """Return what the image in `data` is, having read its whole stream; raises DecodeError wherever `decode` would.

    JPEGs are decoded at 1/8 of their size: all compressed data is read, nearly no pixels are made. PNGs are inflated once more,
    for Pillow takes one whose pixels end early and paints the rest black: that is `truncated` here.
    """
    image, header = _open(data, policy)
    if header.format == "png" and (missing := missing_png_pixels(data)):
        raise DecodeError("truncated", f"the PNG's pixels end {missing} bytes early")
    _, notes = _picture(image, header, len(data), 1, sample=True)
    return ImageHeader(header.format, header.width_px, header.height_px, (*header.flags, *notes), header.exif)


def _open(data: bytes, policy: DecodePolicy) -> tuple[ImageFile.ImageFile, ImageHeader]:
    """Return the opened, not yet decoded image and its header, or raise DecodeError by format, caps and structure."""
    image_format = _allowed_format(data, policy)
    if image_format == "webp" and (size := webp_size(data)):
        _check_pixels(size, policy)
    try:
        image = _OPENERS[image_format](io.BytesIO(data))
    except _LIBRARY_ERRORS as error:
        raise _translate(error, data, image_format) from error
    _check_pixels(image.size, policy)
    if found := damage(data, image_format, strict=policy.strict):
        raise DecodeError(*found)
    if isinstance(image, TiffImageFile) and (reason := tiff.wrongly_decoded(image)):
        raise DecodeError("unsupported_format", reason)
    if image_format == "png":
        _load(image, image_format, len(data))  # its EXIF may follow the pixels, and Pillow would load them to look, hiding errors
    header = _header(image, image_format, data)
    _check_shape(header, policy)
    return image, header


def _load(image: ImageFile.ImageFile, image_format: str, size_bytes: int) -> None:
    try:
        image.load()
    except _LIBRARY_ERRORS as error:
        if isinstance(image, TiffImageFile) and (end := tiff.last_byte(image)) > size_bytes:
            raise DecodeError("truncated", f"strips or tiles end at byte {end} of {size_bytes}") from error
        raise _translate(error, b"", image_format) from error


def _allowed_format(data: bytes, policy: DecodePolicy) -> str:
    if not data:
        raise DecodeError("empty", "0 bytes")
    if len(data) > policy.max_encoded_bytes:
        raise DecodeError("too_large", f"{len(data)} bytes, at most {policy.max_encoded_bytes} allowed")
    image_format = sniff(data)
    if image_format is None:
        raise DecodeError("not_an_image", f"the first bytes {data[:8]!r} belong to no image format")
    if image_format not in policy.formats or image_format not in _OPENERS:
        raise DecodeError("unsupported_format", f"{image_format} is not among {', '.join(policy.formats)}")
    return image_format


def _check_pixels(size: tuple[int, int], policy: DecodePolicy) -> None:
    if size[0] * size[1] > policy.max_pixels:
        raise DecodeError("bomb", f"{size[0]}x{size[1]} px, at most {policy.max_pixels} pixels allowed")


def _check_shape(header: ImageHeader, policy: DecodePolicy) -> None:
    short, long = sorted((header.width_px, header.height_px))
    if long > policy.max_aspect * short:
        raise DecodeError("extreme_aspect", f"{header.width_px}x{header.height_px} px, aspect at most {policy.max_aspect}")
    if short < policy.min_side_px:
        raise DecodeError("too_small", f"{header.width_px}x{header.height_px} px, sides at least {policy.min_side_px} px")
    if policy.animated == "reject" and "animated" in header.flags:
        raise DecodeError("animated", "several frames, and the policy is animated: reject")


def _header(image: ImageFile.ImageFile, image_format: str, data: bytes) -> ImageHeader:
    orientation, exif = _exif(image)
    width, height = image.size
    if orientation in _TURNED and image_format != "tiff":  # Pillow turns TIFF itself
        width, height = height, width
    flags = ["multipage" if image_format == "tiff" else "animated"] if _has_frames(image) else []
    deep = tiff.is_deep(image) if isinstance(image, TiffImageFile) else image_format == "png" and data[24:25] == b"\x10"
    flags += ["16bit"] if deep and not image.mode.startswith("I") else []  # of mode I the conversion says it
    flags += ["oriented"] if orientation != 1 else []
    return ImageHeader(image_format, width, height, tuple(flags), exif)


def _has_frames(image: ImageFile.ImageFile) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except _LIBRARY_ERRORS:  # a GIF whose second frame is damaged
        return True


def _exif(image: ImageFile.ImageFile) -> tuple[int, dict[str, str]]:
    """Return the orientation (1 when absent or nonsense) and a few plain text fields; damaged EXIF counts as none."""
    try:
        tags = image.getexif()
        orientation = tags.get(_EXIF_ORIENTATION, 1)
        basics = {name: str(tags[tag]).strip("\0 ") for tag, name in _EXIF_BASICS.items() if tag in tags}
    except _LIBRARY_ERRORS:
        return 1, {}
    return (orientation if orientation in range(1, 9) else 1), {name: text[:200] for name, text in basics.items() if text}


def _picture(
    image: ImageFile.ImageFile,
    header: ImageHeader,
    size_bytes: int,
    draft_side_px: int | None,
    *,
    sample: bool = False,
) -> tuple[Image.Image, list[str]]:
    """Decode, bring to sRGB and turn upright; `sample` keeps only few pixels once everything is decoded."""
    try:
        if draft_side_px is not None and header.format == "jpeg":
            image.draft(None, (draft_side_px, draft_side_px))
        _load(image, header.format, size_bytes)
        picture: Image.Image = image
        if isinstance(image, TiffImageFile):
            picture = tiff.black_at_zero(image)
        if sample and image.mode in ("L", "RGB", "CMYK") and "transparency" not in image.info:
            picture = _few_pixels(image)
        picture, notes = to_srgb(picture)
        return _upright(picture, image, header), notes
    except _LIBRARY_ERRORS as error:
        raise _translate(error, b"", header.format) from error


def _few_pixels(image: Image.Image) -> Image.Image:
    few = image.resize((min(image.width, 16), min(image.height, 16)), Image.Resampling.NEAREST)
    few.info = image.info
    return few


def _upright(picture: Image.Image, image: ImageFile.ImageFile, header: ImageHeader) -> Image.Image:
    if "oriented" not in header.flags or header.format == "tiff":
        return picture
    picture.getexif()[_EXIF_ORIENTATION] = image.getexif()[_EXIF_ORIENTATION]
    return ImageOps.exif_transpose(picture)


def _translate(error: BaseException, data: bytes, image_format: str) -> DecodeError:
    if isinstance(error, DecodeError):
        return error
    text = str(error) or type(error).__name__
    lower = text.lower()
    code: FailureCode = "corrupt"
    if isinstance(error, (MemoryError, Image.DecompressionBombError)) or any(word in lower for word in _BOMB_WORDS):
        code = "bomb"
    elif isinstance(error, EOFError) or any(word in lower for word in _CUT_WORDS):
        code = "truncated"
    elif isinstance(error, NotImplementedError) or any(word in lower for word in _UNKNOWN_WORDS):
        code = "unsupported_format"
    elif data and (found := damage(data, image_format)) and found[0] == "truncated":
        return DecodeError(*found)
    return DecodeError(code, text)


_BOMB_WORDS = ("decompressed data too large", "too much memory used", "decompression bomb")
_CUT_WORDS = ("truncated", "unexpected end", "end of file", "not enough data")
_UNKNOWN_WORDS = ("unsupported", "unknown pixel mode", "unknown compression", "unknown data organization", "not available")
