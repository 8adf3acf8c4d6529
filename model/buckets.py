"""Samples by training shape: which can be drawn, how often, at what size, and how many of them make one batch.

A batch has one shape. With a token budget its size follows from the shape: as many samples as fit, in multiples of a unit that
every number of ranks to be supported divides, so that a step of large images costs about what a step of small ones does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import ConfigError
from model.held_out import is_held_out

PLACES = ("image_offset", "image_length", "json_offset", "json_length")
"""Columns of an index that say where a sample lies."""

TOKENS_PER_WORD = 1.3
"""Of English under Qwen's tokenizer, about. Words as `curation.shards.count_words` counts them: a Chinese character is one."""


class Shape(NamedTuple):
    """Size of training images."""

    width_px: int
    height_px: int


@dataclass(frozen=True)
class Bucket:
    """The samples of one training shape."""

    shape: Shape
    rows: np.ndarray  # int64, rows of the index
    weights: np.ndarray  # float64, mean 1 over all buckets
    phases: np.ndarray  # float64 in [0, 1)
    batch_size: int
    sample_tokens: int
    """Image and caption tokens of a sample, padding included; captions count with their mean length."""
    padding_tokens: int
    """How many of them are padding."""
    enlarged: int
    """Samples that are smaller than the shape on a side."""

    def occurrences(self, passes: int) -> np.ndarray:
        """Return how often each sample occurs in the first `passes` passes."""
        count: np.ndarray = np.floor(passes * self.weights + self.phases).astype(np.int64)
        return count

    def report(self, weight: float) -> dict[str, object]:
        """Return what a user wants to know before the first step; `weight` is that of all buckets together."""
        first = self.occurrences(1) - self.occurrences(0)
        return {
            "width_px": self.shape.width_px,
            "height_px": self.shape.height_px,
            "samples": len(self.rows),
            "weight_share": float(self.weights.sum() / weight),
            "batch_size": self.batch_size,
            "batches_per_epoch": float(self.weights.sum() / self.batch_size),
            "tokens_per_sample": self.sample_tokens,
            "padding_tokens": self.padding_tokens,
            "enlarged": self.enlarged,
            "left_for_the_next_epoch": int(first.sum() % self.batch_size),
            "most_repeats_per_epoch": ceil(float(self.weights.max())),
            "most_repeats_per_batch": ceil(self.batch_size / max(1, int((first > 0).sum()))),
        }


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """How many samples make a batch: `fixed`, or as many as `token_budget` holds, in multiples of `multiple`."""

    fixed: int
    token_budget: int = 0
    multiple: int = 1
    unit_px: int
    """Side of an image token in pixels."""
    pad_to: int = 1
    """Image and caption tokens are each padded to a multiple of this."""
    images_per_sample: int = 1
    """Two where a reference of about the same size stands beside the image."""
    extra_tokens: int = 0
    """Of each sample, whatever its size: SigLIP features."""

    def __post_init__(self) -> None:
        """Check that a batch can be filled; raises ConfigError."""
        if self.multiple < 1 or self.fixed < 1 or self.token_budget < 0:
            raise ConfigError(
                f"batch_size {self.fixed} and data.batch_multiple {self.multiple} must be at least 1, "
                f"data.token_budget {self.token_budget} at least 0"
            )

    def tokens(self, shape: Shape, words: float) -> tuple[int, int]:
        """Return the tokens of a sample with padding, and how many are padding."""
        image = shape.width_px // self.unit_px * (shape.height_px // self.unit_px)
        text = max(1, round(words * TOKENS_PER_WORD))
        padded = self.images_per_sample * self._padded(image) + self._padded(text) + self.extra_tokens
        return padded, padded - self.images_per_sample * image - text - self.extra_tokens

    def of(self, sample_tokens: int) -> int:
        """Return the samples of a batch; at least one multiple, however small the budget."""
        if not self.token_budget:
            return self.fixed
        return max(1, self.token_budget // sample_tokens // self.multiple) * self.multiple

    def _padded(self, tokens: int) -> int:
        return ceil(tokens / self.pad_to) * self.pad_to


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which samples and captions are used."""

    groups: Sequence[str] = ()
    level_weights: Mapping[str, float]
    language_weights: Mapping[str, float]
    use_weights: bool = True
    held_out_share: float = 0.0
    held_out_seed: int = 0


def training_shape(bucket: str, *, resolution_px: int, unit_px: int) -> Shape:
    """Return the size nearest to resolution_px^2 pixels at the aspect of `bucket` ('WIDTHxHEIGHT'), in multiples of `unit_px`."""
    width, height = (int(side) for side in bucket.split("x"))
    root = (width / height) ** 0.5
    sides = (max(1, round(resolution_px * factor / unit_px)) * unit_px for factor in (root, 1 / root))
    return Shape(*sides)


def caption_weight(level: str, language: str, level_weights: Mapping[str, float], language_weights: Mapping[str, float]) -> float:
    """Return the relative frequency of a caption; a source caption in a language that is not named counts 1 for language."""
    return level_weights.get(level, 0.0) * language_weights.get(language, 1.0 if level == "source" else 0.0)


def usable_rows(index: pa.Table, choice: Choice) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Return rows to train on, rows held out, and how many others there are, by reason.

    Raises ConfigError when a group is not in the index.
    """
    groups, of_row = _coded(index, "group")
    unknown = sorted(set(choice.groups) - set(groups))
    if unknown:
        raise ConfigError(f"no sample has group {unknown[0]!r}; the shards have {sorted(groups)}")
    captions = _caption_weights(index, choice)
    undescribed = index.column("caption_lengths").combine_chunks().is_null().to_numpy(zero_copy_only=False)
    reasons = {
        "size, place or weight in the index is impossible": ~_possible(index),
        "other group": np.isin(of_row, [k for k, name in enumerate(groups) if choice.groups and name not in choice.groups]),
        "weight is 0": ~(index.column("weight").to_numpy() > 0) & choice.use_weights,
        "no caption of the chosen levels and languages": ~undescribed & ~(captions.weight > 0),
    }
    left, excluded = np.ones(len(index), dtype=bool), dict[str, int]()
    for reason, refused in reasons.items():
        if found := int((left & refused).sum()):
            excluded[reason] = found
        left &= ~refused
    kept, held = _held_out(index, np.flatnonzero(left), choice)
    return kept, held, excluded | ({"held out for validation": len(held)} if len(held) else {})


def _possible(index: pa.Table) -> np.ndarray:
    """Return bool (N,): rows whose numbers can be those of a sample; others would end training wherever they are drawn."""
    numbers = {name: index.column(name).to_numpy() for name in ("width", "height", *PLACES)}
    possible: np.ndarray = pc.match_substring_regex(index.column("bucket"), r"^[1-9]\d*x[1-9]\d*$").to_numpy()
    for name, values in numbers.items():
        possible &= values >= (0 if name.endswith("offset") else 1)
    possible &= ~np.isinf(index.column("weight").to_numpy())
    return possible


def make_buckets(
    index: pa.Table, rows: np.ndarray, *, choice: Choice, size: BatchSize, resolution_px: int, seed: int
) -> list[Bucket]:
    """Return the buckets of `rows`, by shape."""
    weights = _relative_weights(index, rows) if choice.use_weights and len(rows) else np.ones(len(rows))
    phases = np.random.Generator(np.random.Philox(key=seed)).random(len(rows))
    widths, heights = (index.column(name).to_numpy()[rows] for name in ("width", "height"))
    words = _caption_weights(index, choice).mean_words[rows]
    names, of_row = _coded(index.select(["bucket"]).take(pa.array(rows, pa.int64())), "bucket")
    shapes = [training_shape(name, resolution_px=resolution_px, unit_px=size.unit_px) for name in names]
    different = sorted(set(shapes))
    shape_of_row = np.array([different.index(shape) for shape in shapes], dtype=np.int64)[of_row]
    buckets = []
    for number, shape in enumerate(different):
        chosen = shape_of_row == number
        if not chosen.any():
            continue
        tokens, padding = size.tokens(shape, float(words[chosen].mean()))
        enlarged = int(((widths[chosen] < shape.width_px) | (heights[chosen] < shape.height_px)).sum())
        of_bucket = rows[chosen], weights[chosen], phases[chosen]
        buckets.append(Bucket(shape, *of_bucket, size.of(tokens), tokens, padding, enlarged))
    return buckets


class _Captions(NamedTuple):
    """Of each row: the weight of all its captions, and the words of the one that is drawn, on average."""

    weight: np.ndarray
    mean_words: np.ndarray


def _caption_weights(index: pa.Table, choice: Choice) -> _Captions:
    column = index.column("caption_lengths").combine_chunks()
    parents = pc.list_parent_indices(column).to_numpy()
    captions = pc.list_flatten(column)
    levels, languages = (pc.fill_null(captions.field(name), "") for name in ("level", "language"))
    words = pc.fill_null(captions.field("words"), 0).to_numpy()
    pairs = pc.binary_join_element_wise(levels, languages, "\0").dictionary_encode()
    different = [pair.split("\0") for pair in pairs.dictionary.to_pylist()]
    of_pair = [caption_weight(level, language, choice.level_weights, choice.language_weights) for level, language in different]
    weights = np.array(of_pair, dtype=np.float64)[pairs.indices.to_numpy()]
    total = np.bincount(parents, weights, minlength=len(index))
    weighed = np.bincount(parents, weights * words, minlength=len(index))
    return _Captions(total, np.divide(weighed, total, out=np.zeros(len(index)), where=total > 0))


def caption_kinds(index: pa.Table) -> str:
    """Return the levels of captions that an index has, with their languages, as text."""
    captions = pc.list_flatten(index.column("caption_lengths").combine_chunks())
    levels, languages = (pc.fill_null(captions.field(name), "") for name in ("level", "language"))
    joined = pc.unique(pc.binary_join_element_wise(levels, languages, "\0")).to_pylist()
    pairs = (pair.split("\0") for pair in sorted(joined))
    return ", ".join(f"{level} ({language})" if language else level for level, language in pairs) or "none"


def _coded(index: pa.Table, name: str) -> tuple[list[str], np.ndarray]:
    """Return the different values of a column and, for each row, the place of its own."""
    coded = index.column(name).combine_chunks().dictionary_encode()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy()


def _held_out(index: pa.Table, rows: np.ndarray, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Return rows to train on and rows held out; of pairs those that are made of a held-out image."""
    if not choice.held_out_share:
        return rows, rows[:0]
    shown = (
        index.column("images").to_pylist() if "images" in index.column_names else [[x] for x in index.column("id").to_pylist()]
    )
    share, seed = choice.held_out_share, choice.held_out_seed
    chosen = np.array([any(is_held_out(image, share, seed) for image in shown[row]) for row in rows], dtype=bool)
    return rows[~chosen], rows[chosen]


def _relative_weights(index: pa.Table, rows: np.ndarray) -> np.ndarray:
    weights = index.column("weight").to_numpy().astype(np.float64)[rows]
    return np.ones(len(rows)) if np.all(weights == weights[0]) else weights / weights.mean()
