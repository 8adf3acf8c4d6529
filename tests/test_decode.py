"""One policy for all encoded images: what is accepted, what is refused with which code, and that colours come out right."""

import io
import struct
import threading
import zlib
from functools import cache

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin
from skimage import data as pictures

from curation.decode import DecodePolicy, decode, verify
from curation.errors import DecodeError
from curation.signatures import sniff

SMALL = DecodePolicy(min_side_px=1, max_aspect=1e9)


@cache
def photo() -> Image.Image:
    return Image.fromarray(pictures.astronaut()).resize((256, 192))


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@cache
def jpeg() -> bytes:
    return encode(photo(), "JPEG", quality=90)


def code_of(encoded: bytes, policy: DecodePolicy = SMALL) -> str:
    """The code that both decode and verify fail with."""
    codes = []
    for read in (lambda: decode(encoded, policy=policy), lambda: verify(encoded, policy)):
        with pytest.raises(DecodeError) as caught:
            read()
        codes.append(caught.value.code)
    assert codes[0] == codes[1]
    return codes[0]


def difference(image: Image.Image, pixels: np.ndarray) -> float:
    return float(np.abs(np.asarray(image.convert("RGB"), np.int16) - pixels).mean())


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, packed: bytes, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", packed), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF"]


@pytest.mark.parametrize("image_format", FORMATS)
def test_every_allowed_format_decodes_to_the_same_picture(image_format):
    decoded = decode(encode(photo(), image_format))
    assert (decoded.format, decoded.width_px, decoded.height_px) == (image_format.lower(), 256, 192)
    assert decoded.pixels.shape == (192, 256, 3) and decoded.pixels.dtype == np.uint8
    assert difference(photo(), decoded.pixels) < 6  # GIF's 256 colours and the lossy formats' defaults


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_cut_file_is_truncated(image_format, share):
    encoded = encode(photo(), image_format)
    assert code_of(encoded[: int(len(encoded) * share)]) == "truncated"


@pytest.mark.parametrize(
    "encoded", [jpeg()[:20], jpeg()[:-2], b"\xff\xd8\xff", encode(photo(), "PNG")[:30], b"RIFF\0\1\0\0WEBPVP8 "]
)
def test_file_cut_at_an_edge_is_truncated(encoded):
    assert code_of(encoded) == "truncated"


def test_jpeg_cut_after_a_thumbnail_with_its_own_end_is_truncated():
    thumbnail = encode(photo().resize((32, 24)), "JPEG")
    whole = encode(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail)
    cut = whole[: len(whole) // 2]
    assert b"\xff\xd9" in cut
    assert code_of(cut) == "truncated"


@pytest.mark.parametrize(
    ("encoded", "code"),
    [
        (b"", "empty"),
        (b"\0" * 4096, "not_an_image"),
        (np.random.default_rng(0).bytes(4096), "not_an_image"),
        (b"<!DOCTYPE html><html><body>404 <svg viewBox='0 0 1 1'></svg></body></html>", "not_an_image"),
        (b"Just a text that begins with BM or not", "not_an_image"),
        (b"BM is how this text begins, but it is no bitmap", "not_an_image"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "unsupported_format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unsupported_format"),
        (b"%PDF-1.7\n", "unsupported_format"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported_format"),
        (b"\xff\x0a" + b"\0" * 60, "unsupported_format"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 60, "unsupported_format"),
        (b"8BPS\0\1" + b"\0" * 60, "unsupported_format"),
        (b"P6\n2 2\n255\n" + b"\0" * 12, "unsupported_format"),
        (encode(Image.new("RGB", (64, 64)), "ICO"), "unsupported_format"),
    ],
)
def test_other_bytes_are_refused_by_what_they_are(encoded, code):
    assert code_of(encoded) == code


def test_format_outside_the_policy_is_unsupported():
    assert code_of(jpeg(), DecodePolicy(formats=("png",))) == "unsupported_format"


def test_magic_bytes_decide_the_format():
    assert verify(encode(photo(), "GIF")).format == "gif"
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "avif"


def test_trailing_bytes_do_not_hurt():
    assert difference(photo(), decode(jpeg() + b"garbage" * 99).pixels) < 5


def test_flipped_byte_in_a_png_is_corrupt():
    encoded = bytearray(encode(photo(), "PNG"))
    encoded[len(encoded) // 2] ^= 0xFF
    assert code_of(bytes(encoded)) == "corrupt"


@pytest.mark.parametrize("rows", [0, 30, 63])
def test_png_whose_pixels_end_early_is_truncated(rows):
    with pytest.raises(DecodeError, match="truncated"):
        verify(png(64, 64, 8, 0, zlib.compress(bytes(65 * rows))))


def test_interlaced_png_is_whole():
    """Adam7 of a 20x17 one-channel picture: pass sizes counted by hand from the specification's grid."""
    packed = zlib.compress(bytes(3 * 4 + 3 * 3 + 2 * 6 + 5 * 6 + 4 * 11 + 9 * 11 + 8 * 21))
    with pytest.raises(DecodeError, match="truncated"):
        verify(_interlaced(zlib.compress(bytes(3 * 4 + 3 * 3 + 2 * 6 + 5 * 6 + 4 * 11 + 9 * 11 + 8 * 21 - 1))))
    assert verify(_interlaced(packed)).width_px == 20


def _interlaced(packed: bytes) -> bytes:
    parts = (png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 17, 8, 0, 0, 0, 1)), png_chunk(b"IDAT", packed))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + png_chunk(b"IEND", b"")


def test_orientation_after_the_pixels_of_a_png_is_applied():
    whole = encode(photo(), "PNG")
    exif = png_chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0")
    assert verify(whole[:-12] + exif + whole[-12:]).width_px == 192


def overwritten_jpeg() -> bytes:
    middle = len(jpeg()) // 2
    return jpeg()[:middle] + np.random.default_rng(1).bytes(1024) + jpeg()[middle + 1024 :]


def test_overwritten_jpeg_is_corrupt_in_strict_mode():
    assert code_of(overwritten_jpeg(), DecodePolicy(strict=True)) == "corrupt"


def test_overwritten_jpeg_is_shown_as_decoders_do_by_default():
    assert decode(overwritten_jpeg()).pixels.shape == (192, 256, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 4}])
