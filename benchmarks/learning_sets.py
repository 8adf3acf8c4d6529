"""The two small worlds of benchmarks/learning.py, as folders of captioned files, and judges trained on real images of them.

Shapes: drawn pictures of 4 shapes x 6 colours x 5 positions; three pairs of shape and colour are never trained, and the judges
are trained on independent drawings of all. Digits: scikit-learn's 1,797 handwritten ones at their own 8x8 pixels, 1,400 to
train and the rest to compare with; the judge is a support vector machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from jobs.demo_shapes import COLOURS, DIGIT_TEMPLATES, DIGIT_WORDS, POSITIONS, SHAPE_TEMPLATES, SHAPES, draw_shape
from model.autoencoder import to_signed
from model.judge import Judge, judged, train_judge

NEVER_TRAINED = (("triangle", "purple"), ("circle", "yellow"), ("square", "blue"))
SIDE_PX = 32
DIGIT_SIDE_PX = 8
TRAIN_DIGITS = 1400
FACTS = ("shape", "colour", "position")
NAMES: dict[str, Sequence[str]] = {"shape": SHAPES, "colour": tuple(COLOURS), "position": tuple(POSITIONS)}


@dataclass(frozen=True)
class ShapeFacts:
    """What a picture shows, or a prompt asks for."""

    shape: str
    colour: str
    position: str

    @property
    def trained(self) -> bool:
        """Whether the pair of shape and colour is in the training set."""
        return (self.shape, self.colour) not in NEVER_TRAINED

    def labels(self) -> tuple[int, int, int]:
        """Return the numbers of shape, colour and position."""
        shape, colour, position = (list(NAMES[fact]).index(getattr(self, fact)) for fact in FACTS)
        return shape, colour, position

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Return pixels uint8 (32, 32, 3)."""
        return np.array(draw_shape(self.shape, self.colour, self.position, side_px=SIDE_PX, generator=generator))

    def caption(self, number: int) -> str:
        """Return the caption of template `number`, counted round."""
        return SHAPE_TEMPLATES[number % len(SHAPE_TEMPLATES)].format(shape=self.shape, colour=self.colour, position=self.position)


ALL_FACTS = tuple(ShapeFacts(*values) for values in product(SHAPES, COLOURS, POSITIONS))
POSITION_TEMPLATES = tuple(i for i, template in enumerate(SHAPE_TEMPLATES) if "{position}" in template)
"""Templates of prompts: the judge asks for the position too."""


def write_shape_folder(folder: Path, *, count: int, seed: int) -> None:
    """Write `count` pictures of trained pairs as PNG files with a caption beside each."""
    generator = np.random.default_rng([seed, 5])
    trained = [facts for facts in ALL_FACTS if facts.trained]
    for index in range(count):
        facts = trained[generator.integers(len(trained))]
        caption = facts.caption(int(generator.integers(len(SHAPE_TEMPLATES))))
        _write(folder / f"{index:05d}", facts.draw(generator), caption)


def drawings(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures uint8 (count, 32, 32, 3) of all combinations in turn and their labels (count, 3)."""
    generator = np.random.default_rng([seed, 6])
    facts = [ALL_FACTS[i % len(ALL_FACTS)] for i in range(count)]
    return np.stack([one.draw(generator) for one in facts]), np.array([one.labels() for one in facts])


class ShapeJudge:
    """Three classifiers, of shape, colour and position, trained on real pictures."""

    def __init__(self, pictures: np.ndarray, labels: np.ndarray, *, seed: int, epochs: int = 9) -> None:
        images = to_signed(torch.from_numpy(pictures))
        self.judges: list[Judge] = [
            train_judge(images, torch.from_numpy(labels[:, i]), num_classes=len(NAMES[fact]), seed=seed, epochs=epochs)
            for i, fact in enumerate(FACTS)
        ]

    def labels(self, pictures: np.ndarray) -> np.ndarray:
        """Return the labels (N, 3) of pictures uint8 (N, 32, 32, 3)."""
        images = to_signed(torch.from_numpy(pictures))
        return np.stack([judged(judge, images)[0] for judge in self.judges], axis=1)


@dataclass(frozen=True)
class Digits:
    """scikit-learn's digits in a drawn order: the first TRAIN_DIGITS train, the others are compared with."""

    pictures: np.ndarray  # uint8 (1797, 8, 8, 3)
    labels: np.ndarray  # int64 (1797,)

    @classmethod
    def load(cls, *, seed: int) -> "Digits":
        """Return the digits, shuffled by `seed`."""
        bunch = load_digits()
        order = np.random.default_rng([seed, 7]).permutation(len(bunch.images))
        grey = (bunch.images[order] * (255 / 16)).round().astype(np.uint8)
        return cls(np.repeat(grey[..., None], 3, axis=3), bunch.target[order])

    def write_folder(self, folder: Path, *, seed: int) -> None:
        """Write the training digits as PNG files with a caption beside each."""
        generator = np.random.default_rng([seed, 8])
        for index in range(TRAIN_DIGITS):
            template = DIGIT_TEMPLATES[generator.integers(len(DIGIT_TEMPLATES))]
            _write(folder / f"{index:05d}", self.pictures[index], template.format(word=DIGIT_WORDS[self.labels[index]]))

    def judge(self) -> SVC:
        """Return a support vector machine fitted to the pixels of the training digits."""
        machine: SVC = SVC(C=10.0, gamma="scale").fit(digit_pixels(self.pictures[:TRAIN_DIGITS]), self.labels[:TRAIN_DIGITS])
        return machine


def digit_pixels(pictures: np.ndarray) -> np.ndarray:
    """Return the 64 grey values in [-1, 1] of pictures uint8 (N, 8, 8, 3)."""
    return np.asarray(pictures.reshape(len(pictures), 64, 3).mean(2) / 127.5 - 1)


def shape_pixels(pictures: np.ndarray) -> np.ndarray:
    """Return the 192 values in [-1, 1] of pictures uint8 (N, 32, 32, 3), shrunk to 8x8 by means of blocks."""
    blocks = pictures.reshape(len(pictures), 8, 4, 8, 4, 3).mean((2, 4))
    return np.asarray(blocks.reshape(len(pictures), -1) / 127.5 - 1)


def digit_prompts(count: int) -> Iterator[tuple[int, str]]:
    """Yield (label, prompt), labels and templates in turn."""
    for i in range(count):
        label = i % 10
        yield label, DIGIT_TEMPLATES[i // 10 % len(DIGIT_TEMPLATES)].format(word=DIGIT_WORDS[label])


def _write(stem: Path, picture: np.ndarray, caption: str) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(stem.with_suffix(".png"))
    stem.with_suffix(".txt").write_text(caption + "\n")
