"""Small captioned pictures from which a model can learn in minutes: handwritten digits and coloured shapes.

The digits are real (scikit-learn's, 8x8, enlarged smoothly) and leave as a WebDataset tar; the shapes are drawn and leave as
a parquet in the layout of Hugging Face datasets. Pictures of one class look alike and yet none is a copy of another: they are
also what a deduplicator must not merge.
"""

import json
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

DIGIT_SIDE_PX = 32
DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_TEMPLATES = (
    "a handwritten digit {word}",
    "the digit {word} written by hand",
    "a handwritten {word} in white on black",
    "the number {word}, handwritten",
)

DIGIT_TEMPLATES_ZH = ("手写数字{word}", "一个手写的{word}", "黑底白字的手写数字{word}")
CHINESE = {
    **dict(zip(("zero", "one", "two", "three", "four"), "零一二三四", strict=True)),
    **dict(zip(("five", "six", "seven", "eight", "nine"), "五六七八九", strict=True)),
    **dict(zip(("red", "green", "blue", "yellow", "purple", "cyan"), "红绿蓝黄紫青", strict=True)),
    "circle": "圆形",
    "square": "正方形",
    "triangle": "三角形",
    "cross": "十字形",
    "in the middle": "中间",
    "on the left": "左侧",
    "on the right": "右侧",
    "at the top": "上方",
    "at the bottom": "下方",
}
"""The Chinese of every word in the captions."""

COLOURS = {
    "red": (225, 45, 45),
    "green": (55, 185, 70),
    "blue": (60, 90, 230),
    "yellow": (235, 220, 55),
    "purple": (155, 65, 195),
    "cyan": (60, 205, 220),
}
POSITIONS = {  # centre of the shape, in units of the offset, x to the right and y down
    "in the middle": (0, 0),
    "on the left": (-1, 0),
    "on the right": (1, 0),
    "at the top": (0, -1),
    "at the bottom": (0, 1),
}
SHAPES = ("circle", "square", "triangle", "cross")
SHAPE_SIDES_PX = (32, 48, 64)
SHAPE_TEMPLATES_ZH = ("深色背景上的一个{colour}色{shape}", "一个{colour}色的{shape}，位于画面{position}")
SHAPE_TEMPLATES = (
    "a {colour} {shape} {position}",
    "a {colour} {shape} {position} of a dark picture",
    "{position}, a {shape} in {colour}",
    "a {colour} {shape} on a dark background",
    "one {shape}, coloured {colour}",
)


