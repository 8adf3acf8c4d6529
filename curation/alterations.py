"""What people do to pictures before they post them again, as functions of pixels: the known copies that thresholds are set by.

Each kind of alteration has a light and a strong setting for tuning and one in between that is held out: a threshold is chosen
by the first two and checked by the third. Everything is encoded once more, as every repost is. Decoded pixels in, decoded
pixels out; nothing is written.

The kinds follow the augmentations of the Image Similarity Challenge: Douze et al. 2021, https://arxiv.org/abs/2106.09672
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Level = Literal["light", "strong", "held_out"]

QUALITY = 85
"""JPEG quality of the last encoding of every alteration that is not itself a recompression."""


@dataclass(frozen=True)
class Alteration:
    """One kind at one strength; the unit of `strength` is the kind's own."""

    kind: str
    level: Level
    strength: float


def alterations(*, held_out: bool) -> list[Alteration]:
    """Return all alterations for tuning (light and strong of each kind), or those held out."""
    levels: tuple[Level, ...] = ("held_out",) if held_out else ("light", "strong")
    return [Alteration(kind, level, KINDS[kind][1][level]) for kind in KINDS for level in levels]


def alter(pixels: Pixels, alteration: Alteration, generator: np.random.Generator) -> Pixels:
    """Return an altered copy of uint8 (H, W, 3) pixels; `generator` draws places, signs and colours.

    Raises KeyError for an unknown kind.
    """
    changed = KINDS[alteration.kind][0](np.ascontiguousarray(pixels), alteration.strength, generator)
    return changed if alteration.kind in ("jpeg", "webp") else _encoded(changed, ".jpg", cv2.IMWRITE_JPEG_QUALITY, QUALITY)


def altered(pixels: Pixels, chosen: Sequence[Alteration], generator: np.random.Generator) -> Iterator[tuple[Alteration, Pixels]]:
    """Yield every chosen alteration with its altered copy of the pixels."""
    for alteration in chosen:
        yield alteration, alter(pixels, alteration, generator)


def spread(choices: Sequence[Alteration], number: int, *, turn: int) -> list[Alteration]:
    """Return `number` of the choices, the next ones at each `turn`, so that over many turns each is taken equally often."""
    number = min(number, len(choices))
    return [choices[(turn * number + step) % len(choices)] for step in range(number)]


def _crop(pixels: Pixels, share: float, generator: np.random.Generator) -> Pixels:
    """Cut a window whose sides are `share` of the picture's, at a random place."""
    height, width = (max(1, round(side * share)) for side in pixels.shape[:2])
    top, left = (int(generator.integers(side - part + 1)) for side, part in zip(pixels.shape, (height, width), strict=False))
    return pixels[top : top + height, left : left + width]


def _resize(pixels: Pixels, factor: float, _: np.random.Generator) -> Pixels:
    return _scaled(pixels, factor, factor)


def _stretch(pixels: Pixels, factor: float, generator: np.random.Generator) -> Pixels:
    """Make one side, drawn, `factor` times as long."""
    return _scaled(pixels, factor, 1.0) if generator.random() < 0.5 else _scaled(pixels, 1.0, factor)


def _jpeg(pixels: Pixels, quality: float, _: np.random.Generator) -> Pixels:
    return _encoded(pixels, ".jpg", cv2.IMWRITE_JPEG_QUALITY, int(quality))


def _webp(pixels: Pixels, quality: float, _: np.random.Generator) -> Pixels:
    return _encoded(pixels, ".webp", cv2.IMWRITE_WEBP_QUALITY, int(quality))


def _mirror(pixels: Pixels, axis: float, _: np.random.Generator) -> Pixels:
    """Swap left and right (axis 1), or top and bottom (axis 0)."""
    return cast(Pixels, np.flip(pixels, int(axis)))


def _quarter_turn(pixels: Pixels, turns: float, _: np.random.Generator) -> Pixels:
    return cast(Pixels, np.rot90(pixels, int(turns)))


def _rotate(pixels: Pixels, degrees: float, generator: np.random.Generator) -> Pixels:
    """Turn by `degrees` to a drawn side on a canvas that holds the whole, filled with a drawn grey."""
    height, width = pixels.shape[:2]
    angle = degrees * (1 if generator.random() < 0.5 else -1)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = round(width * cosine + height * sine), round(width * sine + height * cosine)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cast(Pixels, cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderValue=_grey(generator)))


def _border(pixels: Pixels, share: float, generator: np.random.Generator) -> Pixels:
    """Put a frame of a drawn grey around the picture, `share` of the long side wide."""
    wide = max(1, round(max(pixels.shape[:2]) * share))
    return cast(Pixels, cv2.copyMakeBorder(pixels, wide, wide, wide, wide, cv2.BORDER_CONSTANT, value=_grey(generator)))