def test_whole_jpeg_passes_strict_mode(options):
    assert verify(encode(photo(), "JPEG", **options), DecodePolicy(strict=True)).format == "jpeg"


def test_huge_one_bit_png_is_a_bomb():
    packed = zlib.compress(bytes(2501 * 20000), 1)
    assert code_of(png(20000, 20000, 1, 0, packed)) == "bomb"


@pytest.mark.parametrize(
    "encoded",
    [
        png(60000, 60000, 8, 2, zlib.compress(b"\0")),
        b"GIF89a" + struct.pack("<HHBBB", 60000, 60000, 0, 0, 0) + b",\0\0\0\0" + struct.pack("<HHB", 60000, 60000, 0) + b"\2\0;",
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\x00\xff\xff\x00",
    ],
)
def test_false_header_is_a_bomb(encoded):
    assert code_of(encoded) == "bomb"


def test_huge_compressed_text_chunk_is_a_bomb():
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 1))
    assert code_of(png(2, 2, 8, 0, zlib.compress(b"\0\1\2\0\3\4"), text)) == "bomb"


def test_jpeg_of_endless_scans_is_a_bomb():
    progressive = encode(photo(), "JPEG", progressive=True)
    last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    assert code_of(progressive[:-2] + last_scan * 1000 + b"\xff\xd9") == "bomb"


def test_more_bytes_than_allowed_is_too_large():
    assert code_of(jpeg(), DecodePolicy(max_encoded_bytes=1000)) == "too_large"


def test_one_pixel_is_too_small():
    assert code_of(encode(Image.new("RGB", (1, 1)), "PNG"), DecodePolicy()) == "too_small"


def test_long_strip_has_an_extreme_aspect():
    assert code_of(encode(Image.new("RGB", (5000, 3)), "PNG"), DecodePolicy()) == "extreme_aspect"


def animation(image_format: str) -> bytes:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue")]
    return encode(frames[0], image_format, save_all=True, append_images=frames[1:], duration=50)


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_animation_gives_its_first_frame_and_says_so(image_format):
    decoded = decode(animation(image_format))
    assert decoded.flags == ("animated",)
    assert np.abs(decoded.pixels.reshape(-1, 3).mean(0) - (255, 0, 0)).max() < 6  # lossy formats


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_animation_can_be_rejected(image_format):
    assert code_of(animation(image_format), DecodePolicy(animated="reject")) == "animated"


def test_first_page_of_a_tiff_is_not_an_animation():
    pages = encode(photo(), "TIFF", save_all=True, append_images=[photo()])
    assert verify(pages, DecodePolicy(animated="reject")).flags == ("multipage",)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [2, 3, 6, 7])
def test_exif_orientation_is_applied(image_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
    }
    encoded = encode(photo().transpose(undo[orientation]), image_format, exif=exif.tobytes())
    decoded, header = decode(encoded), verify(encoded)
    assert decoded.flags == header.flags == ("oriented",)
    assert (decoded.width_px, decoded.height_px) == (header.width_px, header.height_px) == (256, 192)
    assert difference(photo(), decoded.pixels) < 6