def write_digits(path: Path, *, count: int, seed: int) -> int:
    """Write a WebDataset tar of up to 1,797 handwritten digits: png, txt with a caption, json with the label.

    The choice and order of the digits is drawn from `seed`; the json also names the digit's index in scikit-learn's set, so
    that the digits left out can serve as a test set.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    generator = np.random.default_rng([seed, 2])
    chosen = generator.permutation(len(bunch.images))[:count]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for position, index in enumerate(chosen):
            label = int(bunch.target[index])
            caption = DIGIT_TEMPLATES[generator.integers(len(DIGIT_TEMPLATES))].format(word=DIGIT_WORDS[label])
            chinese = DIGIT_TEMPLATES_ZH[generator.integers(len(DIGIT_TEMPLATES_ZH))].format(word=CHINESE[DIGIT_WORDS[label]])
            about = json.dumps({"label": label, "sklearn_index": int(index), "caption_zh": chinese}, ensure_ascii=False)
            _add_member(tar, f"{position:06d}.png", _png(enlarge_digit(bunch.images[index])))
            _add_member(tar, f"{position:06d}.txt", caption.encode())
            _add_member(tar, f"{position:06d}.json", about.encode())
    return len(chosen)


def enlarge_digit(pixels: np.ndarray) -> Image.Image:
    """Return an 8x8 digit with ink in 0 to 16 as a 32x32 grey picture, white on black."""
    small = Image.fromarray((pixels * (255 / 16)).round().astype(np.uint8))
    return small.resize((DIGIT_SIDE_PX, DIGIT_SIDE_PX), Image.Resampling.BICUBIC)


def _add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # its defaults, mtime 0 and uid 0, make the tar the same every time
    member.size = len(content)
    tar.addfile(member, BytesIO(content))


def _png(image: Image.Image) -> bytes:
    encoded = BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


def write_shapes(path: Path, *, count: int, seed: int) -> int:
    """Write a parquet of drawn shapes: image {bytes, path}, text, caption_zh, and what was drawn as shape, colour, position."""
    generator = np.random.default_rng([seed, 3])
    rows = [_shape_row(index, generator) for index in range(count)]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    text_columns = [(name, pa.string()) for name in ("text", "caption_zh", "shape", "colour", "position")]
    features = {"image": {"_type": "Image"}} | {name: {"dtype": "string", "_type": "Value"} for name, _ in text_columns}
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([("image", image), *text_columns], metadata=described)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=100, use_dictionary=False)
    return count


def _shape_row(index: int, generator: np.random.Generator) -> dict[str, object]:
    """Draw every fact of one picture and render it; the first pictures go through all shapes and colours in turn."""
    shape = SHAPES[index % len(SHAPES)]
    colour = list(COLOURS)[index // len(SHAPES) % len(COLOURS)]
    position = list(POSITIONS)[generator.integers(len(POSITIONS))]
    side_px = SHAPE_SIDES_PX[generator.integers(len(SHAPE_SIDES_PX))]
    template = SHAPE_TEMPLATES[generator.integers(len(SHAPE_TEMPLATES))]
    chinese = SHAPE_TEMPLATES_ZH[generator.integers(len(SHAPE_TEMPLATES_ZH))]
    image = draw_shape(shape, colour, position, side_px=side_px, generator=generator)
    return {
        "image": {"bytes": _png(image), "path": f"shape-{index:05d}.png"},
        "text": template.format(shape=shape, colour=colour, position=position),
        "caption_zh": chinese.format(shape=CHINESE[shape], colour=CHINESE[colour], position=CHINESE[position]),
        "shape": shape,
        "colour": colour,
        "position": position,
    }


def draw_shape(shape: str, colour: str, position: str, *, side_px: int, generator: np.random.Generator) -> Image.Image:
    """Return a picture of one shape on a dark background, drawn four times as large and shrunk, so that edges are smooth.

    Size, place and colour vary around their names: radius 0.17 to 0.27 of the side, offset 0.2 with jitter 0.06,
    colour +-15 of 255, background 0 to 59 per channel.
    """
    large = 4 * side_px
    background = tuple(int(level) for level in generator.integers(0, 60, 3))
    ink = tuple(int(level) for level in np.clip(np.add(COLOURS[colour], generator.integers(-15, 16, 3)), 0, 255))
    radius = large * generator.uniform(0.17, 0.27)
    jitter = generator.uniform(-0.06, 0.06, 2)
    centre_x, centre_y = large * (0.5 + 0.2 * np.array(POSITIONS[position]) + jitter)
    image = Image.new("RGB", (large, large), background)
    outline = _outline(shape) * radius + (centre_x, centre_y)
    draw = ImageDraw.Draw(image)
    draw.polygon([(float(x), float(y)) for x, y in outline], fill=ink)
    return image.resize((side_px, side_px), Image.Resampling.LANCZOS)


def _outline(shape: str) -> np.ndarray:
    """Return the corners (n, 2) of a shape that fits the unit circle, y down."""
    if shape == "cross":  # arms a third of the width, as on a first-aid kit
        arm, reach = 0.33, 0.95
        quarter = np.array([(arm, -reach), (arm, -arm), (reach, -arm)])
        turn = np.array([(0, 1), (-1, 0)])  # a quarter turn, clockwise on the screen
        return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])
    corners, first = {"circle": (96, 0.0), "square": (4, np.pi / 4), "triangle": (3, -np.pi / 2)}[shape]
    angles = first + 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)
