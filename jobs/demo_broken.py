"""Files that break image pipelines, each with the failure code it must get, and odd ones that must be read all the same.

Everything is built from bytes here: a collection from the web holds empty downloads, error pages named .jpg, cut transfers and
decompression bombs, and a run must end with a row and a reason for each of them.
"""

import csv
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

BOMB_SIDE_PX = 20_000
"""Side of the one-bit bomb: 400 megapixels in 50 kB."""
BOMB_TEXT_BYTES = 100_000_000
"""Unpacked length of the text chunk of the other bomb."""

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
ERROR_PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"
DRAWING = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><circle r="30"/></svg>\n'
NOTE = b"This is a plain text file that somebody renamed.\n"


def write_broken(folder: Path, *, seed: int) -> int:
    """Write one file per entry of BROKEN and expected.csv (name, error); return how many files."""
    folder.mkdir(parents=True)
    for index, (name, (make, _)) in enumerate(BROKEN.items()):
        (folder / name).write_bytes(make(np.random.default_rng([seed, 5, index])))
    with (folder / "expected.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = sorted((name, code) for name, (_, code) in BROKEN.items())
        csv.writer(stream, lineterminator="\n").writerows([("name", "error"), *rows])
    return len(BROKEN)


def write_unusual(folder: Path, *, seed: int) -> int:
    """Write one file per entry of UNUSUAL: legal pictures that are often read wrongly; return how many."""
    folder.mkdir(parents=True)
    for index, (name, make) in enumerate(UNUSUAL.items()):
        (folder / name).write_bytes(make(np.random.default_rng([seed, 6, index])))
    return len(UNUSUAL)


def scene(generator: np.random.Generator, *, width_px: int = 400, height_px: int = 300) -> Image.Image:
    """Return a drawn landscape, RGB: sky, hills and trees whose places and colours come from the generator."""
    image = Image.new("RGB", (width_px, height_px), _colour(generator, low=150))
    draw = ImageDraw.Draw(image)
    sun_x, sun_y = generator.uniform(0.1, 0.9) * width_px, generator.uniform(0.1, 0.3) * height_px
    draw.circle((sun_x, sun_y), height_px * 0.09, fill=_colour(generator, low=200))
    x = np.linspace(0, width_px, 80)
    for layer in range(3):
        waves = np.sin(x / width_px * generator.uniform(4, 14) + generator.uniform(0, 6))
        ridge = height_px * (0.45 + 0.16 * layer + 0.07 * waves)
        outline = [*zip(x.tolist(), ridge.tolist(), strict=True), (width_px, height_px), (0, height_px)]
        draw.polygon(outline, fill=_colour(generator, low=30, high=170))
    for _ in range(12):
        left, foot, size = generator.uniform(0, width_px), generator.uniform(0.7, 1) * height_px, height_px * 0.1
        tree = [(left, foot), (left + size / 2, foot - 1.6 * size), (left + size, foot)]
        draw.polygon(tree, fill=_colour(generator, low=10, high=110))
    return image


def _colour(generator: np.random.Generator, *, low: int, high: int = 256) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in generator.integers(low, high, 3))
    return red, green, blue


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    encoded = BytesIO()
    image.save(encoded, kind, **options)
    return encoded.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a PNG chunk: length, type, content and CRC-32 (PNG specification, section 5.3)."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width_px: int, height_px: int, bits: int, packed: bytes, *between: bytes) -> bytes:
    """Return a grey PNG from packed scan lines, with other chunks between header and pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width_px, height_px, bits, 0, 0, 0, 0))
    return PNG_MAGIC + header + b"".join(between) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def _packed_zeros(size_bytes: int) -> bytes:
    """Compress zeros piece by piece, so that making a bomb does not need the memory it wants to take."""
    packer, block = zlib.compressobj(9), bytes(1 << 20)
    pieces = [packer.compress(block) for _ in range(size_bytes >> 20)]
    return b"".join([*pieces, packer.compress(bytes(size_bytes % (1 << 20))), packer.flush()])


def _pixel_bomb(generator: np.random.Generator) -> bytes:
    line_bytes = 1 + BOMB_SIDE_PX // 8  # each scan line begins with its filter type
    return _png(BOMB_SIDE_PX, BOMB_SIDE_PX, 1, _packed_zeros(line_bytes * BOMB_SIDE_PX))


def _text_bomb(generator: np.random.Generator) -> bytes:
    text = png_chunk(b"zTXt", b"Comment\0\0" + _packed_zeros(BOMB_TEXT_BYTES))
    return _png(64, 64, 8, zlib.compress(bytes(65 * 64)), text)


def _false_header(generator: np.random.Generator) -> bytes:
    return _png(60_000, 60_000, 8, zlib.compress(bytes(1000)))


def _wrong_crc(generator: np.random.Generator) -> bytes:
    """Flip one bit of the header's checksum (its last byte is byte 32 of the file)."""
    whole = bytearray(_encode(scene(generator), "PNG"))
    whole[32] ^= 1
    return bytes(whole)


