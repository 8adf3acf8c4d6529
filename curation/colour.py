"""Any Pillow picture to 8-bit sRGB, noting every step that changed what the file said.

`Image.convert("RGB")` alone clips 16-bit grey, turns float black, ignores the ICC profile and shows the colours hidden under
transparent pixels. Here 16-bit is scaled by 1/257, profiles go through LittleCMS and alpha is composited on white.
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from curation.errors import DecodeError

_WHITE = (255, 255, 255, 255)
_HAS_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


def to_srgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Return `image` as mode RGB in sRGB, and flags of what was done: 16bit, float, alpha, cmyk, icc, icc_ignored.

    icc: the file's profile was not sRGB and was applied. icc_ignored: it could not be used, so values were taken as sRGB.
    Raises DecodeError("unsupported_format") for pixel types without an agreed white point.
    """
    flags: list[str] = []
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        image, depth = _to_eight_bits(image)
        flags.append(depth)
    if image.mode in ("CMYK", "LAB"):
        flags.append(image.mode.lower())
    if image.mode in _HAS_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode not in ("RGB", "L", "CMYK", "LAB"):
        image = image.convert("RGB")
    image, note = _apply_profile(image, profile)
    flags += [note] if note else []
    if image.mode == "RGBA":
        image, note = _on_white(image)
        flags += [note] if note else []
    return (image if image.mode == "RGB" else image.convert("RGB")), flags


def _to_eight_bits(image: Image.Image) -> tuple[Image.Image, str]:
    values = np.asarray(image)
    if image.mode == "F":
        # Float pictures have no agreed white point. Values in [0, 1] are the one convention that scikit-image, OpenCV and
        # matplotlib share; anything else would be a guess that silently changes the picture, so it is refused.
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise DecodeError("unsupported_format", "float pixels outside [0, 1] have no agreed white point")
        return Image.fromarray(np.round(values * 255).astype(np.uint8)), "float"
    if image.mode == "I":
        raise DecodeError("unsupported_format", "signed and 32-bit integer pixels have no agreed white point")
    return Image.fromarray(np.round(values.astype(np.float32) / 257).astype(np.uint8)), "16bit"


def _on_white(image: Image.Image) -> tuple[Image.Image, str | None]:
    if image.getchannel("A").getextrema()[0] == 255:
        return image.convert("RGB"), None
    return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB"), "alpha"


def _apply_profile(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str | None]:
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab_transform()) or image, None
    if not profile:
        return image, None
    transform = _transform(profile, image.mode)
    if isinstance(transform, str):
        return image, transform or None
    return ImageCms.applyTransform(image, transform) or image, "icc"


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | str:
    """Return the transform to sRGB; "" when the profile is sRGB already, "icc_ignored" when it cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode in ("RGB", "RGBA") and "sRGB" in (source.profile.profile_description or ""):
            return ""
        target = "RGBA" if mode == "RGBA" else "RGB"
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, target)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "icc_ignored"


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