def _text_bar(pixels: Pixels, share: float, generator: np.random.Generator) -> Pixels:
    """Put a white bar with a line of text above the picture, `share` of its height high."""
    high = max(8, round(pixels.shape[0] * share))
    canvas = cv2.copyMakeBorder(pixels, high, 0, 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    word = ("WHEN YOU SEE IT", "nobody expected this", "me on Monday")[int(generator.integers(3))]
    cv2.putText(canvas, word, (4, round(high * 0.7)), cv2.FONT_HERSHEY_DUPLEX, high / 45, (0, 0, 0), 1, cv2.LINE_AA)
    return cast(Pixels, canvas)


def _watermark(pixels: Pixels, opacity: float, _: np.random.Generator) -> Pixels:
    """Lay a word over the middle, as stock agencies do."""
    height, width = pixels.shape[:2]
    layer = pixels.copy()
    scale = width / 160
    place = (round(width * 0.1), round(height * 0.55))
    cv2.putText(layer, "SAMPLE", place, cv2.FONT_HERSHEY_DUPLEX, scale, (255, 255, 255), max(1, round(scale * 3)), cv2.LINE_AA)
    return cast(Pixels, cv2.addWeighted(layer, opacity, pixels, 1 - opacity, 0))


def _sticker(pixels: Pixels, share: float, generator: np.random.Generator) -> Pixels:
    """Cover a square of a drawn colour and place, `share` of the short side wide."""
    side = max(1, round(min(pixels.shape[:2]) * share))
    top, left = (int(generator.integers(length - side + 1)) for length in pixels.shape[:2])
    covered = pixels.copy()
    covered[top : top + side, left : left + side] = generator.integers(0, 256, 3)
    return covered


def _brightness(pixels: Pixels, factor: float, _: np.random.Generator) -> Pixels:
    return _levels(pixels.astype(np.float32) * np.float32(factor))


def _contrast(pixels: Pixels, factor: float, _: np.random.Generator) -> Pixels:
    mean = np.float32(pixels.mean())
    return _levels((pixels.astype(np.float32) - mean) * np.float32(factor) + mean)


def _saturation(pixels: Pixels, factor: float, _: np.random.Generator) -> Pixels:
    """Mix the picture with its grey version; 0 is grey."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float32)
    return _levels(grey + (pixels - grey) * np.float32(factor))


def _tint(pixels: Pixels, levels: float, generator: np.random.Generator) -> Pixels:
    """Move every channel by up to `levels` grey levels."""
    return _levels(pixels.astype(np.float32) + generator.uniform(-levels, levels, 3).astype(np.float32))


def _blur(pixels: Pixels, sigma: float, _: np.random.Generator) -> Pixels:
    """Smooth by a Gaussian of `sigma` px at a long side of 512 px."""
    return cast(Pixels, cv2.GaussianBlur(pixels, (0, 0), max(0.3, sigma * max(pixels.shape[:2]) / 512)))


def _noise(pixels: Pixels, sigma: float, generator: np.random.Generator) -> Pixels:
    return _levels(pixels.astype(np.float32) + generator.normal(0, sigma, pixels.shape).astype(np.float32))


def _scaled(pixels: Pixels, across: float, down: float) -> Pixels:
    size = max(1, round(pixels.shape[1] * across)), max(1, round(pixels.shape[0] * down))
    return cast(Pixels, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if across * down < 1 else cv2.INTER_CUBIC))


def _encoded(pixels: Pixels, extension: str, option: int, quality: int) -> Pixels:
    _, encoded = cv2.imencode(extension, np.ascontiguousarray(pixels[:, :, ::-1]), [option, quality])
    return cast(Pixels, np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1]))


def _levels(values: NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _grey(generator: np.random.Generator) -> tuple[float, float, float]:
    return (float(generator.integers(256)),) * 3


Function = Callable[[Pixels, float, np.random.Generator], Pixels]


def _settings(light: float, strong: float, held_out: float) -> dict[Level, float]:
    return {"light": light, "strong": strong, "held_out": held_out}


KINDS: dict[str, tuple[Function, dict[Level, float]]] = {
    "crop": (_crop, _settings(0.9, 0.7, 0.8)),
    "resize": (_resize, _settings(0.5, 0.25, 0.35)),
    "stretch": (_stretch, _settings(1.1, 1.4, 1.25)),
    "jpeg": (_jpeg, _settings(60, 15, 30)),
    "webp": (_webp, _settings(50, 10, 25)),
    "mirror": (_mirror, _settings(1, 0, 1)),
    "quarter_turn": (_quarter_turn, _settings(1, 2, 3)),
    "rotate": (_rotate, _settings(3, 12, 7)),
    "border": (_border, _settings(0.04, 0.15, 0.09)),
    "text_bar": (_text_bar, _settings(0.1, 0.25, 0.17)),
    "watermark": (_watermark, _settings(0.25, 0.7, 0.45)),
    "sticker": (_sticker, _settings(0.15, 0.35, 0.25)),
    "brightness": (_brightness, _settings(1.2, 0.5, 0.75)),
    "contrast": (_contrast, _settings(0.8, 1.6, 0.6)),
    "saturation": (_saturation, _settings(0.5, 0.0, 1.6)),
    "tint": (_tint, _settings(12, 40, 25)),
    "blur": (_blur, _settings(1, 3, 2)),
    "noise": (_noise, _settings(6, 20, 12)),
}
"""Kind -> (what is done, its strengths). crop, border, text bar and sticker: share of a side; jpeg and webp: quality; rotate:
degrees; tint and noise: grey levels; blur: px; the others: factors."""