def _damaged_pixels(generator: np.random.Generator) -> bytes:
    """Overwrite the middle of a PNG's compressed pixels with noise."""
    whole = bytearray(_encode(scene(generator), "PNG"))
    middle = len(whole) // 2
    whole[middle : middle + 64] = generator.bytes(64)
    return bytes(whole)


def _cut(kind: str) -> Callable[[np.random.Generator], bytes]:
    def cut(generator: np.random.Generator) -> bytes:
        whole = _encode(scene(generator), kind)
        return whole[: len(whole) // 2]

    return cut


def _heic(generator: np.random.Generator) -> bytes:
    """Return the first box of a phone's HEIC file and noise after it."""
    return struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + generator.bytes(2000)


BROKEN: dict[str, tuple[Callable[[np.random.Generator], bytes], str]] = {
    "empty.jpg": (lambda generator: b"", "empty"),
    "random-bytes.jpg": (lambda generator: b"\x00" + generator.bytes(5000), "not_an_image"),
    "error-page.jpg": (lambda generator: ERROR_PAGE, "not_an_image"),
    "note.png": (lambda generator: NOTE, "not_an_image"),
    "cut.jpg": (_cut("JPEG"), "truncated"),
    "cut.png": (_cut("PNG"), "truncated"),
    "wrong-crc.png": (_wrong_crc, "corrupt"),
    "damaged-pixels.png": (_damaged_pixels, "corrupt"),
    "pixel-bomb.png": (_pixel_bomb, "bomb"),
    "text-bomb.png": (_text_bomb, "bomb"),
    "false-header.png": (_false_header, "bomb"),
    "one-pixel.png": (lambda generator: _encode(scene(generator, width_px=1, height_px=1), "PNG"), "too_small"),
    "strip.png": (lambda generator: _encode(Image.new("RGB", (5000, 3), "navy"), "PNG"), "extreme_aspect"),
    "drawing.png": (lambda generator: DRAWING, "unsupported_format"),
    "phone.jpg": (_heic, "unsupported_format"),
}
"""File name -> (how to make its bytes, the failure code that IMAGES.error must show)."""


def _oriented(generator: np.random.Generator) -> bytes:
    """Return a JPEG that lies on its side, with EXIF orientation 6: to be shown turned right by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encode(scene(generator).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif)


def _grey_16_bit(generator: np.random.Generator) -> bytes:
    grey = np.asarray(scene(generator).convert("L"), dtype=np.uint16) * 257
    return _encode(Image.fromarray(grey), "PNG")


def _animation(generator: np.random.Generator) -> bytes:
    frames = [scene(generator) for _ in range(4)]
    return _encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=200, loop=0)


def _see_through(generator: np.random.Generator) -> bytes:
    """Return a PNG whose alpha fades from left to right."""
    image = scene(generator).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").rotate(90).resize(image.size))
    return _encode(image, "PNG")


def _palette_hole(generator: np.random.Generator) -> bytes:
    return _encode(scene(generator).quantize(32), "PNG", transparency=0)


UNUSUAL: dict[str, Callable[[np.random.Generator], bytes]] = {
    "cmyk.jpg": lambda generator: _encode(scene(generator).convert("CMYK"), "JPEG", quality=92),
    "16-bit.png": _grey_16_bit,
    "on-its-side.jpg": _oriented,
    "animation.gif": _animation,
    "see-through.png": _see_through,
    "palette-hole.png": _palette_hole,
    "gif-inside.jpg": lambda generator: _encode(scene(generator), "GIF"),
    "bytes-behind.jpg": lambda generator: _encode(scene(generator), "JPEG", quality=92) + generator.bytes(999),
    "progressive.jpg": lambda generator: _encode(scene(generator), "JPEG", quality=92, progressive=True),
}
"""File name -> how to make its bytes; every one of them decodes."""
