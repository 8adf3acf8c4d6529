"""What an encoded image is by its own bytes, without decoding it: format by magic numbers, and whether the stream is whole.

File names and media types lie, and letting a library try all its plug-ins runs code for formats we refuse (Pillow hands EPS to
Ghostscript). So the first bytes decide the format, and a walk over the container's own structure finds a cut or damaged file
with an exact reason, which decoders report in many ways or not at all.
"""

import re
import struct
import zlib
from collections.abc import Iterator

from curation.errors import FailureCode

FORMATS = ("jpeg", "png", "webp", "gif", "avif", "bmp", "tiff")
"""Formats we decode."""

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"%!PS", "eps"),
    (b"\xc5\xd0\xd3\xc6", "eps"),
    (b"%PDF-", "pdf"),
    (b"\xff\x0a", "jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"8BPS", "psd"),
    (b"gimp xcf", "xcf"),
    (b"DDS ", "dds"),
    (b"qoif", "qoi"),
    (b"icns", "icns"),
    (b"v/1\x01", "openexr"),
    (b"#?RADIANCE", "hdr"),
)
_MAX_SCANS = 500  # encoders write about 10; thousands keep a decoder busy for hours
_INFLATE_BYTES = 1 << 18
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_DIB_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes of BMP's second header, the only check "BM" leaves us
_ICON = re.compile(rb"\0\0[\1\2]\0[\1-\x40]\0")
_PNM = re.compile(rb"P[1-7]\s+[#0-9W]")
_HTML = re.compile(rb"<!DOCTYPE html|<html", re.IGNORECASE)
_SVG = re.compile(rb"<svg[\s>]|<!DOCTYPE svg", re.IGNORECASE)


def sniff(data: bytes) -> str | None:
    """Return the image format that the first bytes announce, supported or not; None when they announce no image."""
    for prefix, name in _PREFIXES:
        if data.startswith(prefix):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _brand(data)
    if data[:2] == b"BM" and len(data) >= 18 and int.from_bytes(data[14:18], "little") in _DIB_SIZES:
        return "bmp"
    if _ICON.match(data):
        return "ico"
    if _PNM.match(data):
        return "pnm"
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return "svg" if head.startswith(b"<") and not _HTML.match(head) and _SVG.search(head) else None


def _brand(data: bytes) -> str | None:
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[start : start + 4] for start in range(16, size, 4))]
    if b"avif" in brands or b"avis" in brands:
        return "avif"
    return "heic" if any(brand in _HEIF_BRANDS for brand in brands) else None


def damage(data: bytes, image_format: str, *, strict: bool = False) -> tuple[FailureCode, str] | None:
    """Return (code, why) when the structure of the stream shows it, else None.

    strict: also report a JPEG whose compressed data holds markers that cannot stand there. Overwritten bytes nearly always
        contain one (a random kilobyte: four on average), but a run of zeros or one flipped bit does not.
    """
    if image_format == "jpeg":
        return _jpeg_damage(data, strict=strict)
    if image_format == "png":
        return _png_damage(data)
    if image_format == "webp" and len(data) < int.from_bytes(data[4:8], "little") + 8:
        return "truncated", f"RIFF announces {int.from_bytes(data[4:8], 'little') + 8} bytes, found {len(data)}"
    if image_format == "avif":
        return _box_damage(data)
    return None


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Return WebP's (width, height) from its header; Pillow would allocate the canvas to tell it."""
    chunk = data[12:16]
    if chunk == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if chunk == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


_STRAY_MARKER = re.compile(rb"\xff+[\x01-\xbf\xc0-\xc3\xc5-\xcf\xd8\xde-\xdf\xf0-\xfd]")
"""0xFF followed by a byte that is neither stuffing, a restart, nor a marker that may follow a scan (ITU-T T.81, table B.1)."""


def _jpeg_damage(data: bytes, *, strict: bool) -> tuple[FailureCode, str] | None:
    scan = _jpeg_scan(data)
    if scan is None:
        return "truncated", "the JPEG ends before its first scan"
    end = data.rfind(b"\xff\xd9", scan)
    if end < 0:
        return "truncated", "the JPEG has no end marker (EOI)"
    if (scans := data.count(b"\xff\xda", scan, end)) > _MAX_SCANS:
        return "bomb", f"the JPEG has {scans} scans, each of which repaints the picture"
    if strict and (stray := _STRAY_MARKER.search(data, scan, data.find(b"\xff\xd9", scan))):
        return "corrupt", f"marker {stray.group()[-1]:#04x} inside the compressed data at byte {stray.start()}"
    return None


def _jpeg_scan(data: bytes) -> int | None:
    """Return where the first scan's header ends: segments before it may hold whole thumbnails, end marker included."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            position += 1  # garbage between segments: decoders skip it too
        elif data[position + 1] in (0x00, 0x01, 0xFF) or 0xD0 <= data[position + 1] <= 0xD8:
            position += 2 if data[position + 1] != 0xFF else 1
        else:
            marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
            position += 2 + length
            if marker == 0xDA:
                return position if position <= len(data) else None
    return None


def _png_damage(data: bytes) -> tuple[FailureCode, str] | None:
    for kind, start, length in _png_chunks(data):
        end = start + length
        if end + 4 > len(data):
            return "truncated", f"chunk {kind!r} wants {length} bytes, {max(0, len(data) - start)} are left"
        if zlib.crc32(memoryview(data)[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return "corrupt", f"checksum of chunk {kind!r} does not match"
        if kind == b"IEND":
            return None
    return "truncated", "the PNG has no end chunk (IEND)"


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    position = 8
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : position + 8], position + 8, length
        position += length + 12


_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The interlacing passes of PNG: first column, first row, column step, row step (PNG specification, 8.2)."""
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def missing_png_pixels(data: bytes) -> int:
    """Return how many bytes of pixels a structurally whole PNG lacks: Pillow would fill them with black and say nothing."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    bits, found, inflater = depth * _PNG_CHANNELS.get(colour, 1), 0, zlib.decompressobj()
    wanted = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        wanted += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    for kind, start, length in _png_chunks(data):
        packed = data[start : start + length] if kind == b"IDAT" else b""
        while packed and found < wanted and not inflater.eof:
            found += len(inflater.decompress(packed, _INFLATE_BYTES))
            packed = inflater.unconsumed_tail
    found += 0 if found >= wanted else len(inflater.flush())
    return max(0, wanted - found)


def _box_damage(data: bytes) -> tuple[FailureCode, str] | None:
    position = 0
    while position + 8 <= len(data):
        size, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size == 0:
            return None  # the last box runs to the end of the file
        if size < 8:
            return "corrupt", f"box {kind!r} has size {size}"
        if position + size > len(data) and kind in (b"ftyp", b"meta", b"mdat", b"moov"):
            return "truncated", f"box {kind!r} wants {size} bytes, {len(data) - position} are left"
        position += size
    return None
