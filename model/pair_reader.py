"""Edit pairs of shards: source and target pictures, instructions and captions, by row of the index.

Both directions of an edit are rows of their own (docs/pairs.md), so forward and inverse edits are drawn alike.
"""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from curation.buckets import bucket
from curation.schema import PAIR_SHARDS
from model.buckets import Shape, training_shape
from model.shard_reader import Caption, Members, as_text, cover_crop, covering, kept, read_index

Side = Literal["source", "target"]


class PairReader:
    """Pictures and texts of single pairs."""

    def __init__(self, shards: Path | str, index: pa.Table | None = None) -> None:
        """shards: a folder or URL of pair shards. index: PAIR_SHARDS rows, by default those found there."""
        self.index = read_index(shards, PAIR_SHARDS) if index is None else index
        self.ids: list[str] = self.index.column("pair").to_pylist()
        self.members = Members(shards, self.index, self.ids, ("source", "target", "json"))
        columns = {"source": ("source_width", "source_height"), "target": ("width", "height")}
        self._sizes = {
            side: np.array([self.index.column(name).to_pylist() for name in names], dtype=np.int64)
            for side, names in columns.items()
        }
        self._texts: dict[int, tuple[tuple[Caption, ...], tuple[Caption, ...]]] = {}

    def target(self, row: int, shape: Shape, content: bytes | None = None) -> np.ndarray:
        """Return the target covering `shape`, cropped in the middle: uint8 (height, width, 3); raises UnreadableSample."""
        with self.members.named(row):
            return cover_crop(self._decoded(row, "target", shape, content), shape)

    def reference(self, row: int, shape: Shape, content: bytes | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the source cropped to `shape` for the autoencoder, and the whole of it for SigLIP; raises UnreadableSample."""
        with self.members.named(row):
            whole = self._decoded(row, "source", shape, content)
            return cover_crop(whole, shape), whole

    def reference_shape(self, row: int, target: Shape, *, resolution_px: int, unit_px: int) -> Shape:
        """Return the training size of the source: that of its target where they are of one size, else that of its own aspect.

        Raises UnreadableSample for a size that no picture has.
        """
        width, height = (int(side) for side in self._sizes["source"][:, row])
        if (width, height) == tuple(self._sizes["target"][:, row]):
            return target
        with self.members.named(row):
            return training_shape(bucket(width, height), resolution_px=resolution_px, unit_px=unit_px)

    def texts(self, row: int, content: bytes | None = None) -> tuple[tuple[Caption, ...], tuple[Caption, ...]]:
        """Return the instructions of a pair and the captions of its target, by language; raises UnreadableSample."""
        return kept(self._texts, row, lambda: self._parsed(row, content))

    def _parsed(self, row: int, content: bytes | None) -> tuple[tuple[Caption, ...], tuple[Caption, ...]]:
        with self.members.named(row):
            described = json.loads(self.members.read(row, "json") if content is None else content)
            told = {"instruction": described["instruction"], "caption": described["captions"]["target"]}
            instructions, captions = (
                tuple(Caption(level, language, as_text(text)) for language, text in texts.items() if text)
                for level, texts in told.items()
            )
            return instructions, captions

    def _decoded(self, row: int, side: Side, shape: Shape, content: bytes | None) -> np.ndarray:
        width, height = (int(size) for size in self._sizes[side][:, row])
        return covering(self.members.read(row, side) if content is None else content, width, height, shape)


def as_samples(index: pa.Table) -> pa.Table:
    """Return the columns a plan needs of PAIR_SHARDS rows, under the names of SHARDS; the image is the target."""
    lengths = [
        [{"language": language, "level": "instruction", "words": words} for language, words in (("en", english), ("zh", chinese))]
        for english, chinese in zip(index.column("words_en").to_pylist(), index.column("words_zh").to_pylist(), strict=True)
    ]
    names = {"id": "pair", "image_offset": "target_offset", "image_length": "target_length"}
    same = ("shard", "json_offset", "json_length", "width", "height", "bucket", "group", "weight", "images")
    columns = {name: index.column(names.get(name, name)) for name in (*names, *same)}
    kind = pa.list_(pa.struct([("language", pa.string()), ("level", pa.string()), ("words", pa.int32())]))
    return pa.table(columns | {"caption_lengths": pa.array(lengths, kind)})