def test_nonsense_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 99
    assert verify(encode(photo(), "JPEG", exif=exif.tobytes())).flags == ()


def test_damaged_exif_does_not_lose_the_image():
    assert verify(encode(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).width_px == 256


def test_exif_basics_come_with_the_header():
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Model 1"
    assert verify(encode(photo(), "JPEG", exif=exif.tobytes())).exif == {"make": "Maker", "model": "Model 1"}


def test_sixteen_bit_grey_is_scaled_not_clipped():
    grey = np.asarray(photo().convert("L"))
    encoded = encode(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    decoded = decode(encoded)
    assert decoded.flags == verify(encoded).flags == ("16bit",)
    assert np.array_equal(decoded.pixels[..., 0], grey)


def test_sixteen_bit_grey_tiff_is_scaled():
    grey = np.asarray(photo().convert("L"))
    assert np.array_equal(decode(encode(Image.fromarray(grey.astype(np.uint16) * 257), "TIFF")).pixels[..., 1], grey)


def test_sixteen_bit_rgb_is_scaled():
    colours = np.asarray(photo()).astype(">u2") * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    encoded = png(256, 192, 16, 2, zlib.compress(rows))
    decoded = decode(encoded)
    assert decoded.flags == verify(encoded).flags == ("16bit",)
    assert np.array_equal(decoded.pixels, np.asarray(photo()))


def test_float_tiff_in_unit_range_is_scaled_and_flagged():
    grey = np.asarray(photo().convert("L"))
    encoded = encode(Image.fromarray(grey.astype(np.float32) / 255), "TIFF")
    decoded = decode(encoded)
    assert decoded.flags == verify(encoded).flags == ("float",)
    assert np.array_equal(decoded.pixels[..., 0], grey)


@pytest.mark.parametrize("scale", [-1.0, 1000.0, np.nan])
def test_float_tiff_outside_unit_range_is_unsupported(scale):
    assert code_of(encode(Image.fromarray(np.full((20, 20), scale, np.float32)), "TIFF")) == "unsupported_format"


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"tile": (64, 64)}, {"bigtiff": True}])
def test_sixteen_bit_rgb_tiff_is_scaled(options):
    encoded = tiff(np.asarray(photo()).astype(np.uint16) * 257, photometric="rgb", **options)
    decoded = decode(encoded)
    assert decoded.flags == verify(encoded).flags == ("16bit",)
    assert np.array_equal(decoded.pixels, np.asarray(photo()))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_tiff_whose_zero_is_white_is_inverted(kind):
    grey = np.asarray(photo().convert("L")).astype(kind) * (1 if kind is np.uint8 else 257)
    decoded = decode(tiff(np.iinfo(kind).max - grey, photometric="miniswhite"))
    assert np.array_equal(decoded.pixels[..., 0], np.asarray(photo().convert("L")))


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint32, np.float64])
def test_tiff_without_an_agreed_white_point_is_unsupported(kind):
    assert code_of(tiff(np.asarray(photo().convert("L")).astype(kind))) == "unsupported_format"


def test_sixteen_bit_planes_that_pillow_garbles_are_unsupported():
    planes = np.asarray(photo()).transpose(2, 0, 1).astype(np.uint16)
    assert code_of(tiff(planes, photometric="rgb", planarconfig="separate")) == "unsupported_format"


def test_cut_compressed_tiff_is_truncated():
    encoded = tiff(np.asarray(photo()), photometric="rgb", compression="zlib", metadata=None)
    assert code_of(encoded[: len(encoded) // 2]) == "truncated"


def test_alpha_is_composited_on_white():
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 20, 40))
    image.paste((0, 0, 0, 128), (20, 0, 40, 20))
    encoded = encode(image, "PNG")
    decoded = decode(encoded)
    assert decoded.flags == verify(encoded).flags == ("alpha",)
    assert decoded.pixels[0, 0].tolist() == [0, 0, 255]
    assert decoded.pixels[39, 39].tolist() == [255, 255, 255]
    assert np.allclose(decoded.pixels[0, 39], 127, atol=1)


def test_opaque_alpha_is_no_alpha():
    assert decode(encode(photo().convert("RGBA"), "PNG")).flags == ()


def test_transparent_palette_entry_becomes_white():
    image = Image.new("P", (20, 20), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (0, 0, 10, 20))
    decoded = decode(encode(image, "PNG", transparency=0))
    assert decoded.flags == ("alpha",)
    assert decoded.pixels[0, 0].tolist() == [0, 255, 0] and decoded.pixels[0, 19].tolist() == [255, 255, 255]


