"""What people do to a picture before they post it again: 23 alterations at two strengths, each with the truth of what is left.

Every alteration takes a picture and one amount, drawn from the range of its strength, and says which box of the original is
still to be seen and which share of the new picture shows it. From that alone `truth.py` derives which pairs are copies. The
ranges used while developing (`dev`) and those of the published measurement (`test`) are different columns of one table.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from jobs.demo_text import latin_font

Generator = np.random.Generator
Range = tuple[float, float]
Box = tuple[float, float, float, float]
Ranges = Literal["dev", "test"]

FULL: Box = (0.0, 0.0, 1.0, 1.0)
MAX_SIDE_PX = 2000
MIN_SIDE_PX = 72
STRENGTHS = ("weak", "strong")
WORDS = (
    "SAMPLE",
    "PREVIEW",
    "stock photo",
    "(c) 2024",
    "breaking",
    "WHEN YOU SEE IT",
    "follow for more",
    "monday mood",
    "no comment",
)


@dataclass(frozen=True)
class Altered:
    """A picture on its way, and what it shows of its original."""

    image: Image.Image
    box: Box = FULL  # left, top, right, bottom of what is still seen, in fractions of the original
    share: float = 1.0  # share of the picture's area that shows the original
    extension: str = "jpg"
    options: dict[str, int] = field(default_factory=lambda: {"quality": 90})

    def encoded(self) -> bytes:
        """Return the file."""
        stream = BytesIO()
        self.image.save(stream, {"jpg": "jpeg"}.get(self.extension, self.extension), **self.options)
        return stream.getvalue()


Alter = Callable[[Altered, Generator, float], Altered]


def _jpeg(a: Altered, generator: Generator, quality: float) -> Altered:
    return replace(a, extension="jpg", options={"quality": round(quality)})


def _scale(a: Altered, generator: Generator, factor: float) -> Altered:
    width, height = a.image.size
    factor = min(max(factor, MIN_SIDE_PX / min(width, height)), MAX_SIDE_PX / max(width, height))
    return replace(a, image=ImageOps.scale(a.image, factor, Image.Resampling.BICUBIC))


def _crop(a: Altered, generator: Generator, area: float) -> Altered:
    """Cut out a window of `area` of the picture at a random place, up to a fifth wider or narrower than the picture."""
    stretch = math.exp(generator.uniform(-0.1, 0.1))
    across, down = (min(1.0, math.sqrt(area) * f) for f in (stretch, 1 / stretch))
    left, top = (generator.uniform(0, 1 - side) for side in (across, down))
    window = (left, top, left + across, top + down)
    width, height = a.image.size
    pixels = tuple(round(v * s) for v, s in zip(window, (width, height, width, height), strict=True))
    return replace(a, image=a.image.crop((pixels[0], pixels[1], pixels[2], pixels[3])), box=_inner(a.box, window))


def _inner(box: Box, window: Box) -> Box:
    """Return `window`, given in fractions of `box`, in fractions of the original."""
    left, top, right, bottom = box
    across, down = right - left, bottom - top
    return (left + window[0] * across, top + window[1] * down, left + window[2] * across, top + window[3] * down)


def _squeeze(a: Altered, generator: Generator, factor: float) -> Altered:
    width, height = a.image.size
    size = (round(width / factor), height) if generator.random() < 0.5 else (width, round(height / factor))
    return replace(a, image=a.image.resize(size, Image.Resampling.BICUBIC))


def _tilt(a: Altered, generator: Generator, degrees: float) -> Altered:
    fill = str(generator.choice(["white", "black", "#808080"]))
    signed = degrees if generator.random() < 0.5 else -degrees
    image = a.image.rotate(signed, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)
    return _on_canvas(a, image)


def _on_canvas(a: Altered, canvas: Image.Image) -> Altered:
    """Return `canvas`, on which all of the picture is to be seen at its size."""
    return replace(a, image=canvas, share=a.share * min(1.0, a.image.width * a.image.height / (canvas.width * canvas.height)))


def _half_turn(a: Altered, generator: Generator, amount: float) -> Altered:
    return replace(a, image=a.image.transpose(Image.Transpose.ROTATE_180))


def _quarter_turn(a: Altered, generator: Generator, amount: float) -> Altered:
    turn = Image.Transpose.ROTATE_90 if generator.random() < 0.5 else Image.Transpose.ROTATE_270
    return replace(a, image=a.image.transpose(turn))


def _mirror(a: Altered, generator: Generator, area: float) -> Altered:
    return replace(a := _crop(a, generator, area) if area < 1 else a, image=ImageOps.mirror(a.image))


def _border(a: Altered, generator: Generator, amount: float) -> Altered:
    colour = str(generator.choice(["white", "black", "#c02020", "#204080", "#e8e0d0"]))
    return _on_canvas(a, ImageOps.expand(a.image, round(min(a.image.size) * amount), colour))


def _bar(a: Altered, generator: Generator, amount: float) -> Altered:
    """Put a bar with a line of text above or below."""
    bar_px = max(16, round(a.image.height * amount))
    above = bool(generator.random() < 0.5)
    back, ink = ("white", "black") if generator.random() < 0.6 else ("black", "white")
    canvas = ImageOps.expand(a.image, (0, bar_px, 0, 0) if above else (0, 0, 0, bar_px), back)
    place = (canvas.width / 2, bar_px / 2 if above else canvas.height - bar_px / 2)
    _write(ImageDraw.Draw(canvas), place, str(generator.choice(WORDS)), ink, bar_px * 0.5, canvas.width)
    return _on_canvas(a, canvas)


def _write(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, ink: str, size_px: float, width_px: int) -> None:
    """Centre a line at `place`, smaller where it would be wider than the picture."""
    fits = size_px * min(1.0, 0.95 * width_px / latin_font(size_px).getlength(text))
    draw.text(place, text, ink, latin_font(max(6.0, fits)), "mm", stroke_width=max(1, round(fits / 16)), stroke_fill="#606060")


def _text(a: Altered, generator: Generator, amount: float) -> Altered:
    """Write large letters over the picture; `amount` is the height of a line, and strong amounts give two lines."""
    image = a.image.copy()
    draw, size_px = ImageDraw.Draw(image), image.height * amount
    for y in (0.12, 0.88) if amount > 0.1 else (float(generator.uniform(0.1, 0.9)),):
        _write(draw, (image.width / 2, image.height * y), str(generator.choice(WORDS)), "white", size_px, image.width)
    return replace(a, image=image)


def _watermark(a: Altered, generator: Generator, opacity: float) -> Altered:
    return replace(a, image=_marked(a.image, [(0.5, 0.5)], 0.12, str(generator.choice(WORDS)), opacity))


def _tiled_watermark(a: Altered, generator: Generator, opacity: float) -> Altered:
    places = [(x, y) for x in (0.17, 0.5, 0.83) for y in (0.1, 0.3, 0.5, 0.7, 0.9)]
    return replace(a, image=_marked(a.image, places, 0.055, str(generator.choice(WORDS)), opacity))


def _marked(image: Image.Image, places: list[tuple[float, float]], size: float, word: str, opacity: float) -> Image.Image:
    layer = Image.new("RGBA", image.size, (255, 255, 255, 0))
    draw, font = ImageDraw.Draw(layer), latin_font(max(8, image.width * size))
    for x, y in places:
        draw.text((x * image.width, y * image.height), word, (255, 255, 255, round(255 * opacity)), font, "mm")
    layer = layer.rotate(25, Image.Resampling.BILINEAR) if len(places) > 1 else layer
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _sticker(a: Altered, generator: Generator, area: float) -> Altered:
    """Lay an opaque round face over `area` of the picture."""
    image = a.image.copy()
    radius = min(math.sqrt(area * image.width * image.height / math.pi), 0.48 * min(image.size))
    x, y = (float(generator.uniform(radius, side - radius)) for side in image.size)
    draw = ImageDraw.Draw(image)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), "#ffcc22", "#806000", max(1, round(radius / 20)))
    for side in (-0.4, 0.4):
        draw.ellipse((x + (side - 0.1) * radius, y - 0.4 * radius, x + (side + 0.1) * radius, y - 0.1 * radius), "black")
    draw.arc(
        (x - 0.6 * radius, y - 0.3 * radius, x + 0.6 * radius, y + 0.6 * radius), 20, 160, "black", max(1, round(radius / 12))
    )
    return replace(a, image=image)


def _light(a: Altered, generator: Generator, amount: float) -> Altered:
    """Apply a gamma of exp(+-amount)."""
    gamma = math.exp(amount if generator.random() < 0.5 else -amount)
    return replace(a, image=a.image.point([round(255 * (v / 255) ** gamma) for v in range(256)] * 3))


def _contrast(a: Altered, generator: Generator, factor: float) -> Altered:
    return replace(a, image=ImageEnhance.Contrast(a.image).enhance(factor if generator.random() < 0.5 else 1 / factor))


def _colour(a: Altered, generator: Generator, amount: float) -> Altered:
    """Scale the channels by up to 1 +- amount and the saturation by the same."""
    gains = 1 + amount * np.sign(generator.standard_normal(3)) * generator.uniform(0.5, 1, 3)
    table = [round(min(255.0, v * gain)) for gain in gains for v in range(256)]
    return replace(a, image=ImageEnhance.Color(a.image.point(table)).enhance(1 + amount * generator.choice([-1, 1])))


def _grey(a: Altered, generator: Generator, amount: float) -> Altered:
    return replace(a, image=ImageOps.grayscale(a.image).convert("RGB"))


def _sepia(a: Altered, generator: Generator, amount: float) -> Altered:
    """Return a brown print with 8 tones."""
    toned = ImageOps.colorize(ImageOps.posterize(ImageOps.grayscale(a.image), 3), "#201008", "#fff0d0")
    return replace(a, image=toned)


def _blur(a: Altered, generator: Generator, permille: float) -> Altered:
    return replace(a, image=a.image.filter(ImageFilter.GaussianBlur(permille / 1000 * max(a.image.size))))


def _noise(a: Altered, generator: Generator, sigma: float) -> Altered:
    pixels = np.asarray(a.image, np.float32)
    noisy = pixels + generator.normal(0, sigma, pixels.shape)
    return replace(a, image=Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))


def _perspective(a: Altered, generator: Generator, amount: float) -> Altered:
    """Pull each corner inwards by up to `amount` of the sides, as a photograph of a print does."""
    width, height = a.image.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    moved = corners + generator.uniform(0.3, 1, (4, 2)) * amount * np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * (
        width,
        height,
    )
    fill = str(generator.choice(["white", "black", "#907050"]))
    image = a.image.transform(
        a.image.size, Image.Transform.PERSPECTIVE, _homography(moved, corners), Image.Resampling.BICUBIC, fillcolor=fill
    )
    x, y = moved.T
    area = 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))
    return replace(a, image=image, share=a.share * area / (width * height))


def _homography(points: np.ndarray, onto: np.ndarray) -> list[float]:
    """Return Pillow's eight coefficients that carry `points` (4, 2) `onto` (4, 2)."""
    rows = []
    for (x, y), (u, v) in zip(points, onto, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
    return list(map(float, np.linalg.solve(np.array(rows), onto.ravel())))


def _screenshot(a: Altered, generator: Generator, share: float) -> Altered:
    """Show the picture in a viewer's window: bars with buttons and text around it, `share` of the area is picture."""
    width, height = a.image.size
    grow = math.sqrt(1 / share)
    canvas = Image.new("RGB", (round(width * grow), round(height * grow)), "#f0f2f5")
    draw, unit = ImageDraw.Draw(canvas), max(10, round(height * (grow - 1) / 3))
    draw.rectangle((0, 0, canvas.width, unit), "#2b5797")
    for n in range(3):
        draw.ellipse((unit * (n + 0.3), unit * 0.25, unit * (n + 0.8), unit * 0.75), "#d0d0d0")
    for n, word in enumerate(generator.permutation(WORDS)[:4]):
        draw.text(
            (unit + n * canvas.width / 4, canvas.height - unit), word, "#303030", latin_font(max(8, unit * 0.5), bold=False)
        )
    left = round((canvas.width - width) * generator.uniform(0.2, 0.8))
    canvas.paste(a.image, (left, unit + (canvas.height - height - 2 * unit) // 2))
    return _on_canvas(a, canvas)


def _webp(a: Altered, generator: Generator, quality: float) -> Altered:
    return replace(a, extension="webp", options={"quality": round(quality)})


def _gif(a: Altered, generator: Generator, colours: float) -> Altered:
    return replace(a, image=a.image.quantize(round(colours)).convert("RGB"), extension="gif", options={})


def _repost(a: Altered, generator: Generator, quality: float) -> Altered:
    """Crop a little, light a little, shrink a little, compress."""
    a = _crop(a, generator, float(generator.uniform(0.8, 0.92)))
    a = _light(a, generator, 0.15)
    return _jpeg(_scale(a, generator, float(generator.uniform(0.6, 0.8))), generator, quality)


def _reworked(a: Altered, generator: Generator, quality: float) -> Altered:
    """Crop, mirror, squeeze, tint, mark and compress."""
    a = _mirror(a, generator, float(generator.uniform(0.65, 0.8)))
    a = _colour(_squeeze(a, generator, 1.12), generator, 0.2)
    return _jpeg(_watermark(a, generator, 0.35), generator, quality)


@dataclass(frozen=True)
class Kind:
    """One kind of alteration: what is done at each strength, and the ranges its amount is drawn from."""

    weak: Alter
    strong: Alter
    dev: tuple[Range, Range]
    test: tuple[Range, Range]


KINDS: dict[str, Kind] = {
    "jpeg": Kind(_jpeg, _jpeg, ((50, 70), (15, 25)), ((40, 60), (8, 18))),
    "shrink": Kind(_scale, _scale, ((0.5, 0.6), (0.25, 0.33)), ((0.42, 0.58), (0.18, 0.28))),
    "enlarge": Kind(_scale, _scale, ((1.3, 1.5), (1.9, 2.2)), ((1.2, 1.6), (1.8, 2.5))),
    "crop": Kind(_crop, _crop, ((0.8, 0.9), (0.56, 0.7)), ((0.72, 0.88), (0.52, 0.64))),
    "squeeze": Kind(_squeeze, _squeeze, ((1.08, 1.15), (1.25, 1.35)), ((1.1, 1.2), (1.3, 1.45))),
    "tilt": Kind(_tilt, _tilt, ((2, 5), (8, 14)), ((3, 7), (10, 20))),
    "turn": Kind(_half_turn, _quarter_turn, ((1, 1), (1, 1)), ((1, 1), (1, 1))),
    "mirror": Kind(_mirror, _mirror, ((1, 1), (0.75, 0.9)), ((1, 1), (0.65, 0.85))),
    "border": Kind(_border, _border, ((0.03, 0.06), (0.1, 0.15)), ((0.04, 0.08), (0.11, 0.18))),
    "bar": Kind(_bar, _bar, ((0.08, 0.14), (0.2, 0.28)), ((0.1, 0.18), (0.22, 0.35))),
    "text": Kind(_text, _text, ((0.05, 0.08), (0.12, 0.16)), ((0.06, 0.1), (0.13, 0.2))),
    "watermark": Kind(_watermark, _tiled_watermark, ((0.25, 0.4), (0.3, 0.45)), ((0.3, 0.45), (0.35, 0.55))),
    "sticker": Kind(_sticker, _sticker, ((0.03, 0.06), (0.1, 0.16)), ((0.04, 0.08), (0.12, 0.2))),
    "light": Kind(_light, _light, ((0.15, 0.3), (0.4, 0.6)), ((0.2, 0.35), (0.45, 0.7))),
    "contrast": Kind(_contrast, _contrast, ((1.2, 1.4), (1.6, 2.0)), ((1.25, 1.5), (1.7, 2.4))),
    "colour": Kind(_colour, _colour, ((0.08, 0.15), (0.22, 0.32)), ((0.1, 0.2), (0.25, 0.4))),
    "grey": Kind(_grey, _sepia, ((1, 1), (1, 1)), ((1, 1), (1, 1))),
    "blur": Kind(_blur, _blur, ((1.0, 1.8), (3.0, 5.0)), ((1.2, 2.2), (3.5, 6.5))),
    "noise": Kind(_noise, _noise, ((6, 12), (18, 28)), ((8, 14), (20, 35))),
    "perspective": Kind(_perspective, _perspective, ((0.02, 0.04), (0.06, 0.1)), ((0.03, 0.05), (0.07, 0.12))),
    "screenshot": Kind(_screenshot, _screenshot, ((0.75, 0.85), (0.56, 0.66)), ((0.7, 0.84), (0.52, 0.64))),
    "format": Kind(_webp, _gif, ((55, 75), (48, 96)), ((45, 65), (32, 64))),
    "combined": Kind(_repost, _reworked, ((55, 75), (30, 45)), ((45, 65), (20, 40))),
}
"""Name -> what is done, weak and strong, and the ranges of the amount while developing and in the published measurement."""


def alter(image: Image.Image, *, kind: str, strength: str, ranges: Ranges, generator: Generator) -> Altered:
    """Return an altered copy of an RGB picture, its amount drawn from the range of `ranges` for `strength`."""
    which = STRENGTHS.index(strength)
    chosen = KINDS[kind]
    low, high = (chosen.dev if ranges == "dev" else chosen.test)[which]
    change = chosen.strong if which else chosen.weak
    return change(Altered(image), generator, float(generator.uniform(low, high)))


def part(image: Image.Image, *, generator: Generator) -> Altered:
    """Return a cut-out of 10 to 35 % of the picture, or the picture as 15 to 40 % of a screen: a part, not a copy."""
    if generator.random() < 0.5:
        return _crop(Altered(image), generator, float(generator.uniform(0.1, 0.35)))
    return _screenshot(Altered(image), generator, float(generator.uniform(0.15, 0.4)))