def test_transparent_colour_key_becomes_white():
    image = Image.new("RGB", (40, 40), (1, 2, 3))
    image.putpixel((39, 39), (9, 9, 9))
    encoded = encode(image, "PNG", transparency=(1, 2, 3))
    decoded = decode(encoded)
    assert decoded.flags == verify(encoded).flags == ("alpha",)
    assert decoded.pixels[0, 0].tolist() == [255, 255, 255] and decoded.pixels[39, 39].tolist() == [9, 9, 9]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
def test_other_png_modes_look_as_they_should(mode):
    image = photo().convert("L").convert(mode) if mode != "P" else photo().quantize(256)
    assert difference(image, decode(encode(image, "PNG")).pixels) == 0


def test_cmyk_jpeg_comes_out_upright_in_colour():
    encoded = encode(photo().convert("CMYK"), "JPEG", quality=95)
    decoded = decode(encoded)
    assert decoded.flags == verify(encoded).flags == ("cmyk",)
    assert difference(photo(), decoded.pixels) < 6


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
def test_colour_spaces_of_tiff_become_rgb(mode):
    image = photo()
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    else:
        image = image.convert(mode)
    assert difference(photo(), decode(encode(image, "TIFF")).pixels) < 6


def swapped_profile() -> bytes:
    """The sRGB profile with its red and blue primaries exchanged: applying it must exchange the channels."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes().replace(b"rXYZ", b"?XYZ")
    profile = profile.replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    return profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_icc_profile_is_applied():
    encoded = encode(Image.new("RGB", (40, 40), (250, 10, 10)), "PNG", icc_profile=swapped_profile())
    decoded = decode(encoded)
    assert decoded.flags == verify(encoded).flags == ("icc",)
    assert np.abs(decoded.pixels[0, 0].astype(int) - (10, 10, 250)).max() < 8  # lcms rounds through 16-bit tables


def test_srgb_profile_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decode(encode(photo(), "PNG", icc_profile=profile))
    assert decoded.flags == () and difference(photo(), decoded.pixels) == 0


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_unusable_icc_profile_is_ignored_and_flagged(mode):
    profile = b"garbage" if mode == "RGB" else swapped_profile()  # an RGB profile says nothing of CMYK
    encoded = encode(photo().convert(mode), "JPEG", icc_profile=profile)
    assert decode(encoded).flags[-1] == verify(encoded).flags[-1] == "icc_ignored"


@pytest.mark.parametrize("max_side_px", [20, 64, 100, 255, 256, 1000])
def test_long_side_is_at_most_what_is_asked_and_never_enlarged(max_side_px):
    decoded = decode(jpeg(), max_side_px=max_side_px)
    assert max(decoded.pixels.shape) == min(max_side_px, 256)
    assert (decoded.width_px, decoded.height_px) == (256, 192)


def test_shrinking_on_load_shows_what_shrinking_afterwards_shows():
    large = encode(Image.fromarray(pictures.astronaut()).resize((2048, 2048)), "JPEG", quality=95)
    quick = decode(large, max_side_px=128).pixels
    slow = Image.fromarray(decode(large).pixels).resize((128, 128), Image.Resampling.BICUBIC)
    assert difference(slow, quick) < 1.5  # of 255: the two filters differ at edges


def test_upright_size_is_shrunk():
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encode(photo(), "JPEG", exif=exif.tobytes()), max_side_px=64)
    assert decoded.pixels.shape == (64, 48, 3) and (decoded.width_px, decoded.height_px) == (192, 256)


def test_no_global_of_pillow_is_changed():
    before = (Image.MAX_IMAGE_PIXELS, set(Image.OPEN), PngImagePlugin.MAX_TEXT_CHUNK, TiffImagePlugin.READ_LIBTIFF)
    decode(jpeg())
    code_of(png(60000, 60000, 8, 2, b""))
    assert before == (Image.MAX_IMAGE_PIXELS, set(Image.OPEN), PngImagePlugin.MAX_TEXT_CHUNK, TiffImagePlugin.READ_LIBTIFF)


def test_threads_get_the_same_pixels():
    encoded = [encode(photo().rotate(turn), "JPEG", icc_profile=swapped_profile()) for turn in range(4)]
    expected = [decode(one).pixels for one in encoded]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(5):
            wrong.extend(i for i, one in enumerate(encoded) if not np.array_equal(decode(one).pixels, expected[i]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("image_format", FORMATS)
def test_damaged_bytes_never_raise_anything_else(image_format):
    rng = np.random.default_rng(7)
    whole = np.frombuffer(encode(photo().resize((64, 48)), image_format), np.uint8)
    for _ in range(60):
        damaged = whole.copy()
        places = rng.integers(0, len(whole), rng.integers(1, 20))
        damaged[places] = rng.integers(0, 256, len(places))
        for read in (decode, verify):
            try:
                read(damaged.tobytes())
            except DecodeError:
                pass
